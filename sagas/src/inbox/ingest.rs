//! Storing deliveries: what has gathered while the last statement ran is the next one.

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::{Delivery, STRIPE};

/// Deliveries of one statement. Together with what waits, a burst of thousands is some ten commits.
const BATCH_MAX: usize = 500;

/// Stores what an [`Inbox`](super::Inbox) takes.
#[derive(Debug)]
pub struct Ingest {
    deliveries: mpsc::Receiver<(Delivery, oneshot::Sender<bool>)>,
}

impl Ingest {
    pub(super) fn new(deliveries: mpsc::Receiver<(Delivery, oneshot::Sender<bool>)>) -> Ingest {
        Ingest { deliveries }
    }

    /// Runs until every inbox is gone and what they took is stored. `pool` must be one whose
    /// commits wait for the disk.
    pub async fn run(mut self, pool: PgPool) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while 0 < self.deliveries.recv_many(&mut batch, BATCH_MAX).await {
            let (deliveries, senders): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
            let stored = insert(&pool, &deliveries, Source::Webhook).await;
            if let Err(error) = &stored {
                error!(error = error as &dyn std::error::Error, "cannot store deliveries");
            }
            for sender in senders {
                // Whoever hung up will send it again.
                let _ = sender.send(stored.is_ok());
            }
        }
    }
}

/// How we heard of an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Webhook,
    List,
}

/// Stores deliveries that are not known yet; returns how many were not.
pub(super) async fn insert(
    pool: &PgPool,
    deliveries: &[Delivery],
    source: Source,
) -> Result<u64, sqlx::Error> {
    let column = |value: fn(&Delivery) -> uuid::Uuid| deliveries.iter().map(value).collect();
    let stores: Vec<_> = column(|delivery| delivery.store_id.0);
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.event_id.clone()).collect();
    let kinds: Vec<_> = deliveries.iter().map(|delivery| delivery.kind.clone()).collect();
    let payments: Vec<_> =
        deliveries.iter().map(|delivery| delivery.payment_id.map(|id| id.0)).collect();
    let occurred: Vec<_> = deliveries.iter().map(|delivery| delivery.occurred_at).collect();
    let received: Vec<_> = deliveries.iter().map(|delivery| delivery.received_at).collect();
    let source = match source {
        Source::Webhook => "webhook",
        Source::List => "list",
    };
    let inserted = sqlx::query!(
        "INSERT INTO process.inbox (store_id, provider, event_id, kind, payment_id, source,
                                    occurred_at, received_at, due_at, state, note, settled_at)
         SELECT d.store_id, $1, d.event_id, d.kind, d.payment_id, $2,
                d.occurred_at, d.received_at, d.received_at,
                CASE WHEN d.payment_id IS NULL THEN 'ignored' ELSE 'waiting' END,
                CASE WHEN d.payment_id IS NULL THEN 'no_payment_of_ours' END,
                CASE WHEN d.payment_id IS NULL THEN d.received_at END
           FROM unnest($3::uuid[], $4::text[], $5::text[], $6::uuid[],
                       $7::timestamptz[], $8::timestamptz[])
                AS d (store_id, event_id, kind, payment_id, occurred_at, received_at)
             ON CONFLICT DO NOTHING",
        STRIPE,
        source,
        &stores,
        &ids,
        &kinds,
        &payments as &[Option<uuid::Uuid>],
        &occurred,
        &received
    )
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected())
}
