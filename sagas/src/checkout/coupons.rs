//! Coupons of a checkout: their uses are committed with its order, or free again.

use commands::coupon::{self, CouponCommand};

use super::drive::Drive;
use crate::DriveError;

impl Drive<'_> {
    /// Nothing refuses this: the use was given. Its command id is the same for ever, so that it is
    /// counted once. Those that an earlier quote counted on are free again.
    pub(super) async fn commit_coupons(&self) -> Result<(), DriveError> {
        let (checkout_id, at) = (self.journey.checkout_id, self.at());
        let (counted, left): (Vec<&String>, Vec<&String>) =
            self.checkout().coupons.iter().partition(|code| self.checkout().counts_on(code));
        for code in counted {
            let customer_reference = self.started().customer_reference.clone();
            let commit = CouponCommand::Commit { checkout_id, customer_reference, at };
            self.tell_coupon(&[b"coupon", code.as_bytes(), b"commit"], code, commit).await?;
        }
        self.release_each(left).await
    }

    /// Whoever wants them next can have them at once. Again, it changes nothing.
    pub(super) async fn release_coupons(&self) -> Result<(), DriveError> {
        self.release_each(self.checkout().coupons.iter().collect()).await
    }

    /// Where the checkout is, is part of the command id: what is claimed after it was given back is
    /// given back again.
    async fn release_each(&self, codes: Vec<&String>) -> Result<(), DriveError> {
        let (checkout_id, at) = (self.journey.checkout_id, self.at());
        let version = self.versions.checkout.to_be_bytes();
        for code in codes {
            let release = CouponCommand::Release { checkout_id, lapsing_by: None, at };
            let parts: [&[u8]; 4] = [b"coupon", code.as_bytes(), b"release", &version];
            self.tell_coupon(&parts, code, release).await?;
        }
        Ok(())
    }

    async fn tell_coupon(
        &self,
        parts: &[&[u8]],
        code: &str,
        command: CouponCommand,
    ) -> Result<(), DriveError> {
        self.ctx.spend()?;
        let intent = self.intent(parts);
        let told = coupon::tell(&self.ctx.commands, &intent, code, command).await;
        told.map(drop).map_err(|error| DriveError::of("coupon", error))
    }
}
