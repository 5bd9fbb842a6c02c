//! Commands' events as the engine stores them.

use chrono::{DateTime, Utc};
use commands::Intent;
use cqrs_es::{Aggregate, DomainEvent};
use event_schemas::{
    ids::{ActorId, VariantId},
    inventory::StockItemEvent,
    metadata::{Actor, ActorKind, Metadata},
};
use event_store::{Kind, NewEvent, StreamKey, Unit};
use uuid::Uuid;

use super::{Plan, stock::Stock};

/// Who acts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    Importer,
    Shopper,
    Process,
}

/// A stream and what is known of it.
pub(super) struct Stream<A> {
    id: Uuid,
    version: i64,
    pub(super) state: A,
}

impl<A: Aggregate> Stream<A> {
    /// One that is not there yet.
    pub(super) fn new(id: Uuid) -> Stream<A> {
        Stream { id, version: 0, state: A::default() }
    }
}

/// Everything that belongs together: a product, or a checkout with its order.
pub(super) struct Journey<'a> {
    plan: &'a Plan,
    correlation_id: String,
    pub(super) units: Vec<Unit>,
}

impl<'a> Journey<'a> {
    pub(super) fn new(plan: &'a Plan, correlation_id: String) -> Journey<'a> {
        Journey { plan, correlation_id, units: Vec::new() }
    }

    /// What one command made of a stream; adds nothing if it made nothing.
    pub(super) fn add<A: Aggregate>(
        &mut self,
        kind: &Kind<A>,
        stream: &mut Stream<A>,
        events: Vec<A::Event>,
        by: (Who, DateTime<Utc>),
    ) -> anyhow::Result<()> {
        anyhow::ensure!(!events.is_empty(), "a step of a {} changes nothing", A::TYPE);
        let keys = events.iter().flat_map(kind.keys).collect();
        let encoded = self.encoded(&events)?;
        let expected = stream.version;
        stream.version += i64::try_from(events.len())?;
        for event in events {
            stream.state.apply(event);
        }
        self.push((A::TYPE, stream.id, expected), encoded, by, keys)
    }

    /// One event of the stock of a variant, whose state nobody keeps.
    pub(super) fn stock(
        &mut self,
        variant_id: VariantId,
        stock: &mut Stock,
        event: StockItemEvent,
        by: (Who, DateTime<Utc>),
    ) -> anyhow::Result<()> {
        let encoded = self.encoded(&[event])?;
        let expected = i64::from(stock.version);
        stock.version += 1;
        let category = domain::inventory::StockItem::TYPE;
        self.push((category, variant_id.0, expected), encoded, by, Vec::new())
    }

    fn encoded<E: DomainEvent>(&self, events: &[E]) -> anyhow::Result<Vec<NewEvent>> {
        let encode = |event: &E| {
            Ok(NewEvent {
                event_id: self.plan.next_event_id(),
                event_type: event.event_type(),
                schema_version: event.event_version().parse()?,
                payload: serde_json::to_vec(event)?,
            })
        };
        events.iter().map(encode).collect()
    }

    fn push(
        &mut self,
        (category, id, expected): (&'static str, Uuid, i64),
        events: Vec<NewEvent>,
        (who, at): (Who, DateTime<Utc>),
        keys: Vec<event_store::KeyChange>,
    ) -> anyhow::Result<()> {
        let parts: [&[u8]; 4] =
            [&self.plan.root, category.as_bytes(), id.as_bytes(), &expected.to_be_bytes()];
        let Intent { store_id, actor, command_id, fingerprint, .. } =
            Intent::of_system(self.plan.store, actor(self.plan, who), &parts, at);
        let metadata = Metadata {
            actor,
            command_id,
            correlation_id: self.correlation_id.clone(),
            occurred_at: at,
            request_id: None,
        };
        self.units.push(Unit {
            stream: StreamKey { store_id: store_id.0, category, id },
            expected,
            command_id: command_id.0,
            fingerprint,
            metadata: serde_json::to_vec(&metadata)?,
            keys,
            events,
        });
        Ok(())
    }
}

fn actor(plan: &Plan, who: Who) -> Actor {
    let (kind, id) = match who {
        Who::Importer => (ActorKind::Import, plan.importer),
        Who::Shopper => (ActorKind::User, plan.shopper),
        Who::Process => (ActorKind::System, plan.process),
    };
    Actor { kind, id: ActorId(id) }
}
