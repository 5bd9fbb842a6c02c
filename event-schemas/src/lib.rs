//! The language: ids, money, and every event that is stored, with its versions.
//!
//! Everybody reads this crate and it reads nobody. A stored shape is a promise for ever: how to
//! change one is in `README.md`.
#![warn(missing_docs)]

pub mod cart;
pub mod catalog;
pub mod checkout;
pub mod coupon;
pub mod fulfilment;
pub mod ids;
pub mod inventory;
pub mod metadata;
pub mod money;
pub mod order;
pub mod payment;
pub mod place;
pub mod quote;
pub mod sealed;
pub mod shipping;
pub mod store;
pub mod tax;
pub mod upcast;
