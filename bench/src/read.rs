//! Reading at size: queries under load, read models catching up, how late they are, each beside
//! what the same machine does without the program, in one run.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{Router, routing::get};
use event_schemas::ids::StoreId;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpListener;

use crate::{
    figures::count,
    place::{self, Place},
    program::{Folder, Program, command},
    shop::Shop,
};
use ask::{Ask, Asker};
use fill::{Filled, Pace};
use report::{Results, Row};
use samples::Samples;
use wire::Client;

mod ask;
mod fill;
mod lag;
mod orders;
mod report;
mod samples;
mod wire;

/// The store that is loaded.
const STORE: &str = "bench";

/// Clients that ask for as much as they get.
const CLIENTS: usize = 64;

/// Orders that are searched for one at a time, to find the slowest searches.
const ONE_BY_ONE: u64 = 300;

/// How late queries may show a command, in milliseconds.
const LAG_MS: f64 = 250.0;

/// Options of the measurement.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Products of the store.
    #[arg(long, default_value_t = 100_000)]
    products: u32,

    /// Orders of the store, about 15 events each.
    #[arg(long, default_value_t = 1_000_000)]
    orders: u32,

    /// Rows of the order tables, if more than there are orders: copied in the read model and not in
    /// the log, for a disk that the history of so many orders does not fit (some 22 KB each).
    #[arg(long, default_value_t = 0)]
    order_rows: u32,

    /// Small sizes and short spans, to see that everything works.
    #[arg(long)]
    quick: bool,

    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,

    /// Data directory to keep, and to use if it is there: a full one is not loaded again. A
    /// temporary one if none is given.
    #[arg(long)]
    data: Option<PathBuf>,

    /// Load and stop.
    #[arg(long, requires = "data")]
    only_load: bool,

    /// Measure a rebuild of all read models too, which takes minutes at full size.
    #[arg(long)]
    rebuild: bool,

    /// Folder of `read.json`.
    #[arg(long, default_value = "docs/benchmarks")]
    save: PathBuf,

    /// Page whose section "Reading" is written anew.
    #[arg(long, default_value = "docs/benchmarks.md")]
    page: PathBuf,
}

impl Arguments {
    fn span(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Measures, prints the table and writes the files.
pub(crate) async fn run(conche: &Path, date: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let mut arguments = arguments.clone();
    if arguments.quick {
        (arguments.products, arguments.orders, arguments.seconds) = (500, 3_000, 2);
    }
    let folder = match &arguments.data {
        Some(path) => Folder::Kept(path.clone()),
        None => Folder::Temporary(place::data_dir()?),
    };
    let filled = fill::fill(conche, folder.path(), &arguments).await?;
    if arguments.only_load {
        progress("loaded");
        return Ok(());
    }
    let mut place = Place::open(folder.path()).await?;
    let machine = place.machine().await?;
    place.close().await?;
    let mut rows = filled_rows(&filled);
    let measured = Measured { conche, arguments: &arguments };
    let (folder, slowest) = measured.uncached(folder, &mut rows).await?;
    let (_folder, events) = measured.shipped(folder, &mut rows).await?;
    let results = Results {
        date: date.to_owned(),
        machine,
        products: arguments.products,
        orders: arguments.orders,
        order_copies: arguments.order_rows.saturating_sub(arguments.orders),
        events,
        seconds: arguments.seconds,
        filled,
        rows,
        slowest_order_searches: slowest,
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", results.section())?;
    if arguments.quick {
        return Ok(());
    }
    results.save(&arguments.save, &arguments.page)
}

fn per_second(pace: &Pace) -> String {
    format!("{:.0}/s", pace.rate())
}

fn filled_rows(filled: &Filled) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(load) = &filled.load {
        let aim = ("≥ 20,000 events/s", Some(20_000.0 <= load.rate()));
        rows.push(Row::figure(
            "`conche bench load`",
            format!("{} of {} events", per_second(load), load.count),
            (String::new(), None),
            aim,
        ));
    }
    if let (Some(orders), Some(copy)) = (&filled.orders, &filled.copy) {
        rows.push(Row::figure(
            "projector of orders, alone, catching up",
            format!("{} events, {:.0} s", per_second(orders), orders.seconds),
            (
                format!("COPY of its {} rows: {:.1} s", copy.count, copy.seconds),
                Some(copy.seconds / orders.seconds),
            ),
            ("≥ 50,000 events/s, ≥ 0.50 of COPY", {
                let fast = 50_000.0 <= orders.rate();
                Some(fast && 0.5 <= copy.seconds / orders.seconds)
            }),
        ));
    }
    for other in &filled.others {
        rows.push(Row::figure(
            &format!("projector `{}`, the two others at once", other.what),
            format!("{} events", per_second(other)),
            (String::new(), None),
            ("", None),
        ));
    }
    rows
}

/// What is measured, and with what.
struct Measured<'a> {
    conche: &'a Path,
    arguments: &'a Arguments,
}

/// Per second, and the aim of the 95th percentile in milliseconds.
type Wanted = (&'static str, Ask, f64, f64);

const UNCACHED: [Wanted; 9] = [
    ("product by id, 1,000/s, cache off", Ask::Product, 1_000.0, 10.0),
    ("listing of 20, 1,000/s, cache off", Ask::Listing, 1_000.0, 25.0),
    ("search with facets, common words, 20/s", Ask::SearchBroad, 20.0, 50.0),
    ("search with facets, three words, 20/s", Ask::SearchNarrow, 20.0, 50.0),
    ("search with a typing error, 20/s", Ask::SearchTypo, 20.0, 50.0),
    ("autocomplete, 100/s", Ask::Suggest, 100.0, 15.0),
    ("order search, any filters, any order, 50/s", Ask::Orders, 50.0, 50.0),
    ("the same with `count=exact`, 20/s", Ask::OrdersCounted, 20.0, 50.0),
    ("report: sales by day, week or month, 20/s", Ask::Sales, 20.0, 100.0),
];
const MORE_REPORTS: [Wanted; 2] = [
    ("report: top products, 20/s", Ask::TopProducts, 20.0, 100.0),
    ("report: customers, 20/s", Ask::Customers, 20.0, 100.0),
];
const CACHED: [Wanted; 2] = [
    ("product by id, 1,000/s, as shipped", Ask::Product, 1_000.0, 10.0),
    ("listing of 20, 1,000/s, as shipped", Ask::Listing, 1_000.0, 25.0),
];

impl Measured<'_> {
    fn resume(&self, folder: Folder, options: &[&str]) -> anyhow::Result<Program> {
        // An overload is to be measured, and not to be told line by line.
        let options = [&["--log", "error"], options].concat();
        Program::resume(self.conche, folder, STORE, &options)
    }

    async fn asker(&self, program: &Program) -> anyhow::Result<Asker> {
        let options = program.connect_options().await?;
        let samples = Samples::take(&options, StoreId::of_slug(STORE)).await?;
        let client = Client::new(program.address(), program.token());
        Ok(Asker::new(client, Arc::new(samples), options))
    }

    /// Everything that the cache would hide.
    async fn uncached(
        &self,
        folder: Folder,
        rows: &mut Vec<Row>,
    ) -> anyhow::Result<(Folder, Vec<(f64, String)>)> {
        let program = self.resume(folder, &["--read-cache", "off"])?;
        let asker = self.asker(&program).await?;
        let routes = routes(&asker.client).await?;
        let mut monitor = PgConnection::connect_with(&program.connect_options().await?).await?;
        let scans = whole_tables(&mut monitor).await?;
        for wanted in UNCACHED.into_iter().chain(MORE_REPORTS) {
            if routes.iter().any(|route| route == wanted.1.route()) {
                rows.extend(left_out(wanted.0, self.latencies(&asker, wanted).await));
            }
        }
        progress("searches for orders, one at a time");
        let slowest = asker.slowest(ONE_BY_ONE).await?;
        let scans = whole_tables(&mut monitor).await? - scans;
        rows.push(Row::figure(
            "looks at all orders meanwhile (sequential scans)",
            scans.to_string(),
            (String::new(), None),
            ("0", Some(scans == 0)),
        ));
        if self.arguments.rebuild {
            let rebuilt = self.rebuild(&program, &asker, &mut monitor).await;
            rows.extend(left_out("rebuild", rebuilt));
        }
        monitor.close().await?;
        Ok((program.leave()?, slowest))
    }

    async fn latencies(&self, asker: &Asker, wanted: Wanted) -> anyhow::Result<Row> {
        let (what, ask, rate, aim) = wanted;
        progress(what);
        asker.ready(ask).await?;
        let measured = asker.open(ask, rate, self.arguments.span()).await?;
        let bare = if ask.has_bare() {
            Some(asker.bare(ask, rate, self.arguments.span()).await?)
        } else {
            None
        };
        Ok(Row::latency(what.to_owned(), measured, bare, aim))
    }

    /// The program as people run it. Answers with the events there are.
    async fn shipped(&self, folder: Folder, rows: &mut Vec<Row>) -> anyhow::Result<(Folder, i64)> {
        let span = self.arguments.span();
        let without = self.browsing(folder, "off").await?;
        let with = self.browsing(without.folder, "on").await?;
        let per = |browsing: f64, answered: f64| browsing / answered.max(1.0);
        let (off, on) = (per(without.queries, without.rate), per(with.queries, with.rate));
        rows.push(Row::figure(
            "database transactions per request of the browse mix",
            format!("{on:.3}"),
            (format!("cache off {off:.3}"), Some(on / off)),
            ("down ≥ 70 %", Some(on <= 0.3 * off)),
        ));
        progress("axum's hello");
        let hello = hello_rate(span).await?;
        for (what, rate, aim) in [
            ("browse mix at saturation, as shipped", with.rate, Some(0.25 * hello <= with.rate)),
            ("browse mix at saturation, cache off", without.rate, None),
        ] {
            rows.push(Row::figure(
                what,
                format!("{rate:.0}/s"),
                (format!("axum's hello {hello:.0}/s"), Some(rate / hello)),
                (if aim.is_some() { "≥ 0.25" } else { "" }, aim),
            ));
        }
        let program = self.resume(with.folder, &[])?;
        let asker = self.asker(&program).await?;
        for wanted in CACHED {
            rows.extend(left_out(wanted.0, self.latencies(&asker, wanted).await));
        }
        rows.extend(left_out("lag", self.lag(&program).await));
        let mut conn = PgConnection::connect_with(&program.connect_options().await?).await?;
        let events = fill::head(&mut conn).await?;
        conn.close().await?;
        Ok((program.leave()?, events))
    }

    /// Shoppers who look around as fast as they can.
    async fn browsing(&self, folder: Folder, cache: &str) -> anyhow::Result<Browsing> {
        progress(&format!("browse mix at saturation, cache {cache}"));
        let program = self.resume(folder, &["--read-cache", cache])?;
        let asker = self.asker(&program).await?;
        asker.ready(Ask::Browse).await?;
        let mut monitor = PgConnection::connect_with(&program.connect_options().await?).await?;
        let (before, began) = (transactions(&mut monitor).await?, Instant::now());
        let rate = asker.closed(Ask::Browse, CLIENTS, self.arguments.span()).await?;
        let (after, took) = (transactions(&mut monitor).await?, began.elapsed());
        monitor.close().await?;
        let queries = count(u64::try_from(after - before)?) / took.as_secs_f64();
        Ok(Browsing { rate, queries, folder: program.leave()? })
    }

    async fn lag(&self, program: &Program) -> anyhow::Result<Row> {
        progress("lag at 1,000 commands/s");
        let token = command(self.conche, program.data(), &["token"])?;
        let client = Client::new(program.address(), token.trim());
        let shop = Shop::at(program.address(), token.trim()).await?;
        let (lag, refused) = lag::measure(&shop, &client, 1_000.0, self.arguments.span()).await?;
        let what = "from the answer to a command until a query shows it, 1,000 commands/s";
        let mut row = Row::latency(what.to_owned(), (lag, 0), None, LAG_MS);
        if 0 < refused {
            row.reached.extend([", ", &refused.to_string(), " commands refused"]);
        }
        row.aim = format!("p99 ≤ {LAG_MS} ms");
        row.met = Some(lag.p99_ms <= LAG_MS && refused == 0);
        Ok(row)
    }

    /// All read models anew, while somebody asks for products.
    async fn rebuild(
        &self,
        program: &Program,
        asker: &Asker,
        monitor: &mut PgConnection,
    ) -> anyhow::Result<Row> {
        progress("rebuild of all read models");
        let (before, _) = asker.open(Ask::Product, 100.0, self.arguments.span()).await?;
        let (began, data) = (Instant::now(), program.data().to_owned());
        let (conche, names) = (self.conche.to_owned(), projections::ALL.len());
        let rebuilding = tokio::task::spawn_blocking(move || rebuild_all(&conche, &data));
        let mut during = Vec::new();
        while !rebuilding.is_finished() {
            let (latency, _) = asker.open(Ask::Product, 100.0, self.arguments.span()).await?;
            during.push(latency.p95_ms);
        }
        rebuilding.await??;
        let seconds = began.elapsed().as_secs_f64();
        let events = u64::try_from(fill::head(monitor).await?)? * names as u64;
        let rate = count(events) / seconds;
        let slower = crate::figures::median(during) / before.p95_ms;
        Ok(Row::figure(
            "rebuild of all read models, events in sum",
            format!("{rate:.0}/s, {seconds:.0} s"),
            (format!("p95 of a product meanwhile, beside before: {slower:.2}"), Some(slower)),
            ("≥ 100,000 events/s, p95 ≤ 2 ×", Some(100_000.0 <= rate && slower <= 2.0)),
        ))
    }
}

/// What failed is not in the table, and the rest of an hour's measurement is.
fn left_out(what: &str, measured: anyhow::Result<Row>) -> Option<Row> {
    measured.inspect_err(|error| progress(&format!("left out: {what}: {error:#}"))).ok()
}

/// What shoppers who look around came to.
struct Browsing {
    /// Answers per second.
    rate: f64,
    /// Transactions of the database per second.
    queries: f64,
    folder: Folder,
}

fn rebuild_all(conche: &Path, data: &Path) -> anyhow::Result<()> {
    if command(conche, data, &["rebuild", "--help"])?.contains("--all") {
        return command(conche, data, &["rebuild", "--all"]).map(drop);
    }
    for projection in projections::ALL {
        command(conche, data, &["rebuild", projection.name])?;
    }
    Ok(())
}

/// Paths of the API.
async fn routes(client: &Client) -> anyhow::Result<Vec<String>> {
    let document = client.get("/openapi.json").await?;
    let document: Value = serde_json::from_slice(&document.body)?;
    let paths = document["paths"].as_object().context("a document has paths")?;
    Ok(paths.keys().cloned().collect())
}

async fn whole_tables(conn: &mut PgConnection) -> anyhow::Result<i64> {
    let scans = "SELECT coalesce(sum(seq_scan), 0)::bigint FROM pg_stat_user_tables
                  WHERE schemaname = 'read' AND relname IN ('order_summaries', 'order_lines')";
    Ok(sqlx::query_scalar(scans).fetch_one(conn).await?)
}

/// Transactions of the database so far, as far as backends have reported them.
async fn transactions(conn: &mut PgConnection) -> anyhow::Result<i64> {
    let all = "SELECT xact_commit + xact_rollback FROM pg_stat_database
                WHERE datname = current_database()";
    Ok(sqlx::query_scalar(all).fetch_one(conn).await?)
}

/// Answers a few bytes until it is killed. Says its address first.
pub(crate) async fn hello() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout().lock(), "http://{}", listener.local_addr()?)?;
    let router: Router = Router::new().route("/", get(async || "hello"));
    axum::serve(listener, router).await?;
    Ok(())
}

/// A process that says hello; gone with its owner.
struct Hello(Child);

impl Drop for Hello {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn hello_rate(span: Duration) -> anyhow::Result<f64> {
    let own = std::env::current_exe()?;
    let mut command = Command::new(own);
    let child = command.args(["--conche", "none", "hello"]).stdout(Stdio::piped()).spawn()?;
    let mut hello = Hello(child);
    let mut line = String::new();
    let out = hello.0.stdout.as_mut().context("standard output is piped")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
    let client = Client::new(line.trim(), "");
    let act = move |_: usize, _: u64| {
        let client = client.clone();
        async move { client.get("/").await.map(|answer| u32::from(answer.status == 200)) }
    };
    let (answers, seconds) = crate::load::run(CLIENTS, span, act).await?;
    Ok(count(answers) / seconds)
}

/// Says on standard error what is being measured.
fn progress(what: &str) {
    let _ = writeln!(std::io::stderr().lock(), "read: {what}");
}
