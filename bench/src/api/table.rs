//! The figures, for people.

use std::io::Write as _;

use super::{Measured, Rate};

/// What was measured side by side.
pub(super) struct Round {
    pub(super) api: Measured,
    pub(super) bare: Rate,
    pub(super) baseline: Rate,
}

/// Medians of the rounds with so many clients.
pub(super) struct Line {
    clients: usize,
    orders: f64,
    commands: f64,
    events: f64,
    bare_events: f64,
    baseline_events: f64,
    to_bare: f64,
    to_baseline: f64,
}

impl Line {
    pub(super) fn of(clients: usize, rounds: Vec<Round>) -> Line {
        let median = |figure: fn(&Round) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Line {
            clients,
            orders: median(|round| round.api.orders.calls),
            commands: median(|round| round.api.commands),
            events: median(|round| round.api.orders.events),
            bare_events: median(|round| round.bare.events),
            baseline_events: median(|round| round.baseline.events),
            to_bare: median(|round| round.api.orders.events / round.bare.events),
            to_baseline: median(|round| round.api.orders.events / round.baseline.events),
        }
    }
}

/// Everything that was measured.
pub(super) struct Report {
    pub(super) lines: Vec<Line>,
    pub(super) start_seconds: f64,
    pub(super) import_seconds: Option<f64>,
    pub(super) idle_mib: f64,
    pub(super) after_mib: f64,
}

impl Report {
    pub(super) fn print(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nOrders through the API (begin, pay, captured), medians; events/s beside")?;
        writeln!(out, "the append function driven bare and postgres-es 0.5 with CqrsFramework,")?;
        writeln!(out, "both storing the same number of events of the same size per command.\n")?;
        writeln!(
            out,
            "| clients | orders/s | commands/s | events/s | bare events/s | postgres-es events/s | API ÷ bare | API ÷ postgres-es |"
        )?;
        writeln!(out, "|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        for line in &self.lines {
            writeln!(
                out,
                "| {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} |",
                line.clients,
                line.orders,
                line.commands,
                line.events,
                line.bare_events,
                line.baseline_events,
                line.to_bare,
                line.to_baseline
            )?;
        }
        writeln!(out, "\n| what | figure | first aim |\n|---|--:|--:|")?;
        match self.import_seconds {
            Some(seconds) => {
                writeln!(out, "| import of the order history | {seconds:.1} s | < 60 s |")?;
            }
            None => writeln!(out, "| import of the order history | no file | < 60 s |")?,
        }
        writeln!(out, "| start to first answered query | {:.1} s | < 5 s |", self.start_seconds)?;
        writeln!(out, "| resident memory, idle | {:.0} MiB | < 100 MiB |", self.idle_mib)?;
        writeln!(out, "| resident memory, after everything | {:.0} MiB | |", self.after_mib)
    }
}
