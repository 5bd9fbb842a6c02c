//! Reading old versions: every stored payload is lifted, step by step, to the current shape.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{cart, catalog, checkout, coupon, inventory, order, payment, shipping, store, tax};

/// Why a stored payload could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No event enum belongs to the category: the event comes from a newer program.
    #[error("no events are known of category `{0}`")]
    UnknownCategory(String),
    /// The payload does not fit its type and version.
    #[error("the payload does not read as its event")]
    Payload(#[from] serde_json::Error),
}

/// One step of one event type: from a version to the next.
#[derive(Clone, Copy, Debug)]
pub struct Upcast {
    /// Such as `OrderPlaced`.
    pub event_type: &'static str,
    /// Version this step reads; it writes `from + 1`.
    pub from: u16,
    /// Edits the payload in place. Total: it must accept every payload stored at `from`.
    pub change: fn(&mut Map<String, Value>),
}

/// Every step of every context. Steps of one event type stand in version order.
pub fn all() -> impl Iterator<Item = &'static Upcast> {
    let contexts = [
        cart::UPCASTS,
        catalog::UPCASTS,
        inventory::UPCASTS,
        checkout::UPCASTS,
        order::UPCASTS,
        payment::UPCASTS,
        coupon::UPCASTS,
        shipping::UPCASTS,
        store::UPCASTS,
        tax::UPCASTS,
    ];
    contexts.into_iter().flatten()
}

/// Reads a stored payload of any version as the current event type `E`.
///
/// Fails if no chain of steps leads from `version` to the current shape: then a release went out
/// without its upcast, or an older program meets a newer event, and the reader must stop rather
/// than skip the event.
pub fn decode<E: DeserializeOwned>(
    event_type: &str,
    version: u16,
    payload: &[u8],
) -> Result<E, serde_json::Error> {
    decode_with(all(), event_type, version, payload)
}

/// Reads a stored payload of any category and version, and gives it in the current shape.
pub fn current(
    category: &str,
    event_type: &str,
    version: u16,
    payload: &[u8],
) -> Result<Value, ReadError> {
    let value = match category {
        "product" => lift::<catalog::ProductEvent>(event_type, version, payload)?,
        "stock_item" => lift::<inventory::StockItemEvent>(event_type, version, payload)?,
        "cart" => lift::<cart::CartEvent>(event_type, version, payload)?,
        "checkout" => lift::<checkout::CheckoutEvent>(event_type, version, payload)?,
        "order" => lift::<order::OrderEvent>(event_type, version, payload)?,
        "refund_adjustment" => lift::<order::AdjustmentEvent>(event_type, version, payload)?,
        "store" => lift::<store::StoreEvent>(event_type, version, payload)?,
        "payment" => lift::<payment::PaymentEvent>(event_type, version, payload)?,
        "coupon" => lift::<coupon::CouponEvent>(event_type, version, payload)?,
        "shipping_profile" => lift::<shipping::ShippingEvent>(event_type, version, payload)?,
        "tax_policy" => lift::<tax::TaxEvent>(event_type, version, payload)?,
        other => return Err(ReadError::UnknownCategory(other.to_owned())),
    };
    Ok(value)
}

fn lift<E: DeserializeOwned + Serialize>(
    event_type: &str,
    version: u16,
    payload: &[u8],
) -> Result<Value, serde_json::Error> {
    serde_json::to_value(decode::<E>(event_type, version, payload)?)
}

fn decode_with<'a, E: DeserializeOwned>(
    steps: impl Iterator<Item = &'a Upcast>,
    event_type: &str,
    version: u16,
    payload: &[u8],
) -> Result<E, serde_json::Error> {
    let mut current = 1;
    let mut fields: Option<Map<String, Value>> = None;
    for step in steps.filter(|step| step.event_type == event_type) {
        current = step.from + 1;
        if step.from >= version {
            let fields = match &mut fields {
                Some(fields) => fields,
                None => fields.insert(serde_json::from_slice(payload)?),
            };
            (step.change)(fields);
        }
    }
    if version > current {
        // It may well fit the shape we know, and mean something else.
        let newer = format!("version {version} is newer than this program, which knows {current}");
        return Err(serde::de::Error::custom(newer));
    }
    match fields {
        Some(fields) => serde_json::from_value(Value::Object(fields)),
        // The usual case, a current event, does not pass through a JSON tree.
        None => serde_json::from_slice(payload),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Third {
        name: String,
        channel: String,
        quantity: u32,
    }

    const STEPS: &[Upcast] = &[
        Upcast { event_type: "Other", from: 1, change: |fields| fields.clear() },
        Upcast {
            event_type: "Sold",
            from: 1,
            change: |fields| {
                fields.insert("channel".into(), json!("web"));
            },
        },
        Upcast {
            event_type: "Sold",
            from: 2,
            change: |fields| {
                let count = fields.remove("count").unwrap_or(json!(1));
                fields.insert("quantity".into(), count);
            },
        },
    ];

    fn read(version: u16, payload: &Value) -> Result<Third, serde_json::Error> {
        decode_with(STEPS.iter(), "Sold", version, payload.to_string().as_bytes())
    }

    #[test]
    fn each_version_passes_the_steps_it_still_needs() {
        let third =
            |channel: &str| Third { name: "bar".into(), channel: channel.into(), quantity: 2 };
        let first = json!({ "name": "bar", "count": 2 });
        assert_eq!(read(1, &first).unwrap(), third("web"));
        let second = json!({ "name": "bar", "count": 2, "channel": "pos" });
        assert_eq!(read(2, &second).unwrap(), third("pos"));
        let current = json!({ "name": "bar", "quantity": 2, "channel": "pos" });
        assert_eq!(read(3, &current).unwrap(), third("pos"));
    }

    #[test]
    fn a_version_without_its_step_is_an_error_and_not_a_guess() {
        assert!(read(3, &json!({ "name": "bar", "count": 2 })).is_err());
    }

    #[test]
    fn a_newer_version_is_an_error_even_if_it_fits() {
        let current = json!({ "name": "bar", "quantity": 2, "channel": "pos" });
        let error = read(4, &current).unwrap_err().to_string();
        assert_eq!(error, "version 4 is newer than this program, which knows 3");
    }

    #[test]
    fn steps_of_one_event_type_stand_in_version_order_without_holes() {
        let steps: Vec<_> = all().collect();
        for (before, step) in steps.iter().zip(steps.iter().skip(1)) {
            if before.event_type == step.event_type {
                assert_eq!(before.from + 1, step.from, "{}", step.event_type);
            }
        }
    }
}
