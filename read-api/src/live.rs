//! Clients that hear of changes as they show in the read models.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use projections::follow::StreamKey;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Who listens to which streams. Listening costs the database nothing.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    listeners: Mutex<Listeners>,
    ended: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Listeners {
    /// By store and stream.
    by_stream: HashMap<(Uuid, Uuid), HashMap<u64, Arc<Notify>>>,
}

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody listens.
    pub(crate) fn any(&self) -> bool {
        !self.lock().by_stream.is_empty()
    }

    /// These streams have changed, and everybody can read it.
    pub(crate) fn tell(&self, streams: &[StreamKey]) {
        let listeners = self.lock();
        for StreamKey { store_id, stream_id, .. } in streams {
            for listener in listeners.by_stream.get(&(*store_id, *stream_id)).into_iter().flatten()
            {
                listener.1.notify_one();
            }
        }
    }

    /// Anything may have changed.
    pub(crate) fn tell_all(&self) {
        for listener in self.lock().by_stream.values().flatten() {
            listener.1.notify_one();
        }
    }

    /// The process stops.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }
}
