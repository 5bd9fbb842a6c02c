//! The program's own voice: results on standard output, complaints on standard error.
//!
//! A reader that goes away (`conche log export | head`) is no error of ours.

use std::io::{self, Write};

/// Prints one line of a result. Fails if the reader has gone.
pub fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")
}

/// Prints a line of a program that runs on: whether anybody reads it is not its concern.
pub fn announce(line: &str) {
    let _ = say(line);
}

/// Prints one line for the person at the terminal; a lost complaint is no second error.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
