//! `conche webhooks`.

use anyhow::Context as _;
use event_store::pool::Role;
use sagas::inbox::{Parked, ParkedEvent};
use serde_json::json;

use crate::{
    config::{ParkedWebhooks, Place},
    database::Database,
    terminal::say,
};

/// Lists, shows or redrives parked events of payment providers.
pub async fn parked(place: &Place, ask: &ParkedWebhooks) -> anyhow::Result<()> {
    let database = Database::open_existing(place).await?;
    let result = async {
        database.require_migrated().await?;
        let pool = database.pool(Role::Process).await?;
        let result = act(&Parked::new(pool.clone()), ask).await;
        // Before the server goes: a connection that loses it complains.
        pool.close().await;
        result
    };
    let result = result.await;
    database.close().await?;
    result
}

async fn act(parked: &Parked, ask: &ParkedWebhooks) -> anyhow::Result<()> {
    match ask {
        ParkedWebhooks::List => {
            for event in parked.list(None).await? {
                let ParkedEvent { event_id, kind, received_at, attempts, note, .. } = event;
                say(&format!("{event_id}  {kind}  {received_at:?}  {attempts} tries  {note}"))?;
            }
        }
        ParkedWebhooks::Show { event } => {
            let found = parked.list(Some(event)).await?;
            anyhow::ensure!(!found.is_empty(), "{event} is not parked");
            for event in found {
                say(&serde_json::to_string_pretty(&shown(&event))?)?;
            }
        }
        ParkedWebhooks::Redrive { event, all } => {
            anyhow::ensure!(event.is_some() != *all, "name an event, or --all");
            #[expect(clippy::disallowed_methods, reason = "people redrive, now")]
            let now = chrono::Utc::now();
            let redriven = parked.redrive(event.as_deref(), now).await.context("redriving")?;
            say(&format!("{redriven} will be tried again"))?;
        }
    }
    Ok(())
}

fn shown(event: &ParkedEvent) -> serde_json::Value {
    json!({
        "store_id": event.store_id,
        "event_id": event.event_id,
        "kind": event.kind,
        "payment_id": event.payment_id,
        "occurred_at": event.occurred_at,
        "received_at": event.received_at,
        "attempts": event.attempts,
        "last_error": event.note,
    })
}
