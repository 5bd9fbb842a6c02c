//! Requests by schedule or in a closed loop, and the same without HTTP.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use event_store::pool::{self, Role};
use projections::{as_store, order::list};
use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions};

use super::{
    orders,
    samples::{Samples, below, escaped, pick},
    wire::Client,
};
use crate::{
    figures::{Latency, count},
    load::{self, Closed, Random},
};

/// Before each measurement.
const WARM_UP: Duration = Duration::from_secs(2);

/// Connections of what is measured without HTTP: as many as the program has for queries.
const CONNECTIONS: u32 = 12;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Product,
    Listing,
    SearchBroad,
    SearchNarrow,
    SearchTypo,
    Suggest,
    Orders,
    OrdersCounted,
    Sales,
    TopProducts,
    Customers,
    Browse,
}

impl Ask {
    /// The path in the API's document, so that what is not there is not asked for.
    pub(super) fn route(self) -> &'static str {
        match self {
            Ask::Product => "/api/v1/products/{product_id}",
            Ask::Listing | Ask::Browse => "/api/v1/products",
            Ask::SearchBroad | Ask::SearchNarrow | Ask::SearchTypo => "/api/v1/products/search",
            Ask::Suggest => "/api/v1/products/suggest",
            Ask::Orders | Ask::OrdersCounted => "/api/v1/orders",
            Ask::Sales => "/api/v1/analytics/sales",
            Ask::TopProducts => "/api/v1/analytics/products",
            Ask::Customers => "/api/v1/analytics/customers",
        }
    }

    /// The address of a turn: the same in every run.
    pub(super) fn path(self, samples: &Samples, turn: u64) -> String {
        let mut chance = Random(turn.wrapping_mul(0x517C_C1B7));
        let chance = &mut chance;
        let word = |chance: &mut Random| escaped(pick(chance, &samples.words));
        match self {
            Ask::Product => samples.product_path(chance),
            Ask::Listing => "/api/v1/products?limit=20".to_owned(),
            Ask::SearchBroad => {
                let kind = escaped(pick(chance, &samples.kinds));
                match below(chance, 4) {
                    0 => format!("/api/v1/products/search?q={}", word(chance)),
                    1 => {
                        let tag = escaped(pick(chance, &samples.tags));
                        format!("/api/v1/products/search?q=chocolate&filter[tag]={tag}")
                    }
                    2 => format!("/api/v1/products/search?q=chocolate&filter[category]={kind}"),
                    _ => format!("/api/v1/products/search?q=chocolate+{}", word(chance)),
                }
            }
            Ask::SearchNarrow => {
                let words = [word(chance), word(chance), word(chance)];
                format!("/api/v1/products/search?q={}", words.join("+"))
            }
            Ask::SearchTypo => {
                let mut word = pick(chance, &samples.words).to_owned();
                word.pop();
                format!("/api/v1/products/search?q={}e", escaped(&word))
            }
            Ask::Suggest => {
                let word = pick(chance, &samples.words);
                let begun: String = word.chars().take(2 + below(chance, 4)).collect();
                format!("/api/v1/products/suggest?q={}", escaped(&begun))
            }
            Ask::Orders => orders::search(samples, turn).path,
            Ask::OrdersCounted => format!("{}&count=exact", orders::search(samples, turn).path),
            Ask::Sales | Ask::TopProducts | Ask::Customers => self.report(chance),
            Ask::Browse => browse(samples, chance),
        }
    }

    fn report(self, chance: &mut Random) -> String {
        let days = ["2024-11-01", "2025-05-01", "2025-11-01", "2026-05-01", "2026-10-01"];
        let from = days[below(chance, days.len())];
        let range = format!("dateFrom={from}&dateTo=2026-10-31");
        match self {
            Ask::Sales => {
                let granularity = ["day", "week", "month"][below(chance, 3)];
                format!("/api/v1/analytics/sales?{range}&granularity={granularity}")
            }
            Ask::TopProducts => format!("/api/v1/analytics/products?{range}&currency=GBP"),
            _ => format!("/api/v1/analytics/customers?{range}"),
        }
    }

    /// Statements like those behind the answer, on a connection of the same role. None where the
    /// answer does not come from one.
    async fn bare(self, pool: &PgPool, samples: &Samples, turn: u64) -> anyhow::Result<()> {
        let mut tx = as_store(pool, samples.store).await?;
        let mut chance = Random(turn.wrapping_mul(0x517C_C1B7));
        match self {
            Ask::Product => product(&mut tx, samples, samples.product(&mut chance)).await?,
            Ask::Listing => listing(&mut tx, samples).await?,
            Ask::Orders => {
                let orders::Search { filter, sort, .. } = orders::search(samples, turn);
                let first = (sort, &list::OrdersFrom::Start);
                list::list(&mut tx, samples.store, &filter, first, 21).await?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn has_bare(self) -> bool {
        matches!(self, Ask::Product | Ask::Listing | Ask::Orders)
    }
}

async fn product(
    conn: &mut PgConnection,
    samples: &Samples,
    product_id: uuid::Uuid,
) -> anyhow::Result<()> {
    let statements = [
        "SELECT to_jsonb(p)::text FROM catalog_products p WHERE store_id = $1 AND product_id = $2",
        "SELECT to_jsonb(v)::text FROM catalog_variants v WHERE store_id = $1 AND product_id = $2",
    ];
    for statement in statements {
        let rows = sqlx::query_scalar::<_, String>(statement).bind(samples.store.0);
        rows.bind(product_id).fetch_all(&mut *conn).await?;
    }
    Ok(())
}

async fn listing(conn: &mut PgConnection, samples: &Samples) -> anyhow::Result<()> {
    let products = "SELECT product_id FROM catalog_products WHERE store_id = $1
                     ORDER BY created_at DESC, product_id DESC LIMIT 20";
    let products = sqlx::query_scalar::<_, uuid::Uuid>(products).bind(samples.store.0);
    let products = products.fetch_all(&mut *conn).await?;
    let statements = [
        "SELECT to_jsonb(p)::text FROM catalog_products p
          WHERE store_id = $1 AND product_id = ANY ($2)",
        "SELECT to_jsonb(v)::text FROM catalog_variants v
          WHERE store_id = $1 AND product_id = ANY ($2)",
    ];
    for statement in statements {
        let rows = sqlx::query_scalar::<_, String>(statement).bind(samples.store.0);
        rows.bind(&products).fetch_all(&mut *conn).await?;
    }
    Ok(())
}

/// What shoppers do: look at lists, at products, search now and then.
fn browse(samples: &Samples, chance: &mut Random) -> String {
    match below(chance, 20) {
        0..=4 => "/api/v1/products?limit=20".to_owned(),
        5..=6 => "/api/v1/products?filter[status]=active&limit=20".to_owned(),
        7 => {
            let of = samples.handles.len();
            let handle = &samples.handles[below(chance, of).min(below(chance, of))];
            format!("/api/v1/products/by-handle/{}", escaped(handle))
        }
        _ => samples.product_path(chance),
    }
}

/// The program, and what is asked of it.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) samples: Arc<Samples>,
    pool: PgPool,
}

impl Asker {
    pub(super) fn new(client: Client, samples: Arc<Samples>, options: PgConnectOptions) -> Asker {
        let pool = pool::connect_lazy(options, Role::Reader, CONNECTIONS);
        Asker { client, samples, pool }
    }

    /// Requests at `rate` per second. How long they took, and how many were refused.
    pub(super) async fn open(
        &self,
        ask: Ask,
        rate: f64,
        span: Duration,
    ) -> anyhow::Result<(Latency, usize)> {
        let asker = self.clone();
        let act = move |turn| {
            let asker = asker.clone();
            async move { asker.get(ask, turn).await }
        };
        let arrived = load::open(rate, (WARM_UP, span), act).await?;
        Ok((Latency::of(arrived.latencies), arrived.refused))
    }

    /// The statements behind them at the same rate.
    pub(super) async fn bare(
        &self,
        ask: Ask,
        rate: f64,
        span: Duration,
    ) -> anyhow::Result<Latency> {
        let asker = self.clone();
        let act = move |turn| {
            let asker = asker.clone();
            async move { Ok(ask.bare(&asker.pool, &asker.samples, turn).await.is_ok()) }
        };
        Ok(Latency::of(load::open(rate, (WARM_UP, span), act).await?.latencies))
    }

    /// As many as the program answers to `clients` who each wait for their answer, per second.
    pub(super) async fn closed(
        &self,
        ask: Ask,
        clients: usize,
        span: Duration,
    ) -> anyhow::Result<f64> {
        let asker = self.clone();
        let act = move |client: usize, turn: u64| {
            let asker = asker.clone();
            let turn = turn.wrapping_mul(1_009).wrapping_add(client as u64);
            async move { asker.get(ask, turn).await.map(u32::from) }
        };
        let mut load = Closed::start(clients, 1, act);
        let from = load.warm(WARM_UP).await?;
        let through = load.go_on(span).await?;
        let (samples, _) = load.finish().await?;
        let within = samples.iter().filter(|it| from < it.ended && it.ended <= through);
        let answered: u64 = within.map(|sample| u64::from(sample.commands)).sum();
        Ok(count(answered) / through.saturating_sub(from).as_secs_f64())
    }

    /// Whether it was answered as wanted.
    async fn get(&self, ask: Ask, turn: u64) -> anyhow::Result<bool> {
        let path = ask.path(&self.samples, turn);
        let answer = self.client.get(&path).await?;
        let fine = matches!(answer.status, 200 | 503);
        let said = || format!("{path}: {}", String::from_utf8_lossy(&answer.body));
        anyhow::ensure!(fine, "{}: {}", answer.status, said());
        Ok(answer.status == 200)
    }

    /// The slowest searches for orders, one at a time: milliseconds and address.
    pub(super) async fn slowest(&self, turns: u64) -> anyhow::Result<Vec<(f64, String)>> {
        let mut all = Vec::new();
        for turn in 0..turns {
            let began = Instant::now();
            self.get(Ask::Orders, turn).await?;
            all.push((
                crate::figures::millis(began.elapsed()),
                Ask::Orders.path(&self.samples, turn),
            ));
        }
        all.sort_by(|one, other| other.0.total_cmp(&one.0));
        all.truncate(5);
        Ok(all)
    }

    /// Until the program answers what is asked with 200: some fill an index first.
    pub(super) async fn ready(&self, ask: Ask) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.get(ask, 0).await.with_context(|| format!("{ask:?}"))? {
            anyhow::ensure!(began.elapsed() < Duration::from_mins(2), "{ask:?} is never ready");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
