//! Coupons of a checkout: their uses are committed with its order, or free again.

use commands::coupon::{self, CouponCommand};

use super::drive::Drive;
use crate::DriveError;

impl Drive<'_> {
    /// The uses are claimed until the checkout ends, so nothing can refuse this. Those that an
    /// earlier quote counted on are free again. Again, it changes nothing.
    pub(super) async fn commit_coupons(&self) -> Result<(), DriveError> {
        let (checkout_id, at) = (self.journey.checkout_id, self.at());
        let (counted, left): (Vec<&String>, Vec<&String>) =
            self.checkout().coupons.iter().partition(|code| self.checkout().counts_on(code));
        for code in counted {
            self.tell_coupon(code, "commit", CouponCommand::Commit { checkout_id, at }).await?;
        }
        for code in left {
            self.tell_coupon(code, "release", CouponCommand::Release { checkout_id, at }).await?;
        }
        Ok(())
    }

    /// Whoever wants them next can have them at once. Again, it changes nothing.
    pub(super) async fn release_coupons(&self) -> Result<(), DriveError> {
        let (checkout_id, at) = (self.journey.checkout_id, self.at());
        for code in &self.checkout().coupons {
            self.tell_coupon(code, "release", CouponCommand::Release { checkout_id, at }).await?;
        }
        Ok(())
    }

    async fn tell_coupon(
        &self,
        code: &str,
        step: &'static str,
        command: CouponCommand,
    ) -> Result<(), DriveError> {
        self.ctx.spend()?;
        let intent = self.intent(&[b"coupon", code.as_bytes(), step.as_bytes()]);
        let told = coupon::tell(&self.ctx.commands, &intent, code, command).await;
        told.map(drop).map_err(|error| DriveError::of("coupon", error))
    }
}
