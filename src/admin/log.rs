//! The auditors' first tools: read the log, and check that it is whole.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use event_schemas::{
    ids::{
        ActorId, CartId, CheckoutId, EventId, OrderId, PaymentId, ProductId, StoreId, VariantId,
    },
    upcast,
};
use event_store::{Recorded, check, read};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::terminal::say;

/// Between two looks for new events: a person reads along.
const FOLLOW_POLL: Duration = Duration::from_millis(250);

/// Prints the newest `lines` events; with `follow`, goes on for ever.
pub async fn tail(owner: &PgPool, lines: i64, follow: bool) -> anyhow::Result<()> {
    let mut conn = owner.acquire().await?;
    let mut position = (read::head(&mut conn).await? - lines).max(0);
    loop {
        let events = read::read_after(&mut conn, position, read::WINDOW).await?;
        for event in &events {
            say(&line(event))?;
        }
        match events.last() {
            Some(last) => position = last.position,
            None if follow => tokio::time::sleep(FOLLOW_POLL).await,
            None => return Ok(()),
        }
    }
}

/// Prints every event of one stream, oldest first, with its payload in the current shape.
pub async fn show(owner: &PgPool, stream: &str) -> anyhow::Result<()> {
    let (category, id) = stream_of(stream).with_context(|| {
        format!("`{stream}` is no stream: give a prd_, var_, chk_, ord_, pay_ or adj_ id")
    })?;
    let stores = sqlx::query_scalar!(
        "SELECT store_id FROM log.streams WHERE category = $1 AND stream_id = $2 ORDER BY 1",
        category,
        id
    );
    let stores = stores.fetch_all(owner).await?;
    anyhow::ensure!(!stores.is_empty(), "no stream `{stream}`; `conche log tail` shows some");
    let mut conn = owner.acquire().await?;
    for store in stores {
        let mut version = 0;
        loop {
            let key = (category, id);
            let page = read::read_stream(&mut conn, store, key, version, read::WINDOW).await?;
            for event in &page {
                say(&format!("{}\n{}", line(event), pretty(event)))?;
            }
            let Some(last) = page.last() else { break };
            version = last.version;
        }
    }
    Ok(())
}

/// Prints every event after a position as one JSON object a line, in constant memory.
///
/// `payload` and `metadata` are the stored bytes as text, so that anybody can recompute `leaf_hash`.
pub async fn export(owner: &PgPool, after: i64) -> anyhow::Result<()> {
    let mut conn = owner.acquire().await?;
    let mut position = after;
    loop {
        let events = read::read_after(&mut conn, position, read::WINDOW).await?;
        let Some(last) = events.last() else { return Ok(()) };
        position = last.position;
        for event in &events {
            let row = json!({
                "position": event.position,
                "store_id": StoreId(event.store_id),
                "category": event.category,
                "stream": stream_text(&event.category, event.stream_id),
                "stream_uuid": event.stream_id,
                "version": event.version,
                "type": event.event_type,
                "schema_version": event.schema_version,
                "event_id": EventId(event.event_id),
                "recorded_at": event.recorded_at,
                "payload": String::from_utf8_lossy(&event.payload),
                "metadata": String::from_utf8_lossy(&event.metadata),
                "leaf_hash": hex(&event.leaf_hash),
            });
            say(&row.to_string())?;
        }
    }
}

/// Prints counts of the log, for people or as one JSON object.
pub async fn stats(owner: &PgPool, as_json: bool) -> anyhow::Result<()> {
    let total = sqlx::query!(
        r#"SELECT h.position AS "events!",
                  (SELECT count(*) FROM log.streams) AS "streams!",
                  (SELECT count(*) FROM log.commands) AS "commands!",
                  (SELECT count(DISTINCT store_id) FROM log.streams) AS "stores!"
             FROM log.head h"#
    );
    let total = total.fetch_one(owner).await?;
    let types = sqlx::query!(
        r#"SELECT event_type, count(*) AS "events!" FROM log.events GROUP BY 1 ORDER BY 1"#
    );
    let types = types.fetch_all(owner).await?;
    if as_json {
        let types: serde_json::Map<String, Value> =
            types.into_iter().map(|row| (row.event_type, json!(row.events))).collect();
        let stats = json!({
            "events": total.events,
            "streams": total.streams,
            "commands": total.commands,
            "stores": total.stores,
            "types": types,
        });
        return Ok(say(&stats.to_string())?);
    }
    say(&format!(
        "{} events in {} streams of {} stores, by {} commands",
        total.events, total.streams, total.stores, total.commands
    ))?;
    for row in types {
        say(&format!("{:>10}  {}", row.events, row.event_type))?;
    }
    Ok(())
}

/// Prints the newest `limit` refused commands of a store, oldest first.
pub async fn refusals(owner: &PgPool, store: &str, limit: i64) -> anyhow::Result<()> {
    let newest = sqlx::query!(
        "SELECT id, refused_at, actor_kind, actor_id, operation, code, status, request_id, path
           FROM log.refusals WHERE store_id = $1 ORDER BY id DESC LIMIT $2",
        StoreId::of_slug(store).0,
        limit
    );
    for row in newest.fetch_all(owner).await?.iter().rev() {
        say(&format!(
            "{}  {} {}  {:<26} {} {:<24} {}  request {}",
            row.refused_at.format("%Y-%m-%d %H:%M:%S%.3f"),
            row.actor_kind,
            ActorId(row.actor_id),
            row.operation,
            row.status,
            row.code,
            row.path,
            row.request_id
        ))?;
    }
    Ok(())
}

/// Checks the whole log and reports. Failure if anything is wrong.
pub async fn check(owner: &PgPool) -> anyhow::Result<ExitCode> {
    let report = check::check(owner, &readable, &mut |_, _| {}).await?;
    for finding in &report.findings {
        say(&format!("position {}: {}", finding.position, finding.fault))?;
    }
    if report.findings_total == 0 {
        say(&format!(
            "log is whole: {} events, positions dense, versions contiguous, hashes match, every event reads",
            report.events
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("log is BROKEN: {} findings in {} events", report.findings_total, report.events))?;
    Ok(ExitCode::FAILURE)
}

fn readable(event: &Recorded) -> Result<(), String> {
    upcast::current(&event.category, &event.event_type, event.schema_version, &event.payload)
        .map(drop)
        .map_err(|error| error.to_string())
}

pub(super) fn line(event: &Recorded) -> String {
    format!(
        "{:>9}  {}  {:<26} {} v{}",
        event.position,
        event.recorded_at.format("%Y-%m-%d %H:%M:%S%.3f"),
        event.event_type,
        stream_text(&event.category, event.stream_id),
        event.version
    )
}

pub(super) fn pretty(event: &Recorded) -> String {
    let current =
        upcast::current(&event.category, &event.event_type, event.schema_version, &event.payload);
    let metadata: Value = serde_json::from_slice(&event.metadata).unwrap_or(Value::Null);
    match current {
        Ok(payload) => format!("{payload:#}\n{metadata:#}"),
        Err(error) => format!("UNREADABLE: {error}\n{metadata:#}"),
    }
}

/// Category and UUID of a stream named by one of the ids that people see.
fn stream_of(text: &str) -> Option<(&'static str, Uuid)> {
    let prefix = text.split_once('_')?.0;
    match prefix {
        ProductId::PREFIX => Some(("product", text.parse::<ProductId>().ok()?.0)),
        VariantId::PREFIX => Some(("stock_item", text.parse::<VariantId>().ok()?.0)),
        CartId::PREFIX => Some(("cart", text.parse::<CartId>().ok()?.0)),
        CheckoutId::PREFIX => Some(("checkout", text.parse::<CheckoutId>().ok()?.0)),
        OrderId::PREFIX => Some(("order", text.parse::<OrderId>().ok()?.0)),
        PaymentId::PREFIX => Some(("payment", text.parse::<PaymentId>().ok()?.0)),
        "cpn" => Some(("coupon", text.parse::<event_schemas::ids::CouponId>().ok()?.0)),
        "adj" => {
            let id = text.parse::<event_schemas::ids::AdjustmentId>().ok()?;
            Some(("refund_adjustment", id.0))
        }
        _ => None,
    }
}

/// The id of a stream as people see it.
pub(super) fn stream_text(category: &str, id: Uuid) -> String {
    match category {
        "product" => ProductId(id).to_string(),
        "stock_item" => VariantId(id).to_string(),
        "cart" => CartId(id).to_string(),
        "checkout" => CheckoutId(id).to_string(),
        "order" => OrderId(id).to_string(),
        "payment" => PaymentId(id).to_string(),
        "coupon" => event_schemas::ids::CouponId(id).to_string(),
        "refund_adjustment" => event_schemas::ids::AdjustmentId(id).to_string(),
        other => format!("{other}/{id}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
