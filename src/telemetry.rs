//! What the program says about itself while it runs: structured logs on standard error.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::Place;

/// Starts logging as the settings ask. Call once.
pub fn start(place: &Place) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&place.log)
        .with_context(|| format!("`--log {}` is no log filter; try `info`", place.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if place.log_json {
        log.json().init();
    } else {
        log.init();
    }
    Ok(())
}
