//! A shop with stock, and a client that buys there over HTTP.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::{new_id, program::Program};

/// Variants that are bought: enough that clients do not all want the same one.
const VARIANTS: usize = 64;
/// Units of each: more than any run buys.
const UNITS: u32 = 1_000_000;

/// A shop, and where it is found.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    client: Client,
    address: Arc<str>,
    token: Arc<str>,
    variants: Arc<[String]>,
}

impl Shop {
    /// Makes the shop through the API.
    pub(crate) async fn new(program: &Program) -> anyhow::Result<Shop> {
        Shop::at(program.address(), program.token()).await
    }

    /// The same, with a token of another store.
    pub(crate) async fn at(address: &str, token: &str) -> anyhow::Result<Shop> {
        let client = Client::builder().timeout(Duration::from_secs(30)).build()?;
        let (address, token) = (address.into(), token.into());
        let shop = Shop { client, address, token, variants: Arc::default() };
        let mut variants = Vec::new();
        for number in 0..VARIANTS {
            let product = json!({
                "title": format!("Benchmark bar {number}"),
                "variants": [{ "price": { "amount_minor": 450, "currency": "GBP" } }],
            });
            let made = shop.post("products", &product).await?;
            let id = made["id"].as_str().context("a product has an id")?;
            let variant = made["variant_ids"][0].as_str().context("a variant has an id")?;
            let stock = json!({ "location": "main", "quantity": UNITS });
            shop.post(&format!("stock/{variant}/receive"), &stock).await?;
            shop.post(&format!("products/{id}/publish"), &json!({})).await?;
            variants.push(variant.to_owned());
        }
        Ok(Shop { variants: variants.into(), ..shop })
    }

    /// The same shop after a restart of the program.
    pub(crate) fn moved(self, program: &Program) -> Shop {
        Shop { address: program.address().into(), ..self }
    }

    /// What a client buys on a turn. Neighbours buy different things.
    pub(crate) fn variant(&self, client: usize, turn: u64) -> &str {
        let turn = usize::try_from(turn).unwrap_or(0);
        &self.variants[(client * 7 + turn) % self.variants.len()]
    }

    /// Begins a checkout: its stock is held when this returns. Gives the checkout.
    pub(crate) async fn begin(&self, client: usize, turn: u64) -> anyhow::Result<Value> {
        let variant = self.variant(client, turn);
        let cart = json!({ "lines": [{ "variant_id": variant, "quantity": 1 }] });
        self.post("checkouts", &cart).await
    }

    /// Begins a checkout and pays it with the sandbox's good card: there is a captured order.
    pub(crate) async fn order(&self, client: usize, turn: u64) -> anyhow::Result<()> {
        let checkout = self.begin(client, turn).await?;
        let id = checkout["id"].as_str().context("a checkout has an id")?;
        let pay = json!({ "payment": { "card_number": "4242424242424242" } });
        let answer = self.send(&format!("checkouts/{id}/complete"), &pay).await?;
        let status = answer.status();
        ensure!(status == StatusCode::OK, "complete: {status}: {}", answer.text().await?);
        Ok(())
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.send(path, body).await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    async fn send(&self, path: &str, body: &Value) -> anyhow::Result<Response> {
        let request = self.client.post(format!("{}/api/v1/{path}", self.address));
        let request = request.bearer_auth(&self.token);
        let request = request.header("idempotency-key", new_id().to_string());
        let request = request.header("content-type", "application/json").body(body.to_string());
        Ok(request.send().await?)
    }
}
