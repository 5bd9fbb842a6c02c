//! The load: clients of two stores, and checkouts whose hold soon ends.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use chrono::TimeDelta;
use clap::Parser as _;
use commands::{
    Ctx, Intent,
    checkout::{self, NewCheckout, NewLine},
};
use conche::{
    config::{Config, Token},
    database::Database,
    keys, roles,
};
use event_schemas::{
    ids::{ActorId, StoreId},
    metadata::{Actor, ActorKind},
    order::Channel,
};
use fastrand::Rng;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    client::{Client, Store},
    fleet::Fleet,
    journal::now,
    shopper::{self, Range},
};

/// Slugs of the stores.
pub const STORES: [&str; 2] = ["north", "south"];

/// Between two checkouts with a short hold.
const SHORT_EVERY: Duration = Duration::from_millis(400);

/// Shortest and longest of their holds: longer than what a runner leaves to others, or it would not
/// look when they end but at its leisure.
const HOLD_MIN_MS: i64 = 5_500;
const HOLD_MAX_MS: i64 = 8_000;

/// The stores of a run and who knows what about them.
pub(crate) struct Load {
    fleet: Arc<Fleet>,
    clients: Vec<(Client, Arc<Range>)>,
    ranges: Vec<Arc<Range>>,
    /// Begins checkouts with a short hold, which HTTP does not offer.
    inside: Ctx,
    rng: Rng,
}

/// Clients at work.
pub(crate) struct Working {
    stop: watch::Sender<bool>,
    clients: JoinSet<anyhow::Result<(Client, Arc<Range>)>>,
    timers: JoinSet<(Ctx, Rng)>,
    fleet: Arc<Fleet>,
    ranges: Vec<Arc<Range>>,
}

impl Load {
    /// Opens the stores and fills them.
    pub(crate) async fn prepare(
        fleet: &Arc<Fleet>,
        journals: &Path,
        clients: usize,
        rng: &mut Rng,
    ) -> anyhow::Result<Load> {
        let data = &fleet.program.data;
        let signing = keys::load(data)?;
        let ranges: Vec<Arc<Range>> = STORES.iter().map(|_| Arc::default()).collect();
        let mut all = Vec::new();
        for number in 0..clients {
            let which = number % STORES.len();
            let slug = STORES[which].to_owned();
            let wanted = Token { store: slug.clone(), permissions: Vec::new(), days: 1 };
            let token = keys::issue(&signing, &wanted, now());
            let number = u32::try_from(number)?;
            let store = Store { slug, token };
            let mut client = Client::new(number, store, rng.fork(), fleet.clone(), journals)?;
            // The first client of each store makes it.
            if all.len() < STORES.len() {
                ranges[which].stock_up(&mut client).await?;
            }
            all.push((client, ranges[which].clone()));
        }
        let (url, data) = (fleet.server.url(), data.to_str().context("a path that is text")?);
        let config = ["conche", "--database-url", url, "--data-dir", data, "migrate"];
        let database = Database::open(&Config::try_parse_from(config)?.place).await?;
        let inside = roles::ctx(&database).await?;
        Ok(Load { fleet: fleet.clone(), clients: all, ranges, inside, rng: rng.fork() })
    }

    /// Sets everyone to work.
    pub(crate) fn start(self) -> Working {
        let stop = watch::Sender::new(false);
        let mut clients = JoinSet::new();
        for (mut client, range) in self.clients {
            let stop = stop.subscribe();
            clients.spawn(async move {
                while !*stop.borrow() {
                    shopper::act(&mut client, &range).await?;
                }
                Ok((client, range))
            });
        }
        let mut timers = JoinSet::new();
        let (stopped, ranges) = (stop.subscribe(), self.ranges.clone());
        timers.spawn(begin_short(self.inside, self.rng, ranges, stopped));
        Working { stop, clients, timers, fleet: self.fleet, ranges: self.ranges }
    }
}

impl Working {
    /// Completes when a client fails, which none should.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        loop {
            match self.clients.join_next().await {
                Some(Ok(Err(error))) => return error,
                Some(Err(error)) => return error.into(),
                Some(Ok(Ok(_))) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Lets everyone end what they are at.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Load> {
        self.stop.send_replace(true);
        let mut clients = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            clients.push(client??);
        }
        let (inside, rng) = self.timers.join_next().await.context("there are timers")??;
        Ok(Load { fleet: self.fleet, clients, ranges: self.ranges, inside, rng })
    }
}

/// Begins checkouts whose hold ends within seconds, and offers half of them to be paid in time.
async fn begin_short(
    ctx: Ctx,
    mut rng: Rng,
    ranges: Vec<Arc<Range>>,
    stop: watch::Receiver<bool>,
) -> (Ctx, Rng) {
    let mut number = 0_u64;
    while !*stop.borrow() {
        sleep(SHORT_EVERY).await;
        let which = rng.usize(..STORES.len());
        let variants = ranges[which].hot();
        let variant_id = variants[rng.usize(..variants.len())].parse();
        let variant_id = variant_id.expect("the program's own ids can be read");
        // Nobody drives these but the runners, who leave what is younger to whoever began it.
        let at = ctx.now() - sagas::GRACE;
        let hold = TimeDelta::milliseconds(rng.i64(HOLD_MIN_MS..HOLD_MAX_MS));
        number += 1;
        let actor = Actor { kind: ActorKind::System, id: ActorId::derive(&[b"crash"]) };
        let parts: [&[u8]; 2] = [&at.timestamp_micros().to_be_bytes(), &number.to_be_bytes()];
        let intent = Intent::of_system(StoreId::of_slug(STORES[which]), actor, &parts, at);
        let new = NewCheckout {
            lines: vec![NewLine { variant_id, quantity: 1, unit_price: None }],
            charges: Vec::new(),
            customer_reference: None,
            country: None,
            cart_id: None,
            coupons: vec![],
            channel: Channel::Api,
            order_number: None,
            hold_until: Some(ctx.now() + hold),
            backdated_to: None,
            payment_method: None,
        };
        // PostgreSQL may be dead at this moment, or nothing left to sell: then there is none.
        let begun = checkout::begin(&ctx, &intent, new).await;
        if let Ok(begun) = begun
            && rng.bool()
        {
            ranges[which].offer(begun.checkout_id.to_string());
        }
    }
    (ctx, rng)
}
