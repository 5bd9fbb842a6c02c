//! A Stripe that pretends, for tests and for development without a network.
//!
//! It does what Stripe documents for the part of its API that Conche uses: payment intents with
//! manual capture, 3-D Secure, methods that take days, refunds that take days or fail, idempotency
//! keys, events and signed webhooks. Everything follows from the requests, the time it is told and
//! a seed; it has no clock and no sockets of its own ([`Simulator`]). [`serve`] puts it on a port.
//!
//! Faults are chosen by [`Faults`]. What really happened, for checkers, is [`Simulator::truth`].
//!
//! | Stripe's rule | source |
//! |---|---|
//! | the first answer under a key is saved, whatever it is, 500 included, and given again | docs.stripe.com/api/idempotent_requests |
//! | the same key with other parameters is an error; a key at work is a conflict; neither is saved | same |
//! | keys may be forgotten when they are 24 hours old | same |
//! | states of an intent, and what may follow what | docs.stripe.com/payments/paymentintents/lifecycle |
//! | an authorisation ends by itself after seven days, and the intent is cancelled | docs.stripe.com/payments/place-a-hold-on-a-payment-method |
//! | three-decimal amounts end in 0 | docs.stripe.com/currencies |
//! | events are listed newest first, for 30 days | docs.stripe.com/api/events/list |

mod account;
mod answer;
mod events;
mod faults;
mod idempotency;
mod intent;
mod intents;
mod methods;
mod params;
mod refunds;
mod server;
mod simulator;
mod webhooks;

pub use answer::{Reply, Request};
pub use events::Event;
pub use faults::Faults;
pub use server::{Served, serve};
pub use simulator::Simulator;
pub use webhooks::{Delivery, sign};
