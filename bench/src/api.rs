//! Orders through the API: begin a checkout, pay it, have a captured order.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::{load, new_id, program::Program};

/// Variants that are bought: enough that clients do not all want the same one.
const VARIANTS: usize = 64;
/// Units of each: more than any run buys.
const UNITS: u32 = 1_000_000;

/// Work done in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Calls: orders at the API, appends, or commands.
    pub(crate) calls: f64,
    /// Events stored.
    pub(crate) events: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    pub(crate) fn of(calls: u64, events: u64, seconds: f64) -> Rate {
        Rate { calls: calls as f64 / seconds, events: events as f64 / seconds }
    }
}

/// What a command of the order path looks like in the log, for baselines to repeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    events_per_command: u64,
    payload_bytes: usize,
    metadata_bytes: usize,
}

impl Shape {
    pub(crate) fn events_per_command(self) -> u64 {
        self.events_per_command
    }

    /// A JSON object of the size of a mean payload.
    pub(crate) fn payload(self) -> String {
        json!({ "text": "x".repeat(self.payload_bytes.saturating_sub(11)) }).to_string()
    }

    /// A JSON object of the size of mean metadata.
    pub(crate) fn metadata(self) -> String {
        json!({ "text": "x".repeat(self.metadata_bytes.saturating_sub(11)) }).to_string()
    }
}

/// Orders measured for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Orders and their events.
    pub(crate) orders: Rate,
    /// Commands recorded in the log.
    pub(crate) commands: f64,
    shape: Shape,
}

impl Measured {
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }
}

/// A shop with stock, and a client that knows it.
pub(crate) struct Shop {
    client: Client,
    variants: Vec<String>,
}

impl Shop {
    /// Makes the shop through the API.
    pub(crate) async fn new(program: &Program) -> anyhow::Result<Shop> {
        let client = Client::builder().timeout(Duration::from_secs(30)).build()?;
        let mut shop = Shop { client, variants: Vec::new() };
        for number in 0..VARIANTS {
            let product = json!({
                "title": format!("Benchmark bar {number}"),
                "variants": [{ "price": { "amount_minor": 450, "currency": "GBP" } }],
            });
            let made = shop.post(program, "products", &product).await?;
            let id = made["id"].as_str().context("a product has an id")?;
            let variant = made["variant_ids"][0].as_str().context("a variant has an id")?;
            let stock = json!({ "location": "main", "quantity": UNITS });
            shop.post(program, &format!("stock/{variant}/receive"), &stock).await?;
            shop.post(program, &format!("products/{id}/publish"), &json!({})).await?;
            shop.variants.push(variant.to_owned());
        }
        Ok(shop)
    }

    async fn post(&self, program: &Program, path: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.send(program, path, body).await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    async fn send(&self, program: &Program, path: &str, body: &Value) -> anyhow::Result<Response> {
        let request = self.client.post(format!("{}/api/v1/{path}", program.address()));
        let request = request.bearer_auth(program.token());
        let request = request.header("idempotency-key", new_id().to_string());
        let request = request.header("content-type", "application/json").body(body.to_string());
        Ok(request.send().await?)
    }

    async fn order(&self, program: &Program, client: usize, turn: u64) -> anyhow::Result<()> {
        let turn = usize::try_from(turn)?;
        let variant = &self.variants[(client * 7 + turn) % self.variants.len()];
        let cart = json!({ "lines": [{ "variant_id": variant, "quantity": 1 }] });
        let checkout = self.post(program, "checkouts", &cart).await?;
        let id = checkout["id"].as_str().context("a checkout has an id")?;
        let pay = json!({ "payment": { "card_number": "4242424242424242" } });
        let answer = self.send(program, &format!("checkouts/{id}/complete"), &pay).await?;
        let status = answer.status();
        ensure!(status == StatusCode::OK, "complete: {status}: {}", answer.text().await?);
        Ok(())
    }
}

/// Orders per second with `clients` at once.
pub(crate) async fn measure(
    program: &Program,
    shop: &Shop,
    clients: usize,
    span: Duration,
) -> anyhow::Result<Measured> {
    let before = program.counts().await?;
    let act = |client, turn| shop.order(program, client, turn);
    let (orders, seconds) = load::run(clients, span, act).await?;
    let after = program.counts().await?;
    let events = after.events - before.events;
    let commands = after.commands - before.commands;
    ensure!(commands > 0, "no order was placed");
    let bytes = |after: u64, before: u64| usize::try_from((after - before) / events);
    Ok(Measured {
        orders: Rate::of(orders, events, seconds),
        commands: Rate::of(commands, 0, seconds).calls,
        shape: Shape {
            events_per_command: (events + commands / 2) / commands,
            payload_bytes: bytes(after.payload_bytes, before.payload_bytes)?,
            metadata_bytes: bytes(after.metadata_bytes, before.metadata_bytes)?,
        },
    })
}
