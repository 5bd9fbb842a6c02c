//! Products made of codes.

use chrono::{DateTime, Utc};
use commands::catalog;
use domain::catalog::{NewProduct, NewVariant, handle_of};
use event_schemas::ids::{ProductId, VariantId};
use futures::FutureExt as _;
use sha2::{Digest as _, Sha256};

use super::{History, PRODUCTS, Variants, file::Article};
use crate::import::{
    importer::{Failure, Importer, Outcome, tally},
    products::{self, variant_id},
    report::Report,
};

/// Makes the products the store does not have; a SKU that equals the code is the product, whoever
/// made it.
pub(super) async fn take_over(
    importer: &Importer,
    history: &History,
    report: &mut Report,
) -> anyhow::Result<Variants> {
    let work = history.articles.iter();
    let work = work.map(|article| (article.place, one(importer, article).boxed()));
    let done = importer.each(PRODUCTS, work.collect(), &mut report.problems).await?;
    report.tallies.push((PRODUCTS, tally(done.iter().map(|it| it.map(|(outcome, _)| outcome)))));
    let variants = history.articles.iter().zip(done);
    Ok(variants.filter_map(|(it, done)| Some((it.code.clone(), done?.1))).collect())
}

async fn one(importer: &Importer, article: &Article) -> Result<(Outcome, VariantId), Failure> {
    let found = catalog::find_by_sku(&importer.ctx, importer.store, &article.code).await?;
    let own = product_of(importer, article);
    let id = own.variants[0].variant_id;
    let (product, outcome) = match found {
        Some(found) if found.variant_id != id => return Ok((Outcome::Unchanged, found.variant_id)),
        // Ours, and complete: what is on sale has a price.
        Some(found) if found.offer.price.is_ok() || article.price.is_none() => {
            return Ok((Outcome::Unchanged, id));
        }
        Some(found) => (found.product_id, Outcome::Updated),
        None => (products::create(importer, &own, article.at).await?, Outcome::Created),
    };
    if article.price.is_some() {
        return Ok((publish(importer, (product, &own), article.at).await?.unwrap_or(outcome), id));
    }
    Ok((outcome, id))
}

/// Puts it on sale, unless somebody took it off on purpose since.
async fn publish(
    importer: &Importer,
    (id, product): (ProductId, &NewProduct),
    at: DateTime<Utc>,
) -> Result<Option<Outcome>, Failure> {
    let intent = importer.intent(&["publish", &product.handle], at);
    let done = match catalog::publish(&importer.ctx, &intent, id).await {
        Ok(done) => done,
        // It left the range, or never had a price: old orders can still be taken over.
        Err(commands::CommandError::Rejected(_)) => return Ok(Some(Outcome::Unchanged)),
        Err(error) => return Err(error.into()),
    };
    Ok(done.replayed.then_some(Outcome::Unchanged))
}

fn product_of(importer: &Importer, article: &Article) -> NewProduct {
    let handle = handle_of_code(&article.code);
    let variant = NewVariant {
        variant_id: variant_id(importer.store, &handle, &[]),
        sku: Some(article.code.clone()),
        barcode: None,
        option_values: vec![],
        weight_g: None,
        price: article.price,
        compare_at: None,
    };
    NewProduct {
        handle,
        title: article.title.clone(),
        variants: vec![variant],
        ..NewProduct::default()
    }
}

/// `item-85123a` for `85123A`. A code that cannot be spelled that way gets a few letters of its
/// hash, so that `A.1` and `A-1` stay two products.
fn handle_of_code(code: &str) -> String {
    if code.len() <= 100 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return format!("item-{}", code.to_ascii_lowercase());
    }
    let digest = Sha256::digest(code.as_bytes());
    let short: String = code.chars().take(60).collect();
    let spelled: String = handle_of(&short).chars().take(100).collect();
    format!(
        "item-{}-{:02x}{:02x}{:02x}",
        spelled.trim_end_matches('-'),
        digest[0],
        digest[1],
        digest[2]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_make_handles_that_stay_apart() {
        assert_eq!(handle_of_code("85123A"), "item-85123a");
        assert_ne!(handle_of_code("A.1"), handle_of_code("A-1"));
        assert!(handle_of_code("A.1").starts_with("item-a-1-"));
        assert!(handle_of_code(&"ß?".repeat(100)).len() < 255);
    }
}
