//! A sale over HTTP: buyers who arrive by schedule, whatever becomes of those before them, and who
//! come again when they are told to. Also a story of `tests/it`, at a smaller size.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};

/// Products that are bought at the same time by others.
const OTHERS: usize = 16;
/// Units of each of those: more than any sale takes.
const PLENTY: u32 = 1_000_000;
/// Nobody waits longer than this, however often they are told to come again.
const GIVE_UP: Duration = Duration::from_mins(2);
/// Times that a wait is doubled: to 8 s, if it began with one.
const DOUBLED_MAX: u32 = 3;
/// Before a buyer asks again who was told "not yet".
const NOT_YET: Duration = Duration::from_millis(50);
/// Of those who hold a unit, one in so many pays.
const ONE_PAYS_OF: usize = 2;
/// Between two looks of the others at whether the sale is over.
const TURN: Duration = Duration::from_millis(200);

/// How large it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) buyers: usize,
    /// Units there are.
    pub(crate) units: u32,
    /// Buyers who arrive in a second.
    pub(crate) rate: f64,
    /// Buyers of other products who arrive in a second, before and during the sale.
    pub(crate) others_rate: f64,
    /// How long the others are alone before.
    pub(crate) quiet: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Sale {
    /// The variant that was sold.
    pub(crate) variant: String,
    /// Of the others, from arrival to hold, before the sale and during it.
    pub(crate) quiet: Vec<Duration>,
    pub(crate) during: Vec<Duration>,
    pub(crate) buyers: Vec<Bought>,
    /// From the first arrival to the last answer.
    pub(crate) took: Duration,
}

/// What came of one buyer.
#[derive(Debug)]
pub(crate) struct Bought {
    pub(crate) ended: Ended,
    /// From the arrival to the answer that ended it, and to the first answer of all.
    pub(crate) took: Duration,
    pub(crate) first: Duration,
    /// How often there was no place, and how long the longest of those answers took.
    pub(crate) shed: u32,
    pub(crate) shed_took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Held,
    Paid,
    SoldOut,
}

/// Where it is sold.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    client: Client,
    address: Arc<str>,
    token: Arc<str>,
}

impl Shop {
    /// `address` is such as `http://127.0.0.1:8080`; `token` may do everything.
    pub(crate) fn new(address: &str, token: &str) -> anyhow::Result<Shop> {
        let client = Client::builder().timeout(GIVE_UP).build()?;
        Ok(Shop { client, address: address.into(), token: token.into() })
    }

    /// A published product; its variant.
    async fn product(&self, title: &str, units: u32) -> anyhow::Result<String> {
        let product = json!({
            "title": title,
            "variants": [{ "price": { "amount_minor": 450, "currency": "GBP" } }],
        });
        let made = self.done("products", title, &product).await?;
        let id = made["id"].as_str().context("a product has an id")?;
        let variant = made["variant_ids"][0].as_str().context("a variant has an id")?;
        let stock = json!({ "quantity": units });
        self.done(&format!("stock/{variant}/receive"), title, &stock).await?;
        self.done(&format!("products/{id}/publish"), title, &json!({})).await?;
        Ok(variant.to_owned())
    }

    async fn done(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.send(path, &key.replace(' ', "-"), body).await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    async fn send(&self, path: &str, key: &str, body: &Value) -> reqwest::Result<Response> {
        let request = self.client.post(format!("{}/api/v1/{path}", self.address));
        let request = request.bearer_auth(&self.token).header("idempotency-key", key);
        request.header("content-type", "application/json").body(body.to_string()).send().await
    }

    /// Sends until it is neither "no place" nor "not yet", as a decent client does: not before
    /// `Retry-After`, twice as late each time, and not all at the same moment.
    async fn answered(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
        let began = Instant::now();
        let mut answer = Answer::default();
        loop {
            ensure!(began.elapsed() < GIVE_UP, "{path}: {key} waits for ever");
            let sent = Instant::now();
            let response = self.send(path, key, body).await?;
            let status = response.status().as_u16();
            let wait = response.headers().get("retry-after").map(|it| it.to_str().map(str::parse));
            let text = response.text().await?;
            if answer.first.is_zero() {
                answer.first = began.elapsed();
            }
            match status {
                202 => sleep(NOT_YET).await,
                503 => {
                    let seconds: u64 = wait.context("503 without Retry-After")???;
                    answer.shed += 1;
                    answer.shed_took = answer.shed_took.max(sent.elapsed());
                    let wait = Duration::from_secs(seconds << (answer.shed - 1).min(DOUBLED_MAX));
                    sleep(wait + wait.mul_f64(chance(key, answer.shed))).await;
                }
                _ => {
                    answer.status = status;
                    answer.body = serde_json::from_str(&text)?;
                    return Ok(answer);
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Answer {
    status: u16,
    body: Value,
    first: Duration,
    shed: u32,
    shed_took: Duration,
}

/// From 0 to 1, another for each client and try.
fn chance(key: &str, tries: u32) -> f64 {
    let mix = |sum: u32, byte: u8| (sum ^ u32::from(byte)).wrapping_mul(16_777_619);
    f64::from(key.bytes().fold(tries, mix)) / f64::from(u32::MAX)
}

/// Sells, and gives what everybody was answered.
pub(crate) async fn run(shop: &Shop, plan: Plan) -> anyhow::Result<Sale> {
    let mut others = Vec::new();
    for number in 0..OTHERS {
        others.push(shop.product(&format!("Other bar {number}"), PLENTY).await?);
    }
    let others: Arc<[String]> = others.into();
    let variant = shop.product("Sale bar", plan.units).await?;
    let over = Arc::new(AtomicBool::new(false));
    let other = |when: &'static str| {
        let (shop, others) = (shop.clone(), others.clone());
        move |n: usize, due: Instant| {
            let (shop, variant) = (shop.clone(), others[n % others.len()].clone());
            async move {
                let (key, cart) = (format!("{when}-{n}"), cart(&variant));
                let answer = shop.answered("checkouts", &key, &cart).await?;
                ensure!(answer.status == 201, "another product: {}", answer.body);
                Ok(due.elapsed())
            }
        }
    };
    let began = Instant::now();
    let quiet = offer(plan.others_rate, |_| began.elapsed() < plan.quiet, other("quiet")).await?;
    let began = Instant::now();
    let during = offer(plan.others_rate, |_| !over.load(Relaxed), other("during"));
    let buyers = async {
        let buyer = |n, due| buy(shop.clone(), variant.clone(), n, due);
        let bought = offer(plan.rate, |n| n < plan.buyers, buyer).await;
        over.store(true, Relaxed);
        bought
    };
    let (during, buyers) = tokio::try_join!(during, buyers)?;
    Ok(Sale { variant, quiet, during, buyers, took: began.elapsed() })
}

fn cart(variant: &str) -> Value {
    json!({ "lines": [{ "variant_id": variant, "quantity": 1 }] })
}

async fn buy(shop: Shop, variant: String, n: usize, due: Instant) -> anyhow::Result<Bought> {
    let late = due.elapsed();
    let begun = shop.answered("checkouts", &format!("buyer-{n}"), &cart(&variant)).await?;
    let bought = |ended| Bought {
        ended,
        took: due.elapsed(),
        first: late + begun.first,
        shed: begun.shed,
        shed_took: begun.shed_took,
    };
    match (begun.status, begun.body["code"].as_str()) {
        (201, _) => {}
        (409, Some("insufficient_stock")) => return Ok(bought(Ended::SoldOut)),
        _ => bail!("buyer {n} was answered {}: {}", begun.status, begun.body),
    }
    let held = bought(Ended::Held);
    if !n.is_multiple_of(ONE_PAYS_OF) {
        return Ok(held);
    }
    let id = begun.body["id"].as_str().context("a checkout has an id")?;
    let card = json!({ "payment": { "card_number": "4242424242424242" } });
    let path = format!("checkouts/{id}/complete");
    let paid = shop.answered(&path, &format!("payment-{n}"), &card).await?;
    ensure!(paid.status == 200, "the payment of buyer {n}: {}", paid.body);
    Ok(Bought { ended: Ended::Paid, ..held })
}

/// Has `act(n, due)` begin at its time, `rate` times a second, while `goes_on(n)`, and waits for
/// all of them.
async fn offer<T: Send + 'static, F>(
    rate: f64,
    goes_on: impl Fn(usize) -> bool,
    act: impl Fn(usize, Instant) -> F,
) -> anyhow::Result<Vec<T>>
where
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let gap = Duration::from_secs_f64(1.0 / rate);
    let (mut tasks, mut ended) = (JoinSet::new(), Vec::new());
    let mut due = Instant::now();
    let mut n = 0;
    while goes_on(n) {
        if Instant::now() < due {
            sleep_until(due.min(Instant::now() + TURN).into()).await;
            continue;
        }
        tasks.spawn(act(n, due));
        n += 1;
        due += gap;
        while let Some(done) = tasks.try_join_next() {
            ended.push(done??);
        }
    }
    while let Some(done) = tasks.join_next().await {
        ended.push(done??);
    }
    Ok(ended)
}

impl Sale {
    pub(crate) fn count(&self, ended: Ended) -> usize {
        self.buyers.iter().filter(|buyer| buyer.ended == ended).count()
    }

    /// Fails unless exactly the units that there were are sold, by the answers and by the log.
    pub(crate) async fn check(&self, plan: Plan, log: &mut PgConnection) -> anyhow::Result<()> {
        let units = usize::try_from(plan.units)?;
        let (held, paid) = (self.count(Ended::Held), self.count(Ended::Paid));
        ensure!(self.buyers.len() == plan.buyers, "{} buyers answered", self.buyers.len());
        ensure!(held + paid == units.min(plan.buyers), "{held} held and {paid} paid of {units}");
        let reserved = "SELECT count(*) FROM log.events WHERE event_type = 'StockReserved'";
        let reserved: i64 = sqlx::query_scalar(reserved).fetch_one(&mut *log).await?;
        let placed = "SELECT count(*) FROM log.events WHERE event_type = 'OrderPlaced'";
        let placed: i64 = sqlx::query_scalar(placed).fetch_one(&mut *log).await?;
        let others = self.quiet.len() + self.during.len();
        ensure!(usize::try_from(reserved)? == held + paid + others, "{reserved} holds in the log");
        ensure!(usize::try_from(placed)? == paid, "{placed} orders for {paid} payments");
        let oversold: i64 = sqlx::query_scalar(OVERSOLD).fetch_one(log).await?;
        ensure!(oversold == 0, "oversold after {oversold} events");
        Ok(())
    }
}

/// INV-1: events after which more was held and ordered than there was.
const OVERSOLD: &str = "
    WITH stock AS (
        SELECT e.store_id, e.stream_id, e.version,
               CASE e.event_type
               WHEN 'StockReceived' THEN (e.payload ->> 'quantity')::bigint
               WHEN 'StockAdjusted' THEN (e.payload ->> 'delta')::bigint
               WHEN 'StockReserved' THEN -parts.units
               WHEN 'StockReservationReleased' THEN parts.units
               WHEN 'StockDeallocated' THEN parts.units
               -- The hold becomes the order's.
               WHEN 'StockAllocated' THEN 0
               ELSE 0 END AS delta
          FROM log.events_json e
         CROSS JOIN LATERAL (
               SELECT sum((part ->> 'quantity')::bigint) AS units
                 FROM jsonb_array_elements(e.payload -> 'parts') part) parts
         WHERE e.category = 'stock_item')
    SELECT count(*) FROM (
        SELECT sum(delta) OVER (PARTITION BY store_id, stream_id ORDER BY version) AS available
          FROM stock) levels
     WHERE available < 0";
