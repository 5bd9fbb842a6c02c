//! One program, several roles: run them in one process or in many.

use std::process::ExitCode;

use clap::Parser as _;
use conche::{config::Config, run};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let config = Config::parse();
    match run(config) {
        Ok(code) => code,
        Err(error) => {
            conche::terminal::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
