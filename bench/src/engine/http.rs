//! Checkouts through HTTP, and the same commands without it.
//!
//! Both begin a checkout for one unit of one product and have its stock held, which takes further
//! commands. Both work on the same cluster, one after the other,
//! with the same pools, process manager and read models around them.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use commands::{
    Ctx, Intent, Priority,
    checkout::{self, NewCheckout, NewLine},
};
use conche::{config::DEFAULT_STORE, roles};
use event_schemas::{
    ids::{ActorId, CommandId, StoreId, VariantId},
    metadata::{Actor, ActorKind},
    order::Channel,
};
use event_store::pool::Role;
use providers::payment::{PaymentProvider, Sandbox};
use sagas::{SagaCtx, drive_checkout};
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet};

use super::measure::Spans;
use crate::{
    figures::{Latency, count, rounded},
    load::Closed,
    place::Place,
    program::Program,
    shop::Shop,
};

/// Clients at once.
const CLIENTS: usize = 64;

/// Checkouts of one round.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Http {
    pub(super) http: Checkouts,
    /// The same commands, called in this process.
    pub(super) direct: Checkouts,
    /// The first command alone: nothing holds the stock, nobody waits for it. Measured last.
    pub(super) first_command: Option<Checkouts>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Checkouts {
    /// Checkouts begun per second.
    pub(super) checkouts: f64,
    pub(super) latency: Latency,
}

/// Rounds of both, interleaved.
pub(super) async fn measure(
    conche: &Path,
    spans: Spans,
    rounds: usize,
) -> anyhow::Result<Vec<Http>> {
    let mut program = Program::start(conche).await?;
    let mut shop = Shop::new(&program).await?;
    let mut measured = Vec::new();
    for round in 1..=rounds {
        let client = shop.clone();
        let act = move |number, turn| {
            let shop = client.clone();
            async move { shop.begin(number, turn).await.map(|_| 1) }
        };
        let http = closed(spans, act).await?;
        let last = round == rounds;
        let (resumed, (direct, first_command)) = program
            .pause(async |data_dir| {
                let direct = with_roles(data_dir, &shop, spans).await?;
                // Leaves work behind that nobody shall do while something else is measured.
                let first = if last { Some(alone(data_dir, &shop, spans).await?) } else { None };
                Ok((direct, first))
            })
            .await?;
        program = resumed;
        shop = shop.moved(&program);
        measured.push(Http { http, direct, first_command });
    }
    program.stop()?;
    Ok(measured)
}

async fn closed<F>(
    spans: Spans,
    act: impl Fn(usize, u64) -> F + Clone + Send + 'static,
) -> anyhow::Result<Checkouts>
where
    F: Future<Output = anyhow::Result<u32>> + Send + 'static,
{
    let mut load = Closed::start(CLIENTS, 1, act);
    let from = load.warm(spans.warm_up).await?;
    let through = load.go_on(spans.span).await?;
    let (samples, _) = load.finish().await?;
    let within = samples.iter().filter(|sample| from < sample.ended && sample.ended <= through);
    let latencies: Vec<Duration> = within.map(|sample| sample.took).collect();
    let checkouts = count(latencies.len() as u64) / through.saturating_sub(from).as_secs_f64();
    Ok(Checkouts { checkouts: rounded(checkouts), latency: Latency::of(latencies) })
}

/// In this process, with the process manager and the read models beside.
async fn with_roles(data_dir: &Path, shop: &Shop, spans: Spans) -> anyhow::Result<Checkouts> {
    let place = Place::open(data_dir).await?;
    let ctx = roles::ctx(&place.database).await?;
    let (switch, stopped) = watch::channel(false);
    let mut beside = JoinSet::new();
    let sandbox = PaymentProvider::Sandbox(Sandbox::default());
    let saga = roles::saga_ctx(&place.database, &ctx, sandbox).await?;
    beside.spawn(sagas::run(saga.clone(), stopped.clone()));
    for projection in projections::ALL {
        let pool = place.database.pool(Role::Projector).await?;
        let (appended, stopped) = (ctx.engine.appended(), stopped.clone());
        beside.spawn(async move {
            projections::run(pool, projection, appended, stopped).await;
        });
    }
    let checkouts = closed(spans, begin(&ctx, shop, Some(saga))).await?;
    switch.send_replace(true);
    while beside.join_next().await.is_some() {}
    close(place, ctx).await?;
    Ok(checkouts)
}

/// In this process, and nothing else is done.
async fn alone(data_dir: &Path, shop: &Shop, spans: Spans) -> anyhow::Result<Checkouts> {
    let place = Place::open(data_dir).await?;
    let ctx = roles::ctx(&place.database).await?;
    let checkouts = closed(spans, begin(&ctx, shop, None)).await?;
    close(place, ctx).await?;
    Ok(checkouts)
}

async fn close(place: Place, ctx: Ctx) -> anyhow::Result<()> {
    ctx.engine.drain().await;
    ctx.engine.pool().close().await;
    place.close().await
}

/// What a client does: begins a checkout and, with `saga`, has its stock held, as the API does.
fn begin(
    ctx: &Ctx,
    shop: &Shop,
    saga: Option<SagaCtx>,
) -> impl Fn(usize, u64) -> futures::future::BoxFuture<'static, anyhow::Result<u32>>
+ Clone
+ Send
+ 'static {
    let (ctx, shop) = (Arc::new(ctx.clone()), shop.clone());
    move |client, turn| {
        let (ctx, shop, saga) = (ctx.clone(), shop.clone(), saga.clone());
        Box::pin(async move {
            let line = NewLine {
                variant_id: shop.variant(client, turn).parse::<VariantId>()?,
                quantity: 1,
                unit_price: None,
            };
            let intent = intent(&ctx);
            let begun = checkout::begin(&ctx, &intent, cart(line)).await?;
            if let Some(saga) = saga {
                drive_checkout(&saga, intent.store_id, begun.checkout_id).await?;
                let (store, position) = (intent.store_id, begun.done.position);
                let view = checkout::settled(&ctx, store, begun.checkout_id, position).await?;
                view.context("a checkout does not rest")?;
            }
            Ok(1)
        })
    }
}

fn intent(ctx: &Ctx) -> Intent {
    let command_id = CommandId((ctx.new_id)());
    Intent {
        store_id: StoreId::of_slug(DEFAULT_STORE),
        actor: Actor { kind: ActorKind::User, id: ActorId::derive(&[b"benchmark"]) },
        command_id,
        fingerprint: [1; 32],
        correlation_id: String::new(),
        request_id: Some(command_id.to_string()),
        expected: None,
        at: ctx.now(),
        priority: Priority::Normal,
        deadline: None,
    }
}

fn cart(line: NewLine) -> NewCheckout {
    NewCheckout {
        lines: vec![line],
        charges: vec![],
        customer_reference: None,
        country: None,
        cart_id: None,
        coupons: vec![],
        channel: Channel::Api,
        order_number: None,
        hold_until: None,
        backdated_to: None,
        payment_method: None,
    }
}
