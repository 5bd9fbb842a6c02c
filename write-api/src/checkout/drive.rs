//! Carrying the process of a checkout on, here and now: whoever asked for it waits for it.
//!
//! The runners of `sagas` would come to it as well, but only after they have read of it in the log.
//! They take up what is left here: by a crash, by a provider that does not answer, or because too
//! many came at once.

use std::{sync::Arc, time::Duration};

use api_kit::Problem;
use event_schemas::ids::StoreId;
use fail::fail_point;
use providers::payment::{ClientSecret, PaymentProvider};
use sagas::{SagaCtx, drive_checkout};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Journey;
use super::answer::Asked;

/// Processes that one process carries on at once, of those that ask the payment provider and of the
/// others each: a provider that is silent must not keep anybody from holding stock. Each waits for
/// the disk most of the time, and what many store at once is one flush.
const AT_ONCE: usize = 64;

/// When to try again if it cannot be read who moves a store's money: as long as a database takes to
/// come back.
const PROVIDER_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Longest wait for what the shopper's browser needs; providers answer within half a second.
const SECRET_WAIT_MAX: Duration = Duration::from_secs(3);

/// Drives processes of checkouts. Cheap to clone; all clones share the bound.
#[derive(Clone, Debug)]
pub struct Driver {
    saga: SagaCtx,
    places: Arc<Semaphore>,
    paying: Arc<Semaphore>,
}

impl Driver {
    /// `saga` acts with an engine beside that of the requests, so that a crowd of them does not
    /// take its places.
    pub fn new(saga: SagaCtx) -> Driver {
        let places = || Arc::new(Semaphore::new(AT_ONCE));
        Driver { saga, places: places(), paying: places() }
    }

    /// Who moves the money of a store.
    pub(super) async fn provider(&self, store_id: StoreId) -> Result<PaymentProvider, Problem> {
        self.saga.provider(store_id).await.map_err(|error| {
            tracing::error!(%store_id, "no payment provider: {error}");
            Problem::unavailable(PROVIDER_RETRY_AFTER)
        })
    }

    /// What the shopper's browser needs to go on with the provider directly. None if the provider
    /// does not say it in time: a repeat of the request gets it.
    pub(super) async fn client_secret(&self, journey: Journey) -> Option<ClientSecret> {
        let until = Instant::now() + journey.deadline.within(SECRET_WAIT_MAX);
        let asked = sagas::client_secret(&self.saga, journey.store_id, journey.id);
        match timeout_at(until, asked).await {
            Ok(Ok(secret)) => secret,
            Ok(Err(error)) => {
                tracing::warn!(checkout = %journey.id, "no client secret: {error}");
                None
            }
            Err(_) => None,
        }
    }

    /// Carries a checkout on as far as it goes. Returns then, or at `until`; what is under way is
    /// not cut off by that, nor by a client that hangs up.
    pub(super) async fn drive(&self, journey: Journey, asked: Asked, until: Instant) {
        let places = if asked == Asked::Pay { &self.paying } else { &self.places };
        let place = timeout_at(until, Arc::clone(places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return };
        let (ended, end) = oneshot::channel::<()>();
        let saga = self.saga.clone();
        let work = async move {
            if let Err(error) = drive_checkout(&saga, journey.store_id, journey.id).await {
                tracing::debug!(?error, checkout = %journey.id, "left to the runners");
            }
            drop((place, ended));
        };
        fail_point!("write-api::before-drive");
        #[expect(
            clippy::disallowed_methods,
            reason = "ends by itself; a runner takes up what a shutdown cuts off"
        )]
        tokio::spawn(work);
        // It ends by being dropped.
        let _ = timeout_at(until, end).await;
    }
}
