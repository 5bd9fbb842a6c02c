//! What clients ask for, taken from what is there.

use std::fmt::Write as _;

use anyhow::ensure;
use event_schemas::ids::{ProductId, StoreId};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::load::Random;

/// Products, orders and words that are asked for.
const SAMPLES: i64 = 5_000;

#[derive(Debug)]
pub(super) struct Samples {
    pub(super) store: StoreId,
    pub(super) products: Vec<Uuid>,
    pub(super) handles: Vec<String>,
    /// Of titles, in lower case; common ones more often.
    pub(super) words: Vec<String>,
    pub(super) kinds: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) customers: Vec<String>,
    pub(super) numbers: Vec<String>,
    pub(super) skus: Vec<String>,
    pub(super) countries: Vec<String>,
}

impl Samples {
    pub(super) async fn take(
        options: &PgConnectOptions,
        store: StoreId,
    ) -> anyhow::Result<Samples> {
        let mut conn = PgConnection::connect_with(options).await?;
        let products: Vec<(Uuid, String, String, String, Vec<String>)> = sqlx::query_as(
            "SELECT product_id, handle, title, product_type, tags FROM read.catalog_products
              WHERE store_id = $1 AND status = 'active' ORDER BY random() LIMIT $2",
        )
        .bind(store.0)
        .bind(SAMPLES)
        .fetch_all(&mut conn)
        .await?;
        let orders: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
            "SELECT number, customer_reference, country FROM read.order_summaries
              WHERE store_id = $1 ORDER BY random() LIMIT $2",
        )
        .bind(store.0)
        .bind(SAMPLES)
        .fetch_all(&mut conn)
        .await?;
        let skus: Vec<String> = sqlx::query_scalar(
            "SELECT sku FROM read.catalog_variants WHERE store_id = $1 AND sku IS NOT NULL
              ORDER BY random() LIMIT $2",
        )
        .bind(store.0)
        .bind(SAMPLES)
        .fetch_all(&mut conn)
        .await?;
        conn.close().await?;
        ensure!(!products.is_empty() && !orders.is_empty(), "there is nothing to ask for");
        let words = products.iter().flat_map(|(_, _, title, ..)| title.split_whitespace());
        let words = words.map(str::to_lowercase).filter(|word| 3 < word.chars().count()).collect();
        let mut kinds: Vec<String> = products.iter().map(|row| row.3.clone()).collect();
        let mut tags: Vec<String> = products.iter().flat_map(|row| row.4.clone()).collect();
        let mut countries: Vec<String> = orders.iter().filter_map(|row| row.2.clone()).collect();
        for list in [&mut kinds, &mut tags, &mut countries] {
            list.sort();
            list.dedup();
        }
        Ok(Samples {
            store,
            handles: products.iter().map(|row| row.1.clone()).collect(),
            products: products.into_iter().map(|row| row.0).collect(),
            words,
            kinds,
            tags,
            customers: orders.iter().filter_map(|row| row.1.clone()).collect(),
            numbers: orders.into_iter().map(|row| row.0).collect(),
            skus,
            countries,
        })
    }

    /// Few are asked for often.
    pub(super) fn product(&self, chance: &mut Random) -> Uuid {
        let of = self.products.len();
        self.products[below(chance, of).min(below(chance, of)).min(below(chance, of))]
    }

    pub(super) fn product_path(&self, chance: &mut Random) -> String {
        format!("/api/v1/products/{}", ProductId(self.product(chance)))
    }
}

pub(super) fn below(chance: &mut Random, of: usize) -> usize {
    usize::try_from(chance.next() >> 8).unwrap_or(0) % of.max(1)
}

pub(super) fn pick<'a>(chance: &mut Random, from: &'a [String]) -> &'a str {
    from.get(below(chance, from.len())).map_or("", String::as_str)
}

/// For an address.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
