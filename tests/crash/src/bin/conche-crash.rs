//! The program, built with its fail points: the same `main` as `src/main.rs`.

use std::process::ExitCode;

use clap::Parser as _;
use conche::{config::Config, run};

fn main() -> ExitCode {
    match run(Config::parse()) {
        Ok(code) => code,
        Err(error) => {
            conche::terminal::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
