//! The table, on paper and in the documentation.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use serde::Serialize;

use super::fill::Filled;
use crate::{figures::Latency, place::Machine};

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) reached: String,
    /// What stands beside it, measured in the same run.
    pub(super) beside: String,
    pub(super) ratio: Option<f64>,
    pub(super) aim: String,
    pub(super) met: Option<bool>,
    /// The latencies, where it is about those.
    pub(super) latency: Option<Latency>,
}

impl Row {
    /// Latencies, their 95th percentile against an aim in milliseconds.
    pub(super) fn latency(
        what: String,
        (latency, refused): (Latency, usize),
        bare: Option<Latency>,
        aim_ms: f64,
    ) -> Row {
        let mut reached = spread(&latency);
        if 0 < refused {
            let _ = write!(reached, ", {refused} of {} refused", latency.samples);
        }
        Row {
            what,
            reached,
            beside: bare.as_ref().map(|bare| format!("bare {}", spread(bare))).unwrap_or_default(),
            ratio: bare.map(|bare| latency.p95_ms / bare.p95_ms).filter(|ratio| ratio.is_finite()),
            aim: format!("p95 ≤ {aim_ms} ms"),
            met: Some(latency.p95_ms <= aim_ms),
            latency: Some(latency),
        }
    }

    pub(super) fn figure(
        what: &str,
        reached: String,
        (beside, ratio): (String, Option<f64>),
        (aim, met): (&str, Option<bool>),
    ) -> Row {
        let (what, aim) = (what.to_owned(), aim.to_owned());
        Row { what, reached, beside, ratio, aim, met, latency: None }
    }
}

fn spread(latency: &Latency) -> String {
    let Latency { p50_ms, p95_ms, p99_ms, .. } = latency;
    let text = |millis: &f64| {
        if millis.is_finite() { format!("{millis:.1}") } else { "refused".to_owned() }
    };
    format!("{} / {} / {} ms", text(p50_ms), text(p95_ms), text(p99_ms))
}

/// What is written down.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Results {
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) products: u32,
    pub(super) orders: u32,
    /// Rows of the order tables that are copies.
    pub(super) order_copies: u32,
    pub(super) events: i64,
    pub(super) seconds: u64,
    pub(super) filled: Filled,
    pub(super) rows: Vec<Row>,
    /// Milliseconds and address.
    pub(super) slowest_order_searches: Vec<(f64, String)>,
}

impl Results {
    /// The section of the documentation.
    pub(super) fn section(&self) -> String {
        let Machine { cores, processor, kernel, postgresql } = &self.machine;
        let mut text = format!(
            "## Reading\n\n**{}**, {cores} cores ({processor}), Linux {kernel}, PostgreSQL \
             {postgresql} with `fsync` on; one store with {} products and {} orders, {} events in \
             all; {} seconds each, load generator on the same cores. Latencies are p50 / p95 / p99; \
             ratios are of the p95.\n\n\
             | what | reached | beside | ratio | aim | |\n|---|---|---|--:|---|---|\n",
            self.date, self.products, self.orders, self.events, self.seconds
        );
        if 0 < self.order_copies {
            let said = format!(
                "The order tables have {} rows more, which are copies and not in the log.\n\n| what",
                self.order_copies
            );
            text = text.replacen("| what", &said, 1);
        }
        for row in &self.rows {
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let met = match row.met {
                Some(true) => "reached",
                Some(false) => "**missed**",
                None => "",
            };
            let Row { what, reached, beside, aim, .. } = row;
            let _ = writeln!(text, "| {what} | {reached} | {beside} | {ratio} | {aim} | {met} |");
        }
        text.push_str(HOW);
        if !self.slowest_order_searches.is_empty() {
            text.push_str("\nThe slowest searches for orders, one at a time:\n\n");
            for (millis, path) in &self.slowest_order_searches {
                let _ = writeln!(text, "- {millis:.1} ms: `{path}`");
            }
        }
        text
    }

    /// Writes `read.json`, and the section into the page.
    pub(super) fn save(&self, folder: &Path, page: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self)?;
        fs::write(folder.join("read.json"), json + "\n")?;
        let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
        fs::write(page, with_section(&text, &self.section()))?;
        Ok(())
    }
}

const HOW: &str = "\n\
- The store is loaded with `conche bench load`: real events, through the engine's batch path.\n\
- *Per second* rows: arrivals as chance has it, on a clock that does not wait for answers; latency\n  \
counts from when a request was due. What was refused counts as slower than anything.\n\
- *Bare* is the statements behind the answer (with the transaction that names the store), by the same\n  \
number of connections under the same role, at the same rate, without HTTP. Searches have none: they\n  \
are answered from an index in the process.\n\
- Searches for orders have up to four filters and any order; every turn is another one.\n\
- Lag: one command in twenty is looked for with its `X-Position` as soon as it is answered.\n\
- Saturation: clients that ask again as soon as they are answered, beside an axum program that answers\n  \
`hello` to the same clients.\n\
- COPY is of the rows of the order tables, from a binary file into empty tables with the same indexes.\n";

/// The page with this section in the place of the one it had.
fn with_section(page: &str, section: &str) -> String {
    let title = section.lines().next().unwrap_or_default();
    let (before, after) = match page.split_once(&format!("{title}\n")) {
        Some((before, rest)) => (before, rest.find("\n## ").map_or("", |next| &rest[next + 1..])),
        None => match page.find("## Orders through the API") {
            Some(next) => page.split_at(next),
            None => (page, ""),
        },
    };
    let mut text = format!("{}\n\n{}\n", before.trim_end(), section.trim_end());
    if !after.is_empty() {
        text.push('\n');
        text.push_str(after);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_one_before() {
        let page = "# B\n\n## Reading\n\nold\n\n## Orders through the API\n\nx\n";
        let new = with_section(page, "## Reading\n\nnew\n");
        assert_eq!(new, "# B\n\n## Reading\n\nnew\n\n## Orders through the API\n\nx\n");
        assert_eq!(with_section(&new, "## Reading\n\nnew\n"), new);
        let first = with_section("# B\n\n## Orders through the API\n\nx\n", "## Reading\n\nnew\n");
        assert_eq!(first, new);
    }
}
