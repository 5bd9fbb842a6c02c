//! Stories against the whole program on a real PostgreSQL, each in a database of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod address;
mod analytics;
mod app;
mod architecture;
mod cache;
mod cart;
mod catalog;
mod checkout;
mod coupons;
mod demo_story;
mod edge;
mod events;
mod exports;
mod flash_sale;
mod fulfilment;
mod hostile;
mod idempotency;
mod import;
mod live;
mod load;
mod money;
mod openapi;
mod overload;
mod parked;
mod quote;
mod read_models;
mod search;
mod stripe;
mod tenancy;
mod webhooks;
