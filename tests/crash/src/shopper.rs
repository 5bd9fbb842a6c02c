//! What clients do all day: buy, pay, think better of it, count stock, change prices.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, Command, Reply};

/// Products of a store at the start, with one variant each.
const PRODUCTS: usize = 24;

/// Variants that most shoppers want.
const HOT: usize = 2;

/// Units of each variant at the start: some run out, are refilled and run out again.
const UNITS: u32 = 150;

/// Times a client looks whether a checkout has come to rest.
const LOOKS_MAX: u32 = 3;

/// What the clients of a store know of it.
#[derive(Debug, Default)]
pub(crate) struct Range {
    /// Product and variant.
    variants: Mutex<Vec<(String, String)>>,
    /// Checkouts somebody else began, with little time left to pay them.
    offered: Mutex<Vec<String>>,
}

impl Range {
    /// Makes the first products and their stock.
    pub(crate) async fn stock_up(&self, client: &mut Client) -> anyhow::Result<()> {
        for number in 0..PRODUCTS {
            self.add_product(client, number).await?;
        }
        Ok(())
    }

    async fn add_product(&self, client: &mut Client, number: usize) -> anyhow::Result<()> {
        let slug = client.store.slug.clone();
        let new = json!({
            "title": format!("{slug} bar {number}"),
            "variants": [{ "price": { "amount_minor": 450, "currency": "GBP" } }],
        });
        let create = Command::post("/api/v1/products".to_owned(), new);
        let create = create.or_lie("title", json!("another"));
        let made = client.carry_out(&create).await?;
        // Without an answer it stays a draft that nobody sells.
        let Some(made) = made else { return Ok(()) };
        let product = made.id()?.to_owned();
        let variant = made.body["variant_ids"][0].as_str().context("a product has a variant")?;
        let publish = format!("/api/v1/products/{product}/publish");
        client.carry_out(&Command::post(publish, json!({}))).await?;
        client.carry_out(&receive(variant, UNITS)).await?;
        let mut variants = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
        variants.push((product, variant.to_owned()));
        Ok(())
    }

    /// The variants that most shoppers want.
    pub(crate) fn hot(&self) -> Vec<String> {
        let variants = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
        variants.iter().take(HOT).map(|(_, variant)| variant.clone()).collect()
    }

    /// Leaves a checkout to whoever comes first.
    pub(crate) fn offer(&self, checkout: String) {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).push(checkout);
    }

    fn take_offer(&self) -> Option<String> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn pick(&self, client: &mut Client) -> (String, String) {
        let hot = client.chance(60);
        let variants = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
        let among = if hot { HOT.min(variants.len()) } else { variants.len() };
        variants[client.rng.usize(..among)].clone()
    }
}

fn receive(variant: &str, quantity: u32) -> Command {
    let path = format!("/api/v1/stock/{variant}/receive");
    let receive = Command::post(path, json!({ "quantity": quantity }));
    receive.or_lie("quantity", json!(quantity + 1))
}

/// Does one thing after the other, until told to stop. What it has begun it ends.
pub(crate) async fn act(client: &mut Client, range: &Arc<Range>) -> anyhow::Result<()> {
    match client.rng.u8(..100) {
        0..70 => shop(client, range).await,
        70..90 => keep_stock(client, range).await,
        90..97 => set_price(client, range).await,
        _ => {
            let number = client.rng.usize(PRODUCTS..1_000_000);
            range.add_product(client, number).await
        }
    }
}

async fn keep_stock(client: &mut Client, range: &Range) -> anyhow::Result<()> {
    let (_, variant) = range.pick(client);
    let command = if client.chance(50) {
        receive(&variant, client.rng.u32(1..20))
    } else {
        let delta = [-3, -2, -1, 1, 2, 5][client.rng.usize(..6)];
        let body = json!({ "delta": delta, "reason": "counted" });
        let adjust = Command::post(format!("/api/v1/stock/{variant}/adjust"), body);
        adjust.or_lie("delta", json!(delta + 100))
    };
    client.carry_out(&command).await?;
    Ok(())
}

async fn set_price(client: &mut Client, range: &Range) -> anyhow::Result<()> {
    let (product, variant) = range.pick(client);
    let amount = client.rng.u32(100..2_000);
    let command = Command {
        method: Method::PUT,
        path: format!("/api/v1/products/{product}/variants/{variant}/price"),
        body: json!({ "price": { "amount_minor": amount, "currency": "GBP" } }),
        // The price may be that one already.
        lie: None,
    };
    client.carry_out(&command).await?;
    Ok(())
}

/// One visit: a cart, mostly a payment, sometimes regret.
async fn shop(client: &mut Client, range: &Range) -> anyhow::Result<()> {
    let offered = if client.chance(20) { range.take_offer() } else { None };
    let checkout = match offered {
        Some(checkout) => checkout,
        None => match begin(client, range).await? {
            Some(checkout) => checkout,
            None => return Ok(()),
        },
    };
    let order = match client.rng.u8(..100) {
        0..55 => pay(client, &checkout, "sbx_ok").await?,
        55..65 => {
            pay(client, &checkout, "sbx_declined").await?;
            pay(client, &checkout, "sbx_ok").await?
        }
        65..75 => pay_with_action(client, &checkout).await?,
        75..80 => pay(client, &checkout, "sbx_late_success").await?,
        80..83 => pay(client, &checkout, "sbx_late_decline").await?,
        83..88 => pay(client, &checkout, "sbx_capture_fails").await?,
        88..96 => {
            let path = format!("/api/v1/checkouts/{checkout}/abandon");
            client.carry_out(&Command::post(path, json!({}))).await?;
            None
        }
        // Left standing, until its hold ends.
        _ => None,
    };
    match order {
        Some(order) => regret(client, &order).await,
        None => Ok(()),
    }
}

/// A checkout whose stock is held, or will be.
async fn begin(client: &mut Client, range: &Range) -> anyhow::Result<Option<String>> {
    let lines: Vec<Value> = (0..client.rng.usize(1..=3))
        .map(|_| {
            let (_, variant) = range.pick(client);
            json!({ "variant_id": variant, "quantity": client.rng.u32(1..=3) })
        })
        .collect();
    let begin = Command::post("/api/v1/checkouts".to_owned(), json!({ "lines": lines }));
    let begin = begin.or_lie("country", json!("GB"));
    let Some(reply) = client.carry_out(&begin).await? else { return Ok(None) };
    match reply.answer.status {
        201 | 202 => Ok(Some(reply.id()?.to_owned())),
        // Sold out, or a price that is of another moment.
        409 | 422 => Ok(None),
        status => bail!("a checkout began with {status}: {}", reply.body),
    }
}

/// The order, if it came to one.
async fn pay(client: &mut Client, checkout: &str, token: &str) -> anyhow::Result<Option<String>> {
    let reply = complete(client, checkout, token).await?;
    Ok(reply.and_then(|reply| order_of(&reply.body)))
}

async fn complete(
    client: &mut Client,
    checkout: &str,
    token: &str,
) -> anyhow::Result<Option<Reply>> {
    let path = format!("/api/v1/checkouts/{checkout}/complete");
    let body = json!({ "payment_method": token });
    client.carry_out(&Command::post(path, body)).await
}

async fn pay_with_action(client: &mut Client, checkout: &str) -> anyhow::Result<Option<String>> {
    let mut body = match complete(client, checkout, "sbx_three_d_secure").await? {
        Some(reply) => reply.body,
        None => return Ok(None),
    };
    for _ in 0..LOOKS_MAX {
        if body["status"] == "action_required" {
            let answer = if client.chance(80) { "pass" } else { "fail" };
            let path = format!("/api/v1/checkouts/{checkout}/confirm-action");
            let confirm = Command::post(path, json!({ "answer": answer }));
            let reply = client.carry_out(&confirm).await?;
            return Ok(reply.and_then(|reply| order_of(&reply.body)));
        }
        let seen = client.look(&format!("/api/v1/checkouts/{checkout}")).await?;
        body = seen.unwrap_or_default();
    }
    Ok(None)
}

/// Cancels some orders and gives money back for others.
async fn regret(client: &mut Client, order: &str) -> anyhow::Result<()> {
    let command = match client.rng.u8(..100) {
        0..30 => {
            let body = json!({ "reason": "changed their mind" });
            Command::post(format!("/api/v1/orders/{order}/cancel"), body)
        }
        30..60 => {
            let amount = json!({ "amount_minor": client.rng.u32(1..100), "currency": "GBP" });
            let body = json!({ "amount": amount, "reason": "arrived broken" });
            Command::post(format!("/api/v1/orders/{order}/refunds"), body)
        }
        _ => return Ok(()),
    };
    client.carry_out(&command.or_lie("reason", json!("another"))).await?;
    Ok(())
}

fn order_of(checkout: &Value) -> Option<String> {
    checkout["order"]["id"].as_str().map(str::to_owned)
}
