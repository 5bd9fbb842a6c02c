//! Decisions that rest on each other before any of them is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

/// A run of decisions on one stream in one process. Each is made on the state that the one before
/// it left behind, so if one cannot be stored, all later ones mean nothing: the chain is broken,
/// its units are never sent, and the stream is read anew.
///
/// That is more than the version check of the log can do. Another process may have moved the
/// stream to the very version that a later unit expects, with other events.
#[derive(Debug)]
pub(crate) struct Chain {
    broken: AtomicBool,
    /// Units and barriers handed to the appender and not settled yet.
    outstanding: AtomicUsize,
    /// The stream's version and position as far as they are stored.
    version: AtomicI64,
    position: AtomicI64,
}

impl Chain {
    /// A chain that begins at what the log says.
    pub(crate) fn at(version: i64, position: i64) -> Arc<Chain> {
        Arc::new(Chain {
            broken: AtomicBool::new(false),
            outstanding: AtomicUsize::new(0),
            version: AtomicI64::new(version),
            position: AtomicI64::new(position),
        })
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Nothing of it will be sent any more, except what is on its way already.
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(crate) fn has_outstanding(&self) -> bool {
        self.outstanding.load(Ordering::Acquire) > 0
    }

    pub(crate) fn add_outstanding(&self) {
        self.outstanding.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn settle_one(&self) {
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
    }

    /// Only the appender moves a chain, in order.
    pub(crate) fn advance(&self, version: i64, position: i64) {
        self.position.store(position, Ordering::Release);
        self.version.store(version, Ordering::Release);
    }

    /// Version and position of the last event that is stored.
    pub(crate) fn stored(&self) -> (i64, i64) {
        (self.version.load(Ordering::Acquire), self.position.load(Ordering::Acquire))
    }
}
