//! Every setting, on the command line or in the environment: `--help` is the manual.

use std::{net::SocketAddr, path::PathBuf};

use api_kit::Permission;
use clap::{Args, Parser, Subcommand, ValueEnum};

mod access;
mod trouble;

pub use access::{
    Analysts, Connect, Grant, Hidden, Money, ParkedWebhooks, Payments, Vault, Vendor, Webhooks,
};
pub use trouble::{Parked, ParkedStream, Sagas};

/// The store of the demo shop and of everything that names no other.
pub const DEFAULT_STORE: &str = "demo";

/// An event-sourced commerce backend: many shops on one installation.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub struct Config {
    /// Where things are and how much they say.
    #[command(flatten)]
    pub place: Place,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where things are and how much they say.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Place {
    /// Directory of the private PostgreSQL, of the token key and of the vault's key. Made if missing.
    #[arg(long, env = "CONCHE_DATA_DIR", global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// A PostgreSQL to use instead of a private one: `postgres://user:password@host/name`.
    #[arg(long, env = "DATABASE_URL", global = true, hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,

    /// Master keys of the vault: 32 bytes each in base64, the current one first, then former ones,
    /// with commas. Set it in the environment. Without it a key is kept in the data directory.
    #[arg(
        long,
        env = "CONCHE_VAULT_KEY",
        global = true,
        hide_env_values = true,
        value_name = "KEYS"
    )]
    pub vault_key: Option<Hidden>,

    /// Folder of the `initdb` and `postgres` programs; found by itself in the usual places.
    #[arg(long, env = "PG_BINDIR", global = true, value_name = "DIR")]
    pub pg_bindir: Option<PathBuf>,

    /// What to log: `error`, `warn`, `info`, `debug`, or `crate=level` pairs.
    #[arg(long, env = "CONCHE_LOG", global = true, default_value = "warn", value_name = "FILTER")]
    pub log: String,

    /// Log as one JSON object a line.
    #[arg(long, env = "CONCHE_LOG_JSON", global = true)]
    pub log_json: bool,

    /// Home folder of the user, where the data directory is by default.
    #[arg(long, env = "HOME", global = true, hide = true)]
    pub home: Option<PathBuf>,

    /// Base folder for data of users, by the XDG specification.
    #[arg(long, env = "XDG_DATA_HOME", global = true, hide = true)]
    pub xdg_data_home: Option<PathBuf>,

    /// Folders that are searched for the PostgreSQL programs last.
    #[arg(long, env = "PATH", global = true, hide = true)]
    pub path: Option<std::ffi::OsString>,

    /// Fail point at which to die, and the how-manyth time: `saga::after-call:3`.
    #[cfg(feature = "failpoints")]
    #[arg(long, env = "CRASH_AT", global = true, hide = true)]
    pub crash_at: Option<crate::crash::CrashAt>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, on a private PostgreSQL unless a server is given.
    Up(Up),
    /// Run the command API.
    WriteApi(Listen),
    /// Run the query API.
    ReadApi(ReadApi),
    /// Run one projector: it fills its read model from the log. A second one stands by.
    Projector {
        /// Which read model: `catalog`, `orders` or `sales`.
        #[arg(value_parser = read_model)]
        name: String,
    },
    /// Run the process manager: checkouts, cancellations, refunds, timers.
    Saga,
    /// Bring the database to this version and make partitions ahead of need.
    Migrate,
    /// Print a development token for a store.
    Token(Token),
    /// Build a read model anew beside the live one, say how they differ, then swap.
    Rebuild(Rebuild),
    /// Ask about the read models.
    #[command(subcommand)]
    Projections(Projections),
    /// Read and check the log.
    #[command(subcommand)]
    Log(Log),
    /// Who may read which store with SQL, in schema `analytics`.
    #[command(subcommand)]
    Analysts(Analysts),
    /// Ask about the processes.
    #[command(subcommand)]
    Sagas(Sagas),
    /// Keys to personal data, and credentials of stores.
    #[command(subcommand)]
    Vault(Vault),
    /// Stores' accounts at payment providers.
    #[command(subcommand)]
    Payments(Payments),
    /// What payment providers send.
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// The audit of money and stock.
    #[command(subcommand)]
    Money(Money),
    /// Write data for other programs.
    #[command(subcommand)]
    Export(Export),
    /// Take over data of another system, through ordinary commands. Repeating changes nothing.
    #[command(subcommand)]
    Import(Import),
    /// Prepare measurements.
    #[command(subcommand)]
    Bench(Bench),
}

/// Everything in one process.
#[derive(Debug, Args)]
pub struct Up {
    /// Address of the API.
    #[command(flatten)]
    pub listen: Listen,

    /// How queries are answered.
    #[command(flatten)]
    pub reading: Reading,

    /// Fill an empty store `demo` with a chocolate shop.
    #[arg(long, env = "CONCHE_DEMO")]
    pub demo: bool,
}

/// The query API.
#[derive(Debug, Args)]
pub struct ReadApi {
    /// Address of the API.
    #[command(flatten)]
    pub listen: Listen,

    /// How queries are answered.
    #[command(flatten)]
    pub reading: Reading,
}

/// How queries are answered.
#[derive(Clone, Debug, Args)]
pub struct Reading {
    /// A replica that answers queries, as a PostgreSQL address; the server itself answers what the
    /// replica does not have in time, and everything while it is away.
    #[arg(long, env = "CONCHE_READ_URL", hide_env_values = true, value_name = "URL")]
    pub read_url: Option<String>,

    /// Whether answers about the catalogue are kept in memory until something in them changes.
    #[arg(long, env = "CONCHE_READ_CACHE", value_enum, default_value = "on")]
    pub read_cache: Switch,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

/// An address.
#[derive(Debug, Args)]
pub struct Listen {
    /// Where the API listens.
    #[arg(long, env = "CONCHE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
}

/// A development token.
#[derive(Debug, Args)]
pub struct Token {
    /// Slug of the store.
    #[arg(long, default_value = DEFAULT_STORE, value_parser = slug)]
    pub store: String,

    /// Permissions, such as `products:read`, with commas; all of them if none is given.
    #[arg(long, value_delimiter = ',', value_name = "PERMISSION", value_parser = permission)]
    pub permissions: Vec<Permission>,

    /// Days until it expires.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub days: u16,
}

/// Build a read model anew beside the live one, say how they differ, then swap.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Rebuild {
    /// Which read model: `catalog`, `orders` or `sales`.
    #[arg(value_parser = read_model, required_unless_present = "all")]
    pub name: Option<String>,

    /// All of them, two at a time.
    #[arg(long, conflicts_with = "name")]
    pub all: bool,

    /// Say how they would differ and do not swap. Exits with 1 if any row differs.
    #[arg(long)]
    pub check: bool,

    /// Bring back the tables that the last rebuild replaced; those that serve now are kept.
    #[arg(long, conflicts_with = "check")]
    pub rollback: bool,

    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,

    /// When to say how far it is: a bar on a terminal, elsewhere a line every 5 s.
    #[arg(long, value_enum, default_value = "auto")]
    pub progress: Progress,
}

/// Ask about the read models.
#[derive(Debug, Subcommand)]
pub enum Projections {
    /// Names, positions and lag.
    Status,
    /// Replay the log from zero and compare. Exits with 1 if any row differs.
    Verify {
        /// One read model; all of them if none is given.
        #[arg(value_parser = read_model)]
        name: Option<String>,
    },
    /// Streams a read model cannot go on with.
    #[command(subcommand)]
    Parked(Parked),
}

/// Read and check the log.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// The newest events, one a line.
    Tail {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        lines: i64,
        /// Go on as events are stored.
        #[arg(short, long)]
        follow: bool,
    },
    /// Every event of one stream, such as `ord_01J…`.
    Show {
        /// Id of the product, variant (its stock), checkout, order or payment.
        stream: String,
    },
    /// Every event, one JSON object a line, with the stored hash.
    Export {
        /// The only format there is; says so in scripts.
        #[arg(long, required = true)]
        ndjson: bool,
        /// Begin after this position.
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
    /// Counts: events, streams, types, stores.
    Stats {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// The newest commands of a store that were refused, one a line: who, what, why.
    Refusals {
        /// Slug of the store.
        #[arg(long, default_value = DEFAULT_STORE, value_parser = slug)]
        store: String,
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Dense positions, contiguous versions, matching hashes, readable payloads. Exits with 1 if
    /// anything is wrong.
    Check,
}

/// Write data for other programs.
#[derive(Debug, Subcommand)]
pub enum Export {
    /// The star schema of a store: a Parquet file per table, all of one moment.
    Analytics(ExportAnalytics),
}

/// The star schema of a store.
#[derive(Debug, Args)]
pub struct ExportAnalytics {
    /// Folder for the files, made if missing; files of the same names are replaced.
    #[arg(long, value_name = "DIR")]
    pub parquet: PathBuf,

    /// Slug of the store.
    #[arg(long, default_value = DEFAULT_STORE, value_parser = slug)]
    pub store: String,
}

/// Take over data of another system.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// A product catalogue in Shopify's CSV format.
    Products(ImportFile),
    /// An order history with the columns of the Online Retail data set.
    Orders(ImportFile),
}

/// Prepare measurements.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Fill an empty store with the history of a shop: products, stock, two years of orders. The
    /// same every time; goes on where it was cut short.
    Load(BenchLoad),
}

/// What to load.
#[derive(Debug, Args)]
pub struct BenchLoad {
    /// Products, about two variants each.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub products: u32,

    /// Orders, about 15 events each.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    pub orders: u32,

    /// Stop after so many of the orders; the same load without this goes on from there.
    #[arg(long)]
    pub first: Option<u32>,

    /// Another one is another history.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Slug of the store. It must be empty, or have the same load, or part of it.
    #[arg(long, default_value = "bench", value_parser = slug)]
    pub store: String,

    /// Day before which the last order was placed.
    #[arg(long, default_value = "2026-11-01", value_name = "DATE")]
    pub until: chrono::NaiveDate,
}

/// A file to take over.
#[derive(Debug, Args)]
pub struct ImportFile {
    /// The CSV file, in UTF-8.
    pub file: PathBuf,

    /// Slug of the store.
    #[arg(long, default_value = DEFAULT_STORE, value_parser = slug)]
    pub store: String,

    /// ISO 4217 code of the prices.
    #[arg(long, default_value = "GBP")]
    pub currency: String,

    /// Read and check everything, store nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// When to draw a progress bar.
    #[arg(long, value_enum, default_value = "auto")]
    pub progress: Progress,
}

/// When to draw a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// On a terminal.
    Auto,
    /// Never.
    Never,
}

fn permission(text: &str) -> Result<Permission, String> {
    text.parse().map_err(|_| {
        let all: Vec<_> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
        format!("there are: {}", all.join(", "))
    })
}

fn read_model(text: &str) -> Result<String, String> {
    let found = crate::admin::projections::find(text);
    found.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Slugs are part of addresses: lower-case letters, digits and hyphens, at most 63.
fn slug(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len());
    let clean = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits && clean && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(text.to_owned());
    }
    Err("use 1 to 63 lower-case letters, digits and hyphens".to_owned())
}
