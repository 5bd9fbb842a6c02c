//! Load: clients in a closed loop, and arrivals by schedule.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::{
    runtime::Handle,
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

/// A warm-up that takes longer than this is not going to end.
const WARM_UP_MAX: Duration = Duration::from_mins(2);
/// Between two looks at whether everyone has warmed up.
const POLL: Duration = Duration::from_millis(10);

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it was answered, since the load began.
    pub(crate) ended: Duration,
    pub(crate) took: Duration,
    /// Commands it carried.
    pub(crate) commands: u32,
}

/// Clients in a closed loop: each calls again as soon as its last call was answered. Each is a task
/// of its own, as the connections of a server are.
pub(crate) struct Closed {
    started: Instant,
    clients: usize,
    shared: Arc<Shared>,
    tasks: JoinSet<anyhow::Result<Vec<Sample>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Clients that have called as often as they shall before anything is measured.
    warm: AtomicUsize,
}

impl Closed {
    /// `act(client, turn)` answers how many commands it has carried out. A client is warm after
    /// `warm_turns`.
    pub(crate) fn start<F>(
        clients: usize,
        warm_turns: u64,
        act: impl Fn(usize, u64) -> F + Clone + Send + 'static,
    ) -> Closed
    where
        F: Future<Output = anyhow::Result<u32>> + Send + 'static,
    {
        let (started, shared) = (Instant::now(), Arc::new(Shared::default()));
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let (act, shared) = (act.clone(), shared.clone());
            tasks.spawn(async move {
                let mut samples = Vec::new();
                let mut turn = 0;
                while !shared.stop.load(Relaxed) {
                    if turn == warm_turns {
                        shared.warm.fetch_add(1, Relaxed);
                    }
                    let began = Instant::now();
                    let commands = act(client, turn).await?;
                    samples.push(Sample {
                        ended: started.elapsed(),
                        took: began.elapsed(),
                        commands,
                    });
                    turn += 1;
                }
                Ok(samples)
            });
        }
        Closed { started, clients, shared, tasks }
    }

    /// Waits until every client is warm, and for `at_least`. Gives the time since the start.
    pub(crate) async fn warm(&mut self, at_least: Duration) -> anyhow::Result<Duration> {
        while self.shared.warm.load(Relaxed) < self.clients || self.started.elapsed() < at_least {
            ensure!(self.started.elapsed() < WARM_UP_MAX, "the warm-up does not end");
            self.nobody_failed()?;
            sleep(POLL).await;
        }
        Ok(self.started.elapsed())
    }

    /// Goes on for `span`. Gives the time since the start.
    pub(crate) async fn go_on(&mut self, span: Duration) -> anyhow::Result<Duration> {
        sleep(span).await;
        self.nobody_failed()?;
        Ok(self.started.elapsed())
    }

    fn nobody_failed(&mut self) -> anyhow::Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(ended) => ended.context("a client panicked")?.map(drop),
        }
    }

    /// Lets every client end its call. Gives all calls and the seconds since the start.
    pub(crate) async fn finish(mut self) -> anyhow::Result<(Vec<Sample>, f64)> {
        self.shared.stop.store(true, Relaxed);
        let mut samples = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            samples.extend(ended.context("a client panicked")??);
        }
        Ok((samples, self.started.elapsed().as_secs_f64()))
    }
}

/// Runs `clients` for `span`, without a warm-up. Gives the number of commands and the seconds.
pub(crate) async fn run<F>(
    clients: usize,
    span: Duration,
    act: impl Fn(usize, u64) -> F + Clone + Send + 'static,
) -> anyhow::Result<(u64, f64)>
where
    F: Future<Output = anyhow::Result<u32>> + Send + 'static,
{
    let mut load = Closed::start(clients, 0, act);
    load.go_on(span).await?;
    let (samples, seconds) = load.finish().await?;
    Ok((samples.iter().map(|sample| u64::from(sample.commands)).sum(), seconds))
}

/// What became of arrivals by schedule.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// From the scheduled arrival to the answer, whether or not the generator or the ones before
    /// were late. A refusal counts as longer than anything.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) refused: usize,
}

/// Arrivals at `rate` per second with gaps as chance makes them (Poisson), whatever becomes of the
/// ones before. `act(turn)` answers whether it was served. What arrives in the warm-up is not
/// counted.
pub(crate) async fn open<F>(
    rate: f64,
    (warm_up, span): (Duration, Duration),
    act: impl Fn(u64) -> F + Send + 'static,
) -> anyhow::Result<Arrived>
where
    F: Future<Output = anyhow::Result<bool>> + Send + 'static,
{
    let (began, runtime) = (Instant::now(), Handle::current());
    // On a thread of its own: the runtime's timer has steps of a millisecond, which is longer than
    // what is measured.
    let arrivals = spawn_blocking(move || {
        let mut tasks: JoinSet<anyhow::Result<Option<Duration>>> = JoinSet::new();
        let (mut next, mut random) = (Duration::ZERO, Random(1));
        let mut turn = 0;
        while next < warm_up + span {
            let due = began + next;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (counts, answer) = (warm_up <= next, act(turn));
            let task = async move {
                let took = if answer.await? { due.elapsed() } else { Duration::MAX };
                Ok(Some(took).filter(|_| counts))
            };
            tasks.spawn_on(task, &runtime);
            next += Duration::from_secs_f64(-random.unit().ln() / rate);
            turn += 1;
        }
        tasks
    });
    let (mut tasks, mut latencies) = (arrivals.await?, Vec::new());
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended.context("a command panicked")??);
    }
    let refused = latencies.iter().filter(|took| **took == Duration::MAX).count();
    Ok(Arrived { latencies, refused })
}

/// Chance that is the same in every run (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Above 0, at most 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds")]
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}
