//! A log to append to, and the read models to look at.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Days, Utc};
use event_schemas::{
    ids::{
        ActorId, CheckoutId, CommandId, LineId, OrderId, PaymentId, ProductId, StoreId, VariantId,
    },
    inventory::LocationQuantity,
    metadata::{Actor, ActorKind, Metadata},
    money::{Currency, Money},
    order::{Channel, Charge, ChargeKind, OrderLine, OrderPlaced},
};
use event_store::{Engine, NewEvent, Recorded, StreamKey, Unit};
use projections::{Projection, ProjectionError, analytics, catalog, order, payment as ledger};
use serde::Serialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{db::Db, random::Random};

pub(crate) const STORE: StoreId = StoreId(Uuid::from_u128(0xA));
pub(crate) const OTHER_STORE: StoreId = StoreId(Uuid::from_u128(0xB));

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Ids of events and commands; 1, 2, 3, …
pub(crate) fn new_id() -> Uuid {
    Uuid::from_u128(u128::from(NEXT_ID.fetch_add(1, Ordering::Relaxed)))
}

/// Noon of a day in December 2010, from 0.
pub(crate) fn day(nth: u64) -> DateTime<Utc> {
    let first: DateTime<Utc> = "2010-12-01T12:00:00Z".parse().unwrap();
    first.checked_add_days(Days::new(nth)).unwrap()
}

pub(crate) fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

pub(crate) fn units(location: &str, quantity: u32) -> LocationQuantity {
    LocationQuantity { location: location.to_owned(), quantity }
}

/// A stream: its category and id.
pub(crate) type Stream = (&'static str, Uuid);

pub(crate) struct Shop {
    pub(crate) db: Db,
    pub(crate) engine: Engine,
    versions: Mutex<HashMap<(StoreId, Stream), i64>>,
    /// One event in so many is of a version that only [`next`] knows.
    unknown: Mutex<Option<(Random, u64)>>,
}

/// A version of every event that this program does not know yet.
const UNKNOWN_VERSION: i16 = 9;

/// The projection as the next release has it: it knows the events that this one does not.
pub(crate) fn next(projection: &'static Projection) -> &'static Projection {
    let of = |name| NEXT.iter().find(|next: &&Projection| next.name == name);
    of(projection.name).expect("every projection stands below")
}

static NEXT: [Projection; 4] = [
    Projection {
        apply: |conn, batch| Box::pin(apply_known(&catalog::PROJECTION, conn, batch)),
        ..catalog::PROJECTION
    },
    Projection {
        apply: |conn, batch| Box::pin(apply_known(&order::PROJECTION, conn, batch)),
        ..order::PROJECTION
    },
    Projection {
        apply: |conn, batch| Box::pin(apply_known(&analytics::PROJECTION, conn, batch)),
        ..analytics::PROJECTION
    },
    Projection {
        apply: |conn, batch| Box::pin(apply_known(&ledger::PROJECTION, conn, batch)),
        ..ledger::PROJECTION
    },
];

async fn apply_known(
    of: &'static Projection,
    conn: &mut PgConnection,
    batch: &[Recorded],
) -> Result<(), ProjectionError> {
    let mut batch = batch.to_vec();
    for recorded in &mut batch {
        if i16::try_from(recorded.schema_version) == Ok(UNKNOWN_VERSION) {
            recorded.schema_version = 1;
        }
    }
    (of.apply)(conn, &batch).await
}

impl Shop {
    pub(crate) async fn new() -> Shop {
        Shop::on(Db::new().await)
    }

    pub(crate) fn on(db: Db) -> Shop {
        let engine = Engine::new(db.writer.clone(), new_id);
        Shop { db, engine, versions: Mutex::default(), unknown: Mutex::default() }
    }

    /// From now on one event in `many` is of a version that only [`next`] knows.
    pub(crate) async fn plant_unknown(&self, seed: u64, many: u64) {
        *self.unknown.lock().await = Some((Random(seed), many));
    }

    /// Appends events to a stream of a store; returns the position of the last.
    pub(crate) async fn append<E: Serialize>(
        &self,
        store_id: StoreId,
        stream: Stream,
        events: &[E],
    ) -> i64 {
        let mut unknown = self.unknown.lock().await;
        let events = events.iter().map(|event| {
            let plant = |(random, many): &mut (Random, u64)| random.below(*many) == 0;
            if unknown.as_mut().is_some_and(plant) {
                unknown_event(event)
            } else {
                new_event(event)
            }
        });
        let events = events.collect();
        drop(unknown);
        self.append_raw(store_id, stream, events).await
    }

    pub(crate) async fn append_raw(
        &self,
        store_id: StoreId,
        stream: Stream,
        events: Vec<NewEvent>,
    ) -> i64 {
        let mut versions = self.versions.lock().await;
        let version = versions.entry((store_id, stream)).or_default();
        let command_id = new_id();
        let metadata = Metadata {
            actor: Actor { kind: ActorKind::User, id: ActorId(Uuid::from_u128(0xAC)) },
            command_id: CommandId(command_id),
            correlation_id: "test".to_owned(),
            occurred_at: day(0),
            request_id: None,
        };
        let unit = Unit {
            stream: StreamKey { store_id: store_id.0, category: stream.0, id: stream.1 },
            expected: *version,
            command_id,
            fingerprint: [0; 32],
            metadata: serde_json::to_vec(&metadata).unwrap(),
            keys: vec![],
            events,
        };
        let done = self.engine.append(vec![unit]).await.unwrap();
        *version = done[0].version;
        done[0].position
    }

    /// Brings every projection up to date.
    pub(crate) async fn project(&self) {
        for projection in projections::ALL {
            while projections::catch_up(&self.db.projector, projection).await.unwrap() > 0 {}
        }
    }

    /// Every row of every table of a projection, in an order that depends on the rows only.
    pub(crate) async fn dump(&self, projection: &Projection) -> Vec<(&'static str, Value)> {
        let mut tables = Vec::new();
        for table in projection.tables {
            let sql = format!(
                "SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)::text), '[]')
                   FROM read.{table} t"
            );
            let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.db.owner).await;
            tables.push((*table, rows.unwrap()));
        }
        tables
    }

    /// Forgets what a projection has done.
    pub(crate) async fn forget(&self, projection: &Projection) {
        let tables: Vec<_> = projection.tables.iter().map(|t| format!("read.{t}")).collect();
        let sql = format!("TRUNCATE {}", tables.join(", "));
        sqlx::query(AssertSqlSafe(sql)).execute(&self.db.owner).await.unwrap();
        sqlx::query("DELETE FROM log.checkpoints WHERE name = $1")
            .bind(projection.name)
            .execute(&self.db.owner)
            .await
            .unwrap();
    }
}

pub(crate) fn new_event<E: Serialize>(event: &E) -> NewEvent {
    let payload = serde_json::to_value(event).unwrap();
    NewEvent {
        event_id: new_id(),
        event_type: payload["type"].as_str().unwrap().to_owned(),
        schema_version: 1,
        payload: payload.to_string().into_bytes(),
    }
}

/// Of a version that only [`next`] knows.
pub(crate) fn unknown_event<E: Serialize>(event: &E) -> NewEvent {
    NewEvent { schema_version: UNKNOWN_VERSION, ..new_event(event) }
}

/// Number `n` of each kind of thing.
pub(crate) fn product(n: u128) -> ProductId {
    ProductId(Uuid::from_u128(0x1000 + n))
}

pub(crate) fn variant(n: u128) -> VariantId {
    VariantId(Uuid::from_u128(0x2000 + n))
}

pub(crate) fn order(n: u128) -> OrderId {
    OrderId(Uuid::from_u128(0x3000 + n))
}

pub(crate) fn checkout(n: u128) -> CheckoutId {
    CheckoutId(Uuid::from_u128(0x4000 + n))
}

pub(crate) fn payment(n: u128) -> PaymentId {
    PaymentId(Uuid::from_u128(0x5000 + n))
}

/// Two bars at 2.50, one box at 10.00, postage 3.00 and a discount of 1.00: 17.00 GBP.
pub(crate) fn placed(n: u128, at: DateTime<Utc>) -> OrderPlaced {
    let line = |nth: u128, sku: &str, quantity, unit_price| OrderLine {
        line_id: LineId(Uuid::from_u128(0x6000 + n * 10 + nth)),
        product_id: product(nth),
        variant_id: variant(nth),
        sku: Some(sku.to_owned()),
        title: format!("Thing {nth}"),
        quantity,
        unit_price: gbp(unit_price),
    };
    let charge = |kind, code: &str, amount| Charge {
        kind,
        code: code.to_owned(),
        title: code.to_owned(),
        amount: gbp(amount),
    };
    OrderPlaced {
        number: format!("{}", 536_000 + n),
        checkout_id: checkout(n),
        payment_id: payment(n),
        lines: vec![line(1, "BAR-70", 2, 250), line(2, "BOX-12", 1, 1000)],
        charges: vec![
            charge(ChargeKind::Postage, "POST", 300),
            charge(ChargeKind::Discount, "D", -100),
        ],
        total: gbp(1700),
        customer_reference: Some(format!("1785{n}")),
        country: Some("United Kingdom".to_owned()),
        channel: Channel::Import,
        pricing: None,
        ship_to: None,
        at,
    }
}
