//! The figures, for people: what was aimed at, what was reached, and what was used for it.

use std::io::Write as _;

use super::{
    REFERENCE, Results, Round,
    closed::{BareLevel, BaselineLevel, Level},
    measure::Figures,
};
use crate::figures::median;

/// A line of the table of aims.
struct Aim {
    what: String,
    reached: String,
    beside: String,
    ratio: f64,
    /// As a person writes it, and whether the ratio keeps it.
    aim: (&'static str, fn(f64) -> bool),
}

/// For who waits.
pub(super) fn progress(what: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr().lock(), "bench: {what}")
}

pub(super) fn print(results: &Results) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let machine = &results.machine;
    writeln!(
        out,
        "\n**{}**, {} cores ({}), Linux {}, PostgreSQL {} with `fsync` on, medians of {} rounds of\n\
         {} seconds, events of {} bytes and {} of metadata.\n",
        results.date,
        machine.cores,
        machine.processor,
        machine.kernel,
        machine.postgresql,
        results.rounds.len(),
        results.seconds,
        results.payload_bytes,
        results.metadata_bytes
    )?;
    writeln!(out, "| what | engine | beside | ratio | aim | |\n|---|--:|--:|--:|--:|---|")?;
    for aim in aims(results) {
        let verdict = if (aim.aim.1)(aim.ratio) { "reached" } else { "**missed**" };
        writeln!(
            out,
            "| {} | {} | {} | {:.2} | {} | {verdict} |",
            aim.what, aim.reached, aim.beside, aim.ratio, aim.aim.0
        )?;
    }
    levels(&mut out, results)?;
    uses(&mut out, results)?;
    memory(&mut out, results)
}

/// Median over the rounds.
pub(super) fn of(results: &Results, figure: impl FnMut(&Round) -> f64) -> f64 {
    median(results.rounds.iter().map(figure))
}

/// The connections that bare appends are fastest with.
pub(super) fn best_bare(
    results: &Results,
    level: impl Fn(&Round) -> &Level,
) -> impl Fn(&Round) -> &BareLevel {
    let tried = results.rounds.first().map_or(0, |round| level(round).bare.len());
    let rate = |index: usize| of(results, |round| level(round).bare[index].figures.commands);
    let best = (0..tried).max_by(|a, b| rate(*a).total_cmp(&rate(*b))).unwrap_or(0);
    move |round| &level(round).bare[best]
}

/// The clients that `postgres-es` is fastest with.
pub(super) fn best_baseline(results: &Results) -> impl Fn(&Round) -> &BaselineLevel {
    let tried = results.rounds.first().map_or(0, |round| round.baseline.len());
    let rate = |index: usize| of(results, |round| round.baseline[index].figures.commands);
    let best = (0..tried).max_by(|a, b| rate(*a).total_cmp(&rate(*b))).unwrap_or(0);
    move |round| &round.baseline[best]
}

fn aims(results: &Results) -> Vec<Aim> {
    let mut aims = distinct_streams(results);
    aims.extend(hot_stream(results));
    aims.extend(latencies(results));
    aims.extend(checkouts(results));
    let memory = &results.memory;
    aims.push(Aim {
        what: format!(
            "memory after {} commands on {} streams, beside half of them",
            memory.commands, memory.streams
        ),
        reached: format!("{:.0} MiB", memory.at_percent(100)),
        beside: format!("{:.0} MiB", memory.at_percent(50)),
        ratio: memory.at_percent(100) / memory.at_percent(50),
        aim: ("≤ 1.10", |ratio| ratio <= 1.1),
    });
    aims
}

fn distinct_streams(results: &Results) -> Vec<Aim> {
    let mut aims = Vec::new();
    let postgres_es = best_baseline(results);
    let clients = results.rounds.first().map_or(0, |round| postgres_es(round).clients);
    let known: LevelOf<'_> = Box::new(Round::reference);
    for (streams, level) in [("known", known), ("new", Box::new(|round| &round.new_streams))] {
        let bare = best_bare(results, &level);
        let engine = per_second(of(results, |round| level(round).engine.commands));
        aims.push(Aim {
            what: format!("{REFERENCE} in flight, {streams} streams, beside bare appends"),
            reached: engine.clone(),
            beside: per_second(of(results, |round| bare(round).figures.commands)),
            ratio: of(results, |round| level(round).engine.commands / bare(round).figures.commands),
            aim: ("≥ 0.60", |ratio| 0.6 <= ratio),
        });
        aims.push(Aim {
            what: format!("the same, beside postgres-es at its best ({clients} clients)"),
            reached: engine,
            beside: per_second(of(results, |round| postgres_es(round).figures.commands)),
            ratio: of(results, |round| {
                level(round).engine.commands / postgres_es(round).figures.commands
            }),
            aim: ("≥ 5", |ratio| 5.0 <= ratio),
        });
    }
    aims
}

fn hot_stream(results: &Results) -> Vec<Aim> {
    let hot = of(results, |round| round.hot.commands);
    let tried = results.rounds.first().map_or(0, |round| round.hot_baseline.len());
    let mut aims = Vec::new();
    for index in 0..tried {
        let beside = |round: &Round| round.hot_baseline[index].figures.commands;
        let clients = results.rounds[0].hot_baseline[index].clients;
        aims.push(Aim {
            what: format!(
                "one hot stream, {REFERENCE} in flight, beside postgres-es with retries, \
                 {clients} clients"
            ),
            reached: per_second(hot),
            beside: per_second(of(results, beside)),
            ratio: of(results, |round| round.hot.commands / beside(round)),
            aim: ("≥ 50", |ratio| 50.0 <= ratio),
        });
    }
    aims.push(Aim {
        what: "one hot stream, in commands/s".to_owned(),
        reached: per_second(hot),
        beside: "10,000/s".to_owned(),
        ratio: hot / 10_000.0,
        aim: ("≥ 1", |ratio| 1.0 <= ratio),
    });
    aims
}

fn latencies(results: &Results) -> Vec<Aim> {
    let single = |what: &str, engine: fn(&Round) -> f64, bare: fn(&Round) -> f64| Aim {
        what: format!("one client, one command at a time, {what}, beside a bare append"),
        reached: millis(of(results, engine)),
        beside: millis(of(results, bare)),
        ratio: of(results, |round| engine(round) / bare(round)),
        aim: ("≤ 1.5", |ratio| ratio <= 1.5),
    };
    vec![
        single("median", |it| it.single.engine.p50_ms, |it| it.single.bare.p50_ms),
        single("p99", |it| it.single.engine.p99_ms, |it| it.single.bare.p99_ms),
        Aim {
            what: format!(
                "p99 at half of the peak ({}), beside a flush",
                per_second(of(results, |round| round.steady.rate))
            ),
            reached: millis(of(results, |round| round.steady.latency.p99_ms)),
            beside: millis(of(results, |round| round.steady.flush.p50_ms)),
            ratio: of(results, |round| round.steady.latency.p99_ms / round.steady.flush.p50_ms),
            aim: ("≤ 10", |ratio| ratio <= 10.0),
        },
    ]
}

fn checkouts(results: &Results) -> Option<Aim> {
    let of = |figure: fn(&super::http::Http) -> f64| median(results.http.iter().map(figure));
    results.http.first()?;
    Some(Aim {
        what: "checkouts begun by 64 clients through HTTP, beside the same commands without"
            .to_owned(),
        reached: per_second(of(|round| round.http.checkouts)),
        beside: per_second(of(|round| round.direct.checkouts)),
        ratio: of(|round| round.http.checkouts / round.direct.checkouts),
        aim: ("≥ 0.40", |ratio| 0.4 <= ratio),
    })
}

fn levels(out: &mut impl std::io::Write, results: &Results) -> std::io::Result<()> {
    writeln!(
        out,
        "\n| in flight | commands/s | events per append | p50 | p99 | bare, same size | connections | engine ÷ bare |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    for (name, level) in named_levels(results) {
        let bare = best_bare(results, &level);
        writeln!(
            out,
            "| {name} | {} | {:.1} | {} | {} | {} | {} | {:.2} |",
            per_second(of(results, |round| level(round).engine.commands)),
            of(results, |round| level(round).engine.events_per_append),
            millis(of(results, |round| level(round).engine.latency.p50_ms)),
            millis(of(results, |round| level(round).engine.latency.p99_ms)),
            per_second(of(results, |round| bare(round).figures.commands)),
            results.rounds.first().map_or(0, |round| bare(round).connections),
            of(results, |round| level(round).engine.commands / bare(round).figures.commands),
        )?;
    }
    writeln!(out, "\n| postgres-es, clients | commands/s | p50 | p99 | tries |")?;
    writeln!(out, "|--:|--:|--:|--:|--:|")?;
    let new: BaselinesOf = |round| &round.baseline;
    let both = [("new aggregates", new), ("one hot aggregate", |round| &round.hot_baseline)];
    for (what, levels) in both {
        for index in 0..results.rounds.first().map_or(0, |round| levels(round).len()) {
            let clients = results.rounds[0..1].iter().map(|round| levels(round)[index].clients);
            writeln!(
                out,
                "| {}, {what} | {} | {} | {} | {:.1} |",
                clients.sum::<usize>(),
                per_second(of(results, |round| levels(round)[index].figures.commands)),
                millis(of(results, |round| levels(round)[index].figures.latency.p50_ms)),
                millis(of(results, |round| levels(round)[index].figures.latency.p99_ms)),
                of(results, |round| levels(round)[index].tries),
            )?;
        }
    }
    Ok(())
}

type BaselinesOf = fn(&Round) -> &[BaselineLevel];

type LevelOf<'a> = Box<dyn Fn(&Round) -> &Level + 'a>;

fn named_levels(results: &Results) -> Vec<(String, LevelOf<'_>)> {
    let Some(first) = results.rounds.first() else { return Vec::new() };
    let mut levels: Vec<(String, LevelOf<'_>)> = Vec::new();
    for (index, level) in first.known_streams.iter().enumerate() {
        let name = level.concurrency.to_string();
        levels.push((name, Box::new(move |round| &round.known_streams[index])));
    }
    let name = format!("{}, new streams", first.new_streams.concurrency);
    levels.push((name, Box::new(|round| &round.new_streams)));
    levels
}

/// What was used: for saying what bounds it.
fn uses(out: &mut impl std::io::Write, results: &Results) -> std::io::Result<()> {
    writeln!(
        out,
        "\n| | appends/s | flushes/s | time in flushes | CPU engine | CPU PostgreSQL | cores busy |\n\
         |---|--:|--:|--:|--:|--:|--:|"
    )?;
    let mut line = |name: String, figures: &dyn Fn(&Round) -> &Figures| {
        writeln!(
            out,
            "| {name} | {:.0} | {:.0} | {:.0} % | {:.3} s | {:.3} s | {:.0} % |",
            of(results, |round| figures(round).appends),
            of(results, |round| figures(round).flushes),
            of(results, |round| figures(round).flushing) * 100.0,
            of(results, |round| figures(round).own_cpu),
            of(results, |round| figures(round).postgres_cpu),
            of(results, |round| figures(round).busy) * 100.0,
        )
    };
    for (name, level) in named_levels(results) {
        line(format!("engine, {name}"), &|round| &level(round).engine)?;
        let bare = best_bare(results, &level);
        line(format!("bare, as {name}"), &|round| &bare(round).figures)?;
    }
    line("engine, one hot stream".to_owned(), &|round| &round.hot)?;
    let postgres_es = best_baseline(results);
    line("postgres-es at its best".to_owned(), &|round| &postgres_es(round).figures)
}

fn memory(out: &mut impl std::io::Write, results: &Results) -> std::io::Result<()> {
    let memory = &results.memory;
    writeln!(
        out,
        "\nMemory before {:.0} MiB, after 10 % {:.0}, 50 % {:.0}, 100 % {:.0} MiB of {} commands, {}.",
        memory.at_percent(0),
        memory.at_percent(10),
        memory.at_percent(50),
        memory.at_percent(100),
        memory.commands,
        per_second(memory.commands_per_second)
    )?;
    let flush = |figure: fn(&Round) -> f64| millis(of(results, figure));
    writeln!(
        out,
        "A flush of 8 KiB: median {}, p99 {}. At half of the peak: median {}, refused {:.0}.",
        flush(|round| round.steady.flush.p50_ms),
        flush(|round| round.steady.flush.p99_ms),
        flush(|round| round.steady.latency.p50_ms),
        of(results, |round| crate::figures::count(round.steady.refused as u64))
    )?;
    let alone = results.http.iter().filter_map(|round| round.first_command);
    writeln!(
        out,
        "The first command of a checkout alone, without HTTP and without the process: {}.",
        per_second(median(alone.map(|it| it.checkouts)))
    )
}

/// With commas between thousands.
fn per_second(rate: f64) -> String {
    let digits = format!("{rate:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + "/s"
}

/// Refused commands were answered, but not as wanted: they count as slower than anything.
fn millis(figure: f64) -> String {
    if figure.is_finite() { format!("{figure:.2} ms") } else { "refused".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!(per_second(7.0), "7/s");
        assert_eq!(per_second(1_234_567.8), "1,234,568/s");
        assert_eq!(per_second(123_456.0), "123,456/s");
    }
}
