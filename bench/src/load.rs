//! A closed loop of clients.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use futures::future::try_join_all;

/// Runs `clients` loops side by side for `span`; each calls `act(client, turn)` again as soon as
/// the last call is done. Gives the number of calls and the seconds they took.
pub(crate) async fn run<F>(
    clients: usize,
    span: Duration,
    act: impl Fn(usize, u64) -> F,
) -> anyhow::Result<(u64, f64)>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let started = Instant::now();
    let client = async |client: usize| {
        let mut calls = 0;
        while started.elapsed() < span {
            act(client, calls).await?;
            calls += 1;
        }
        anyhow::Ok(calls)
    };
    let calls = try_join_all((0..clients).map(client)).await?;
    Ok((calls.iter().sum(), started.elapsed().as_secs_f64()))
}
