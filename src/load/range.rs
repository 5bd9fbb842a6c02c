//! What the shop sells. A product follows from its number, so none has to be remembered.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::Aggregate as _;
use domain::catalog::{NewProduct, NewVariant, Offer, Product, ProductCommand, handle_of};
use event_schemas::{
    catalog::ProductEvent,
    ids::{ProductId, VariantId},
    money::{Currency, Money},
};
use fastrand::Rng;

use super::{
    Plan,
    words::{INCLUSIONS, NAME_HEADS, NAME_TAILS, ORIGINS, SORTS, STYLES, Sort, TAGS},
};

/// Variants of a product at most: as many as [`SORTS`] has sizes.
pub(super) const VARIANTS_MAX: usize = 3;

/// Days in which the range is built up, before the first order.
pub(super) const BUILD_UP_DAYS: i64 = 60;

/// One product in this many stays a draft, one in that many is archived.
const DRAFT_EVERY: u32 = 40;
const ARCHIVED_EVERY: u32 = 50;

/// Makers, and lines of products that share a name.
const MAKERS: usize = 60;
const LINES: usize = 400;

/// A product and the commands' events that made it what it is.
pub(super) struct Goods {
    pub(super) id: ProductId,
    pub(super) variants: Vec<VariantId>,
    pub(super) state: Product,
    /// When it was created; the rest happens on the same day.
    pub(super) at: DateTime<Utc>,
    /// What each command made.
    pub(super) made: Vec<Vec<ProductEvent>>,
}

impl Goods {
    pub(super) fn offer(&self, variant: usize) -> Option<(VariantId, Offer)> {
        let id = *self.variants.get(variant)?;
        Some((id, self.state.offer(id)?))
    }
}

impl Plan {
    pub(super) fn goods(&self, number: u32) -> anyhow::Result<Goods> {
        let mut dice = self.dice(b"product", number);
        let id = ProductId::derive(&[&self.root, &number.to_be_bytes()]);
        let at = self.range_begins() + TimeDelta::minutes(dice.i64(0..BUILD_UP_DAYS * 24 * 60));
        let product = self.new_product(&mut dice, number);
        let variants = product.variants.iter().map(|variant| variant.variant_id).collect();
        let mut goods = Goods { id, variants, state: Product::default(), at, made: Vec::new() };
        goods.tell(ProductCommand::Create { product: Box::new(product), at })?;
        if !is_draft(number) {
            goods.tell(ProductCommand::Publish { at: at + TimeDelta::hours(1) })?;
        }
        if is_archived(number) {
            goods.tell(ProductCommand::Archive { at: at + TimeDelta::hours(2) })?;
        }
        Ok(goods)
    }

    fn new_product(&self, dice: &mut Rng, number: u32) -> NewProduct {
        let sort = &SORTS[front(dice, SORTS.len())];
        let title = title(dice, sort);
        let vendor = name(front(dice, MAKERS));
        let tags = (0..dice.usize(0..5)).map(|_| TAGS[front(dice, TAGS.len())].to_owned());
        let tags = tags.collect();
        let sizes = if dice.u8(0..3) == 0 { &[] } else { sort.sizes };
        let variants = if sizes.is_empty() {
            vec![self.variant(dice, (number, 0), (sort, None))]
        } else {
            let sizes = sizes.iter().enumerate();
            sizes
                .map(|(nth, size)| self.variant(dice, (number, nth), (sort, Some(*size))))
                .collect()
        };
        NewProduct {
            handle: format!("{}-{number}", handle_of(&title)),
            description: format!(
                "<p>{title} by {vendor}: {} made in small batches.</p><p>Keep it cool and dry, and \
                 away from {}.</p>",
                sort.kind.to_lowercase(),
                INCLUSIONS[dice.usize(0..INCLUSIONS.len())].to_lowercase()
            ),
            title,
            vendor,
            product_type: sort.kind.to_owned(),
            tags,
            options: if sizes.is_empty() { vec![] } else { vec!["Size".to_owned()] },
            variants,
        }
    }

    fn variant(
        &self,
        dice: &mut Rng,
        (number, nth): (u32, usize),
        (sort, size): (&Sort, Option<(&str, u32)>),
    ) -> NewVariant {
        // Twice as much costs a bit less than twice as much.
        let sizes = i64::try_from(nth).unwrap_or(0) * 8 / 10 + 1;
        let pence = sort.pence * sizes * dice.i64(8..20) / 10 / 5 * 5;
        let reduced = dice.u8(0..10) == 0;
        let pounds = |amount_minor| Money { amount_minor, currency: Currency::GBP };
        NewVariant {
            variant_id: VariantId::derive(&[&self.root, &number.to_be_bytes(), &[nth_byte(nth)]]),
            sku: Some(format!("CHO-{number:06}-{}", nth + 1)),
            barcode: (dice.u8(0..4) == 0)
                .then(|| format!("50{:011}", dice.u64(0..100_000_000_000))),
            option_values: size.map(|(name, _)| name.to_owned()).into_iter().collect(),
            weight_g: size.map(|(_, grams)| grams),
            price: Some(pounds(pence)),
            compare_at: reduced.then(|| pounds(pence + pence / 5)),
        }
    }
}

impl Goods {
    fn tell(&mut self, command: ProductCommand) -> anyhow::Result<()> {
        let events = self.state.decide(command)?;
        for event in &events {
            self.state.apply(event.clone());
        }
        self.made.push(events);
        Ok(())
    }
}

/// Whether a product is on sale.
pub(super) fn is_sold(number: u32) -> bool {
    !is_draft(number) && !is_archived(number)
}

fn is_draft(number: u32) -> bool {
    number % DRAFT_EVERY == DRAFT_EVERY - 1
}

fn is_archived(number: u32) -> bool {
    number % ARCHIVED_EVERY == ARCHIVED_EVERY - 1
}

fn nth_byte(nth: usize) -> u8 {
    u8::try_from(nth).unwrap_or(u8::MAX)
}

/// One of `of`, the front far more often than the back.
pub(super) fn front(dice: &mut Rng, of: usize) -> usize {
    dice.usize(0..of).min(dice.usize(0..of))
}

/// A made-up name, one of `NAME_HEADS` × `NAME_TAILS`.
fn name(number: usize) -> String {
    let head = NAME_HEADS[number % NAME_HEADS.len()];
    let tail = NAME_TAILS[number / NAME_HEADS.len() % NAME_TAILS.len()];
    format!("{head}{tail}")
}

fn title(dice: &mut Rng, sort: &Sort) -> String {
    let mut words: Vec<String> = Vec::new();
    if dice.u8(0..8) == 0 {
        words.push(name(MAKERS + dice.usize(0..LINES)));
    }
    if dice.u8(0..3) == 0 {
        words.push(ORIGINS[front(dice, ORIGINS.len())].to_owned());
    }
    words.push(STYLES[front(dice, STYLES.len())].to_owned());
    if dice.u8(0..10) < 6 {
        words.push("Chocolate".to_owned());
    }
    words.push(sort.forms[dice.usize(0..sort.forms.len())].to_owned());
    if dice.u8(0..4) == 0 {
        words.push(format!("{} %", 35 + 5 * dice.u8(0..14)));
    }
    if dice.u8(0..10) < 7 {
        words.push(format!("with {}", INCLUSIONS[front(dice, INCLUSIONS.len())]));
    }
    words.join(" ")
}
