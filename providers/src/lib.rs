//! The outside world: who moves money for us. Vendors come and go; nothing of ours is known here
//! but the values of the language.

pub mod payment;
mod stores;

pub use stores::{Providers, ProvidersError};
