//! From the answer to a command until a query shows it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::wire::Client;
use crate::{figures::Latency, load, new_id, shop::Shop};

/// One command in this many is looked for.
const LOOKED_FOR: u64 = 20;

/// Before it is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// Commands at `rate` per second, each one event. How late queries show them, and how many commands
/// were refused.
pub(super) async fn measure(
    shop: &Shop,
    client: &Client,
    rate: f64,
    span: Duration,
) -> anyhow::Result<(Latency, usize)> {
    let lags: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let (shop, client, seen) = (shop.clone(), client.clone(), Arc::clone(&lags));
    let act = move |turn: u64| {
        let (shop, client, seen) = (shop.clone(), client.clone(), Arc::clone(&seen));
        async move {
            let variant = shop.variant(0, turn).to_owned();
            let path = format!("/api/v1/stock/{variant}/receive");
            let body = r#"{"location": "main", "quantity": 1}"#;
            let done = client.post(&path, &new_id().to_string(), body).await?;
            if done.status != 200 {
                return Ok(false);
            }
            if !turn.is_multiple_of(LOOKED_FOR) {
                return Ok(true);
            }
            let position = done.header("x-position").context("a command says its position")?;
            let answered = Instant::now();
            let shown = client.get_from(&format!("/api/v1/stock/{variant}"), position).await?;
            let late = shown.status != 200 || shown.header("x-stale").is_some();
            let lag = if late { Duration::MAX } else { answered.elapsed() };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(lag);
            Ok(true)
        }
    };
    let arrived = load::open(rate, (WARM_UP, span), act).await?;
    let lags = std::mem::take(&mut *lags.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((Latency::of(lags), arrived.refused))
}
