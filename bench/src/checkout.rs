//! Whole checkouts over HTTP, as a front end makes them: a cart with two lines, the hold, address,
//! shipping, quote and payment, until there is a paid order. And the last units of a product, with
//! more buyers than units at the same moment.

use std::{
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    figures::{Latency, count},
    load, new_id,
    program::Program,
};

/// Products that are bought: enough that shoppers seldom want the same one.
const PRODUCTS: usize = 256;

/// Units of each: more than any run buys.
const UNITS: u32 = 1_000_000;

/// Requests of one checkout.
const REQUESTS: f64 = 8.0;

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(3);

/// Measures whole checkouts.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Checkouts that begin in a second, for the latency.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,

    /// Shoppers at once, for the throughput: each begins again when the last order was there.
    #[arg(long, value_delimiter = ',', default_values_t = [8, 32, 64])]
    clients: Vec<usize>,

    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,

    /// Buyers of the last units.
    #[arg(long, default_value_t = 100)]
    buyers: usize,

    /// The last units.
    #[arg(long, default_value_t = 10)]
    units: u32,
}

pub(crate) async fn run(conche: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let program = Program::start(conche).await?;
    let result = measure(&program, arguments).await;
    program.stop()?;
    result
}

async fn measure(program: &Program, arguments: &Arguments) -> anyhow::Result<()> {
    let shop = Shop::open(program.address(), program.token()).await?;
    let span = Duration::from_secs(arguments.seconds);
    let mut out = std::io::stdout();
    writeln!(out, "\n## Whole checkouts: eight requests, two lines, paid at the sandbox\n")?;
    writeln!(out, "| load | checkouts/s | p50 ms | p95 ms | p99 ms | max ms | refused |")?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|")?;
    let of = shop.clone();
    let act = move |turn| {
        let shop = of.clone();
        async move { shop.buy(turn).await.map(|()| true) }
    };
    let arrived = load::open(arguments.rate, (WARM_UP, span), act).await?;
    let refused = arrived.refused;
    let load = format!("{} begin in a second", arguments.rate);
    row(&mut out, &load, arguments.rate, &Latency::of(arrived.latencies), refused)?;
    for &clients in &arguments.clients {
        let of = shop.clone();
        let act = move |client: usize, turn: u64| {
            let shop = of.clone();
            let turn = turn * 131 + client as u64 * 7;
            async move { shop.buy(turn).await.map(|()| 1) }
        };
        let mut closed = load::Closed::start(clients, 1, act);
        let from = closed.warm(WARM_UP).await?;
        let through = closed.go_on(span).await?;
        let (samples, _) = closed.finish().await?;
        let counted = samples.iter().filter(|it| from < it.ended && it.ended <= through);
        let took: Vec<Duration> = counted.map(|sample| sample.took).collect();
        let rate = count(took.len() as u64) / through.saturating_sub(from).as_secs_f64();
        row(&mut out, &format!("{clients} shoppers"), rate, &Latency::of(took), 0)?;
    }
    last_units(&shop, arguments).await
}

fn row(
    out: &mut impl std::io::Write,
    load: &str,
    rate: f64,
    latency: &Latency,
    refused: usize,
) -> anyhow::Result<()> {
    let Latency { p50_ms, p95_ms, p99_ms, max_ms, .. } = latency;
    writeln!(
        out,
        "| {load} | {rate:.0} ({:.0} requests/s) | {p50_ms:.1} | {p95_ms:.1} | {p99_ms:.1} | {max_ms:.1} | {refused} |",
        rate * REQUESTS
    )?;
    Ok(())
}

/// All buyers at the same moment. Fails unless exactly the units are sold.
async fn last_units(shop: &Shop, arguments: &Arguments) -> anyhow::Result<()> {
    let variant = shop.product("The last ones", arguments.units).await?;
    let began = Instant::now();
    let mut buyers = JoinSet::new();
    for _ in 0..arguments.buyers {
        let (shop, variant) = (shop.clone(), variant.clone());
        buyers.spawn(async move {
            let bought = shop.try_buy(&[&variant]).await;
            bought.map(|bought| (bought, began.elapsed()))
        });
    }
    let (mut sold, mut slowest) = (0, Duration::ZERO);
    while let Some(ended) = buyers.join_next().await {
        let (bought, took) = ended??;
        sold += u32::from(bought);
        slowest = slowest.max(took);
    }
    let Arguments { buyers, units, .. } = arguments;
    writeln!(
        std::io::stdout(),
        "\n{buyers} buyers of the last {units} units at once: {sold} orders, all answered in {:.2} s",
        slowest.as_secs_f64()
    )?;
    ensure!(sold == *units, "{sold} of {units} units were sold");
    Ok(())
}

/// A shop that sends and taxes, and clients of it.
#[derive(Clone)]
struct Shop {
    client: Client,
    address: Arc<str>,
    token: Arc<str>,
    variants: Arc<[String]>,
}

impl Shop {
    async fn open(address: &str, token: &str) -> anyhow::Result<Shop> {
        let client = Client::builder().timeout(Duration::from_secs(30)).build()?;
        let (address, token) = (address.into(), token.into());
        let mut shop = Shop { client, address, token, variants: Arc::default() };
        let mut variants = Vec::new();
        for number in 0..PRODUCTS {
            variants.push(shop.product(&format!("Bar {number}"), UNITS).await?);
        }
        shop.variants = variants.into();
        let place = json!([{ "country": "GB" }]);
        let rates = json!([{ "class": "standard", "rate": 200_000 }]);
        let zone = json!({ "code": "uk", "places": place, "rates": rates });
        let tax = json!({ "prices_include_tax": true, "zones": [zone] });
        shop.ask(Method::PUT, "tax-policy", &tax).await?.ok("the tax policy")?;
        let band = json!({ "weight_g_max": 10_000_000, "amount": gbp(395) });
        let method = json!({ "code": "standard", "title": "Standard", "bands": [band] });
        let zone = json!({ "code": "home", "places": place, "methods": [method] });
        let profile = json!({ "zones": [zone] });
        shop.ask(Method::PUT, "shipping-profile", &profile).await?.ok("the shipping profile")?;
        Ok(shop)
    }

    /// Puts a product on sale. Gives its variant.
    async fn product(&self, title: &str, units: u32) -> anyhow::Result<String> {
        let variants = json!([{ "price": gbp(450), "weight_g": 100 }]);
        let product = json!({ "title": title, "variants": variants });
        let made = self.ask(Method::POST, "products", &product).await?.ok("a product")?;
        let id = made["id"].as_str().context("a product has an id")?;
        let variant = made["variant_ids"][0].as_str().context("a variant has an id")?;
        let stock = json!({ "location": "main", "quantity": units });
        let path = format!("stock/{variant}/receive");
        self.ask(Method::POST, &path, &stock).await?.ok("stock")?;
        let path = format!("products/{id}/publish");
        self.ask(Method::POST, &path, &json!({})).await?.ok("publishing")?;
        Ok(variant.to_owned())
    }

    /// Buys two things, which there are enough of.
    async fn buy(&self, turn: u64) -> anyhow::Result<()> {
        let nth = |of: u64| {
            let nth = of % self.variants.len() as u64;
            self.variants[usize::try_from(nth).unwrap_or(0)].as_str()
        };
        let bought = self.try_buy(&[nth(turn * 2), nth(turn * 2 + 1)]).await?;
        ensure!(bought, "there was enough, and it was refused");
        Ok(())
    }

    /// From the empty cart to the paid order; `false` if the stock is gone.
    async fn try_buy(&self, variants: &[&str]) -> anyhow::Result<bool> {
        let (post, put) = (Method::POST, Method::PUT);
        let cart = self.ask(post.clone(), "carts", &json!({})).await?.ok("a cart")?;
        let cart_id = cart["id"].as_str().context("a cart has an id")?;
        for variant in variants {
            let item = json!({ "variant_id": variant, "quantity": 1 });
            self.ask(post.clone(), &format!("carts/{cart_id}/items"), &item)
                .await?
                .ok("an item")?;
        }
        let begun = self.ask(post.clone(), "checkouts", &json!({ "cart_id": cart_id })).await?;
        if begun.is_gone() {
            return Ok(false);
        }
        let begun = begun.ok("a checkout")?;
        let checkout = format!("checkouts/{}", begun["id"].as_str().context("it has an id")?);
        let address = json!({
            "name": "Ada Example", "email": "ada@example.com", "line1": "1 Bean Street",
            "city": "London", "postcode": "N1 1AA", "country": "GB"
        });
        self.ask(put.clone(), &format!("{checkout}/address"), &address).await?.ok("the address")?;
        let option = json!({ "option": "standard" });
        self.ask(put, &format!("{checkout}/shipping"), &option).await?.ok("the shipping")?;
        let quoted = self.ask(post.clone(), &format!("{checkout}/quote"), &json!({})).await?;
        let total = quoted.ok("the quote")?["quote"]["total"].clone();
        let payment = json!({ "card_number": "4242424242424242" });
        let pay = json!({ "payment": payment, "expected_total": total });
        let paid = self.ask(post, &format!("{checkout}/complete"), &pay).await?;
        let status = paid.ok("the payment")?["status"].clone();
        ensure!(status == "completed", "the checkout is {status}");
        Ok(true)
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let request = self.client.request(method, format!("{}/api/v1/{path}", self.address));
        let request = request.bearer_auth(&self.token).header("if-match", "*");
        let request = request.header("idempotency-key", new_id().to_string());
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }
}

fn gbp(minor: i64) -> Value {
    json!({ "amount_minor": minor, "currency": "GBP" })
}

struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    fn ok(self, what: &str) -> anyhow::Result<Value> {
        ensure!(self.status.is_success(), "{what}: {}: {}", self.status, self.body);
        Ok(self.body)
    }

    fn is_gone(&self) -> bool {
        self.status == StatusCode::CONFLICT && self.body["code"] == "insufficient_stock"
    }
}
