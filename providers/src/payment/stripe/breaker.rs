//! Stops asking a provider that does not answer, so that nobody waits for nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Failures in a row after which nothing is asked any more.
const FAILURES_MAX: u32 = 5;

/// How long nothing is asked. Then one call finds out.
const PAUSE: Duration = Duration::from_secs(10);

/// A circuit breaker: closed, open until a time, or letting one call through.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether a call may be made now.
    pub(super) fn lets_through(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = state.open_until else { return true };
        let now = Instant::now();
        if now < until {
            return false;
        }
        // This one finds out; the others wait for it.
        state.open_until = Some(now + PAUSE);
        true
    }

    /// What came of a call: whether the provider answered at all.
    pub(super) fn note(&self, answered: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            *state = State::default();
            return;
        }
        state.failures += 1;
        if state.failures >= FAILURES_MAX {
            state.open_until = Some(Instant::now() + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_failures_stop_it_and_one_call_finds_out() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.lets_through());
            breaker.note(false);
        }
        assert!(!breaker.lets_through());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.lets_through());
        assert!(!breaker.lets_through(), "only one finds out");
        breaker.note(true);
        assert!(breaker.lets_through());
    }
}
