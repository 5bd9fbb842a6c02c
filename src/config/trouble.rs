//! What does not go on, and what to do about it.

use clap::{Args, Subcommand};

use super::{read_model, slug};

/// Streams a read model cannot go on with: an event of theirs cannot be applied, and what comes
/// after it waits.
#[derive(Debug, Subcommand)]
pub enum Parked {
    /// Which streams wait, how many events, and why.
    List {
        /// One read model; all of them if none is given.
        #[arg(value_parser = read_model)]
        name: Option<String>,
        /// As one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// The events that wait in a stream, with their payloads.
    Show {
        /// The stream.
        #[command(flatten)]
        which: ParkedStream,
    },
    /// Apply what waits, in order, as far as this program knows how. Exits with 1 if anything
    /// still waits.
    Retry {
        /// One read model; all of them if none is given.
        #[arg(value_parser = read_model)]
        name: Option<String>,
        /// One stream, such as `ord_01J…`; all that wait if none is given.
        stream: Option<String>,
        /// Slug of the store.
        #[arg(long, value_parser = slug)]
        store: Option<String>,
    },
    /// Leave the event that cannot be applied out of the read model for good, and go on with what
    /// waits behind it. Who did it, when and why is kept.
    Discard {
        /// The stream.
        #[command(flatten)]
        which: ParkedStream,
        /// Why the event may be left out.
        #[arg(long)]
        reason: String,
        /// Who says so.
        #[arg(long, env = "USER")]
        by: String,
        /// Leave out everything that waits, not the first event only.
        #[arg(long)]
        all: bool,
    },
}

/// One stream.
#[derive(Debug, Args)]
pub struct ParkedStream {
    /// Which read model: `catalog`, `orders` or `sales`.
    #[arg(value_parser = read_model)]
    pub name: String,
    /// Which stream, such as `ord_01J…`.
    pub stream: String,
    /// Slug of the store, if several have one of this id.
    #[arg(long, value_parser = slug)]
    pub store: Option<String>,
}

/// Processes: checkouts, refunds, cancellations, money that goes back.
#[derive(Debug, Subcommand)]
pub enum Sagas {
    /// Which do not go on, and why. They are tried again all the same. Exits with 1 if any is.
    Stuck {
        /// As one JSON object a line.
        #[arg(long)]
        json: bool,
    },
}
