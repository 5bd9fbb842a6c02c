//! The stock of a checkout's lines: summed per variant, in order, a few at a time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use commands::{
    CommandError, Intent,
    checkout::{CheckoutCommand, Phase},
    inventory::{self, LongerHold, NewAllocation, NewHold, Return, StockItemError},
    order::{OrderCommand, OrderStatus},
    store,
};
use event_schemas::{
    checkout::{FailureCause, Shortage},
    ids::VariantId,
    inventory::ReleaseCause,
    order::{Channel, OrderLine},
    store::CaptureMoment,
};
use fail::fail_point;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::drive::Drive;
use crate::DriveError;

/// Variants of one checkout that are worked on at a time.
const AT_ONCE: usize = 8;

/// Units per variant, by variant id.
pub(super) fn units(lines: &[OrderLine]) -> BTreeMap<VariantId, u32> {
    lines.iter().fold(BTreeMap::new(), |mut units, line| {
        let sum: &mut u32 = units.entry(line.variant_id).or_default();
        // Beyond any stock there is, so that it is refused as such.
        *sum = sum.saturating_add(line.quantity);
        units
    })
}

impl Drive<'_> {
    /// Holds every line. If some are short, starts undoing and says which.
    pub(super) async fn reserve_stock(&mut self) -> Result<(), DriveError> {
        let reservation_id = self.journey.checkout_id;
        let until = self.checkout().hold_until.expect("a checkout that began has a hold");
        let held =
            stream::iter(units(&self.started().lines)).map(async |(variant_id, quantity)| {
                self.ctx.spend()?;
                let intent = self.stock_intent("reserve", variant_id, self.ctx.now());
                let new = NewHold { reservation_id, quantity, until };
                let held = inventory::reserve(&self.ctx.commands, &intent, variant_id, new).await;
                shortage("reserve", variant_id, quantity, held.map(|_| ()))
            });
        let held: Vec<Option<Shortage>> = held.buffered(AT_ONCE).try_collect().await?;
        fail_point!("saga::after-hold");
        let lines: Vec<Shortage> = held.into_iter().flatten().collect();
        if lines.is_empty() {
            self.tell("secure", |at| CheckoutCommand::SecureStock { at }).await?;
        } else {
            self.compensate(FailureCause::InsufficientStock { lines }).await?;
        }
        // Somebody gave the checkout up while we were holding: then these holds are nobody's.
        if matches!(self.checkout().phase, Phase::Failed { .. }) {
            self.release_stock().await?;
        }
        Ok(())
    }

    /// Makes every hold last longer. One that is gone is not mourned: when the order is placed,
    /// free stock takes its place or the checkout fails.
    pub(super) async fn extend_holds(&mut self, until: DateTime<Utc>) -> Result<(), DriveError> {
        let reservation_id = self.journey.checkout_id;
        let extended = stream::iter(units(&self.started().lines)).map(async |(variant_id, _)| {
            self.ctx.spend()?;
            let intent = self.stock_intent("extend", variant_id, self.ctx.now());
            let longer = LongerHold { reservation_id, until };
            match inventory::extend_hold(&self.ctx.commands, &intent, variant_id, longer).await {
                Ok(_)
                | Err(CommandError::Rejected(
                    StockItemError::HoldNotFound | StockItemError::HoldAlreadyExtended,
                )) => Ok(()),
                Err(error) => Err(DriveError::of("extend", error)),
            }
        });
        extended.buffered(AT_ONCE).try_collect().await
    }

    /// Gives the held stock to the order and confirms it. If some is gone, starts undoing.
    pub(super) async fn allocate_stock(&mut self) -> Result<(), DriveError> {
        let (reservation_id, order_id) = (self.journey.checkout_id, self.order_id());
        let given =
            stream::iter(units(&self.started().lines)).map(async |(variant_id, quantity)| {
                self.ctx.spend()?;
                let intent = self.stock_intent("allocate", variant_id, self.at());
                let new = NewAllocation { reservation_id, order_id, quantity };
                let given = inventory::allocate(&self.ctx.commands, &intent, variant_id, new).await;
                shortage("allocate", variant_id, quantity, given.map(|_| ()))
            });
        let given: Vec<Option<Shortage>> = given.buffered(AT_ONCE).try_collect().await?;
        fail_point!("saga::after-allocate");
        let lines: Vec<Shortage> = given.into_iter().flatten().collect();
        let told = if lines.is_empty() {
            let capture = self.capture_moment().await?;
            self.tell_order("confirm", |at| OrderCommand::Confirm { capture, at }).await
        } else if self.is_still_placed().await? {
            self.compensate(FailureCause::InsufficientStock { lines }).await
        } else {
            // Another process found enough: stock has come in meanwhile.
            Ok(())
        };
        if let Err(DriveError::Refused { .. }) = told {
            self.load_checkout().await?;
            self.load_order().await?;
        }
        // Another process found too little and undid everything while we were allocating: then
        // these units are nobody's.
        if matches!(self.checkout().phase, Phase::Failed { .. }) {
            return self.release_stock().await;
        }
        told
    }

    /// When the money is taken: as the store wants it now. What is taken over was paid then.
    async fn capture_moment(&self) -> Result<CaptureMoment, DriveError> {
        if self.started().channel == Channel::Import {
            return Ok(CaptureMoment::Immediately);
        }
        let store = store::load(&self.ctx.commands, self.journey.store_id).await?.state;
        Ok(store.policies.capture)
    }

    /// Whether nobody has moved the order on, or undone it.
    async fn is_still_placed(&mut self) -> Result<bool, DriveError> {
        self.load_checkout().await?;
        self.load_order().await?;
        let status = self.situation.order.placed.as_ref().map(|order| order.status);
        Ok(status == Some(OrderStatus::Placed))
    }

    /// Frees whatever is held or allocated. What is free already stays so.
    pub(super) async fn release_stock(&mut self) -> Result<(), DriveError> {
        let (reservation_id, order_id) = (self.journey.checkout_id, self.order_id());
        let cause = self.release_cause();
        let reference = self.refund_id().to_string();
        let has_order = self.situation.order.placed.is_some();
        let freed = stream::iter(units(&self.started().lines)).map(async |(variant_id, _)| {
            self.ctx.spend()?;
            let (ctx, now) = (&self.ctx.commands, self.ctx.now());
            // Each state of the checkout may free once: holds can come after the first time.
            let intent = self.late_stock_intent("release", variant_id, now);
            inventory::release(ctx, &intent, variant_id, reservation_id, cause)
                .await
                .map_err(|error| DriveError::of("release", error))?;
            if has_order {
                self.ctx.spend()?;
                let intent = self.late_stock_intent("deallocate", variant_id, self.at());
                let back = Return { order_id, reference: reference.clone(), quantity: None };
                inventory::deallocate(ctx, &intent, variant_id, back)
                    .await
                    .map_err(|error| DriveError::of("deallocate", error))?;
            }
            Ok::<(), DriveError>(())
        });
        freed.buffered(AT_ONCE).try_collect::<()>().await?;
        fail_point!("saga::after-release");
        self.situation.released = true;
        Ok(())
    }

    fn release_cause(&self) -> ReleaseCause {
        let (Phase::Compensating { cause } | Phase::Failed { cause }) = &self.checkout().phase
        else {
            return ReleaseCause::Cancelled;
        };
        // The stock item believes in an end only if it has come.
        let over = self.checkout().hold_ended(self.ctx.now());
        match cause {
            FailureCause::Expired if over => ReleaseCause::Expired,
            _ => ReleaseCause::Cancelled,
        }
    }

    fn stock_intent(&self, step: &str, variant_id: VariantId, at: DateTime<Utc>) -> Intent {
        self.journey.intent(self.ctx, &[step.as_bytes(), variant_id.0.as_bytes()], at)
    }

    fn late_stock_intent(&self, step: &str, variant_id: VariantId, at: DateTime<Utc>) -> Intent {
        let phase: &[u8] = match self.checkout().phase {
            Phase::Failed { .. } => b"failed",
            _ => b"compensating",
        };
        self.journey.intent(self.ctx, &[step.as_bytes(), variant_id.0.as_bytes(), phase], at)
    }
}

/// A refusal for want of stock is an outcome; any other error is one.
fn shortage(
    step: &'static str,
    variant_id: VariantId,
    requested: u32,
    result: Result<(), CommandError<StockItemError>>,
) -> Result<Option<Shortage>, DriveError> {
    match result {
        Ok(()) => Ok(None),
        Err(CommandError::Rejected(StockItemError::InsufficientStock { available, .. })) => {
            let available = u32::try_from(available).unwrap_or(u32::MAX);
            Ok(Some(Shortage { variant_id, requested, available }))
        }
        Err(error) => Err(DriveError::of(step, error)),
    }
}
