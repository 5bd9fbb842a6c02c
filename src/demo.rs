//! A chocolate shop to look around in: products, stock at two places and sixty days of orders,
//! loaded through ordinary commands. The same on every machine, apart from the date.

use anyhow::Context as _;
use chrono::{DateTime, Days, NaiveTime, Utc};
use commands::{CommandError, catalog, inventory};
use domain::{
    catalog::{NewProduct, NewVariant, ProductError},
    inventory::{Correction, MAIN_LOCATION, Receipt},
};
use event_schemas::{
    catalog::ProductEvent,
    ids::{ProductId, StoreId, VariantId},
    inventory::{StockItemEvent, StockSource},
    money::{Currency, Money},
    upcast,
};
use event_store::read;
use futures::FutureExt as _;
use sagas::SagaCtx;

use crate::{
    config::{DEFAULT_STORE, Progress},
    import::{
        Failure, Importer, Outcome,
        problem::{Place, Problems},
        variant_id,
    },
    terminal::announce,
};

mod bars;
mod confections;
mod history;
mod journey;
mod pantry;

/// Days of history before the day of the first start.
const DAYS: u64 = 60;

/// Where goods that do not fit the shop are kept.
const CELLAR: &str = "cellar";

/// Reference of the last thing that is loaded: where it is found, everything is there.
const LAST: &str = "stock take 1";

/// A product as written down here: prices in pence, weights in grams.
#[derive(Debug)]
struct Item {
    handle: &'static str,
    title: &'static str,
    vendor: &'static str,
    kind: &'static str,
    /// With commas.
    tags: &'static str,
    text: &'static str,
    /// What its variants differ in; empty if there is only one.
    option: &'static str,
    /// Option value, SKU, pence, grams.
    variants: &'static [(&'static str, &'static str, i64, u32)],
}

/// Loads the shop into the store `demo`, or the rest of it if an earlier start was cut short.
/// Does nothing if it is there, or if the store holds something else. Answers with a line for the
/// person at the terminal. Business times end on the day of the first start.
pub async fn load(saga: &SagaCtx) -> anyhow::Result<String> {
    let store = StoreId::of_slug(DEFAULT_STORE);
    let importer = Importer::new(saga.clone(), store, Progress::Never);
    load_into(&importer).await
}

/// See [`load`].
async fn load_into(importer: &Importer) -> anyhow::Result<String> {
    let shelf = shelf(importer.store);
    let first = shelf.first().context("the shelf has products")?;
    let found = opened_at(importer, first).await?;
    let base = match found {
        Some(opened) => opened + Days::new(DAYS + 1),
        None if is_used(importer).await? => {
            return Ok("The store `demo` has its own things, so the demo shop stays out.".into());
        }
        None => importer.ctx.now().date_naive().and_time(NaiveTime::MIN).and_utc(),
    };
    if found.is_some() && is_complete(importer, first).await? {
        return Ok("The demo shop is loaded.".into());
    }
    announce("The demo shop is being loaded, which takes up to a minute; use it meanwhile.");
    let opened = base - Days::new(DAYS + 1);
    // The first product alone: it dates all the others, in this run and in the next.
    put_on_shelf(importer, first, opened).await.map_err(fatal)?;
    let mut problems = Problems::default();
    let nowhere = Place::default();
    let work = shelf.iter().map(|item| (nowhere, put_on_shelf(importer, item, opened).boxed()));
    importer.each("products", work.collect(), &mut problems).await?;
    let sales = history::sales(&shelf, base);
    let stock = history::opening_stock(&shelf, &sales);
    let work = stock.iter().map(|lot| (nowhere, stock_up(importer, lot, opened).boxed()));
    importer.each("stock", work.collect(), &mut problems).await?;
    let work = sales.iter().map(|sale| (nowhere, journey::run(importer, sale).boxed()));
    importer.each("orders", work.collect(), &mut problems).await?;
    anyhow::ensure!(problems.is_empty(), "{problems}");
    finish(importer, first, base).await.map_err(fatal)?;
    Ok(format!("The demo shop is loaded: {} products, {} orders.", shelf.len(), sales.len()))
}

fn fatal(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::Refused(message) => anyhow::anyhow!(message),
        Failure::Fatal(error) => error,
    }
}

/// All products, as the rules take them.
fn shelf(store: StoreId) -> Vec<NewProduct> {
    let items = [bars::BARS, confections::CONFECTIONS, pantry::PANTRY];
    items.into_iter().flatten().map(|item| product(store, item)).collect()
}

fn product(store: StoreId, item: &Item) -> NewProduct {
    let variant = |&(value, sku, pence, grams): &(&str, &str, i64, u32)| {
        let option_values: Vec<String> =
            Some(value).filter(|value| !value.is_empty()).map(Into::into).into_iter().collect();
        NewVariant {
            variant_id: variant_id(store, item.handle, &option_values),
            sku: Some(sku.into()),
            barcode: None,
            option_values,
            weight_g: Some(grams),
            price: Some(pounds(pence)),
            compare_at: None,
        }
    };
    let some = |text: &'static str| text.split(", ").filter(|part| !part.is_empty());
    NewProduct {
        handle: item.handle.into(),
        title: item.title.into(),
        description: item.text.into(),
        vendor: item.vendor.into(),
        product_type: item.kind.into(),
        tags: some(item.tags).map(Into::into).collect(),
        options: some(item.option).map(Into::into).collect(),
        variants: item.variants.iter().map(variant).collect(),
    }
}

fn pounds(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn product_id(importer: &Importer, product: &NewProduct) -> ProductId {
    ProductId::derive(&[importer.store.0.as_bytes(), b"demo", product.handle.as_bytes()])
}

/// The first variant of the first product, which carries the mark of completion.
fn first_variant(product: &NewProduct) -> VariantId {
    product.variants[0].variant_id
}

/// When an earlier start opened the shop; none if there was none.
async fn opened_at(
    importer: &Importer,
    first: &NewProduct,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let mut conn = importer.ctx.engine.pool().acquire().await?;
    let stream = ("product", product_id(importer, first).0);
    let events = read::read_stream(&mut conn, importer.store.0, stream, 0, 1).await?;
    let Some(event) = events.first() else { return Ok(None) };
    match upcast::decode(&event.event_type, event.schema_version, &event.payload)? {
        ProductEvent::Created(created) => Ok(Some(created.at)),
        _ => anyhow::bail!("the first event of a product is not its creation"),
    }
}

/// Whether the store has any event.
async fn is_used(importer: &Importer) -> anyhow::Result<bool> {
    let used = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM log.streams WHERE store_id = $1) AS "used!""#,
        importer.store.0
    );
    Ok(used.fetch_one(importer.ctx.engine.pool()).await?)
}

async fn is_complete(importer: &Importer, first: &NewProduct) -> anyhow::Result<bool> {
    let events = importer.stock_history(first_variant(first)).await?;
    Ok(events.iter().any(|event| {
        matches!(event, StockItemEvent::Adjusted(it) if it.reference.as_deref() == Some(LAST))
    }))
}

async fn put_on_shelf(
    importer: &Importer,
    product: &NewProduct,
    at: DateTime<Utc>,
) -> Result<Outcome, Failure> {
    let id = product_id(importer, product);
    let intent = |verb| importer.intent(&["demo", verb, &product.handle], at);
    let created = catalog::create(&importer.ctx, &intent("create"), id, product.clone()).await;
    created?;
    let published = catalog::publish(&importer.ctx, &intent("publish"), id).await;
    match published {
        Err(CommandError::Rejected(ProductError::AlreadyPublished)) => Ok(Outcome::Unchanged),
        other => Ok(other.map(|_| Outcome::Created)?),
    }
}

/// A number of units of a variant at a place, there from the beginning.
#[derive(Debug)]
struct Lot {
    variant_id: VariantId,
    location: &'static str,
    quantity: u32,
    unit_cost: Money,
}

async fn stock_up(importer: &Importer, lot: &Lot, at: DateTime<Utc>) -> Result<Outcome, Failure> {
    let receipt = Receipt {
        location: lot.location.into(),
        quantity: lot.quantity,
        source: StockSource::Opening,
        unit_cost: Some(lot.unit_cost),
        reference: Some("opening count".into()),
    };
    let key = ["demo", "stock", &lot.variant_id.to_string(), lot.location];
    inventory::receive(&importer.ctx, &importer.intent(&key, at), lot.variant_id, receipt).await?;
    Ok(Outcome::Created)
}

/// The last event of the shop's history.
async fn finish(importer: &Importer, first: &NewProduct, at: DateTime<Utc>) -> Result<(), Failure> {
    let correction = Correction {
        location: MAIN_LOCATION.into(),
        delta: 2,
        reason: "two bars found behind the counter".into(),
        reference: Some(LAST.into()),
        expected_on_hand: None,
    };
    let intent = importer.intent(&["demo", LAST], at);
    inventory::adjust(&importer.ctx, &intent, first_variant(first), correction).await?;
    Ok(())
}
