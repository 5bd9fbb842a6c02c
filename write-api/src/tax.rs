//! The tax policy of a store.

use api_kit::{Api, Body, Caller, Class, Etag, Permission, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use commands::CommandError;
use commands::tax::{self as use_case, NewTaxPolicy, NewTaxRate, NewTaxZone, TaxError, TaxPolicy};
use domain::pricing::STANDARD_CLASS;
use event_schemas::place::Place;
use event_schemas::quote::{Rate, Rounding, RoundingLevel, RoundingMode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::WriteState;
use crate::answer::{self, DoneBody};
use crate::refusal;
use crate::sender::Sender;

pub(crate) fn api() -> Api<WriteState> {
    use Permission::{PricingRead, PricingWrite};
    Api::new()
        .route(PricingWrite, routes!(define))
        // Reads the log and not a table, so it counts among the commands.
        .classed(Class::Normal, PricingRead, routes!(get))
}

/// How a store taxes what it sells. Send back what you read, changed: rates are added to those
/// there are, and a rate of the past cannot be changed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TaxPolicy, example = json!({
    "prices_include_tax": true, "rounding": { "level": "line", "mode": "half_up" },
    "shipping_class": "standard",
    "zones": [{
        "code": "uk", "places": [{ "country": "GB" }],
        "rates": [{ "class": "standard", "rate": 200_000 }, { "class": "food", "rate": 0 }]
    }]
}))]
struct TaxPolicyBody {
    /// Whether prices come with the tax in them; then it is shown, and not added.
    prices_include_tax: bool,
    /// How tax is rounded; each line, a half up, if left out.
    #[serde(default = "per_line")]
    rounding: Rounding,
    /// Class of the carriage; `standard` if left out.
    #[serde(default = "standard")]
    shipping_class: String,
    /// Places that are taxed alike, at most 100; what is sent anywhere else is not taxed.
    zones: Vec<TaxZoneBody>,
}

/// Places that are taxed alike.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TaxZone)]
struct TaxZoneBody {
    /// Your code of it, lower case.
    code: String,
    /// Countries and parts of countries; everywhere else if empty.
    places: Vec<Place>,
    /// Rates; a class that has none is not taxed. Those that are left out stay.
    rates: Vec<TaxRateBody>,
}

/// What a class of goods is taxed at.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TaxRate)]
struct TaxRateBody {
    /// The class: `standard`, unless a product names another.
    #[schema(example = "standard")]
    class: String,
    /// In millionths: 200000 is 20 %.
    rate: Rate,
    /// From when on; now if left out.
    from: Option<DateTime<Utc>>,
}

fn per_line() -> Rounding {
    Rounding { level: RoundingLevel::Line, mode: RoundingMode::HalfUp }
}

fn standard() -> String {
    STANDARD_CLASS.to_owned()
}

/// Sets how the store taxes. From then on checkouts need an address and a quote.
#[utoipa::path(put, path = "/api/v1/tax-policy", tag = "tax",
    params(api_kit::headers::Command, api_kit::headers::Precondition),
    request_body = TaxPolicyBody,
    responses((status = 200, description = "The next quote is made by it.", body = DoneBody)))]
async fn define(
    State(state): State<WriteState>,
    sender: Sender,
    Body { value, digest }: Body<TaxPolicyBody>,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.overwriting(&digest)?;
    let done = use_case::define(&state.ctx, &intent, value.into()).await.map_err(problem)?;
    Ok(answer::done(intent.store_id, done))
}

/// How the store taxes, with all rates that were ever set, read from the log.
#[utoipa::path(get, path = "/api/v1/tax-policy", tag = "tax",
    responses((status = 200, description = "The policy; `ETag` is its version, `\"v0\"` if there \
        is none yet.", body = TaxPolicyBody)))]
async fn get(
    State(state): State<WriteState>,
    caller: Caller,
) -> Result<impl IntoResponse, Problem> {
    let loaded = use_case::load(&state.ctx, caller.store_id).await;
    let loaded = loaded.map_err(|error| problem(CommandError::Store(error)))?;
    Ok((Etag(loaded.version), Json(TaxPolicyBody::from(loaded.state))))
}

impl From<TaxPolicyBody> for NewTaxPolicy {
    fn from(body: TaxPolicyBody) -> NewTaxPolicy {
        let TaxPolicyBody { prices_include_tax, rounding, shipping_class, zones } = body;
        let rate = |TaxRateBody { class, rate, from }| NewTaxRate { class, rate, from };
        let zone = |TaxZoneBody { code, places, rates }| {
            let rates = rates.into_iter().map(rate).collect();
            NewTaxZone { code, places, rates }
        };
        let zones = zones.into_iter().map(zone).collect();
        NewTaxPolicy { prices_include_tax, rounding, shipping_class, zones }
    }
}

impl From<TaxPolicy> for TaxPolicyBody {
    fn from(policy: TaxPolicy) -> TaxPolicyBody {
        let zones = policy.zones.into_iter().map(|(code, zone)| {
            let rates = zone.rates.into_iter().flat_map(|(class, rates)| {
                let dated = move |(from, rate)| {
                    let class = class.clone();
                    TaxRateBody { class, rate, from: Some(from) }
                };
                rates.into_iter().map(dated)
            });
            TaxZoneBody { code, places: zone.places, rates: rates.collect() }
        });
        let named = Some(policy.shipping_class).filter(|class| !class.is_empty());
        TaxPolicyBody {
            prices_include_tax: policy.prices_include_tax,
            rounding: policy.rounding.unwrap_or_else(per_line),
            shipping_class: named.unwrap_or_else(standard),
            zones: zones.collect(),
        }
    }
}

fn problem(error: CommandError<TaxError>) -> Problem {
    refusal::problem(error, rejected)
}

fn rejected(error: TaxError) -> Problem {
    match error {
        TaxError::Invalid { at, why } => Problem::invalid(&at, "invalid", why),
        error @ TaxError::RateOverlap { .. } => {
            Problem::new("tax_rate_overlap").detail(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_code() {
        let (zone, class) = (String::new(), String::new());
        let table = [
            (TaxError::Invalid { at: "/zones".to_owned(), why: "" }, "validation_failed"),
            (TaxError::RateOverlap { zone, class }, "tax_rate_overlap"),
        ];
        for (error, code) in table {
            let problem = rejected(error);
            assert_eq!((problem.status().as_u16(), problem.code()), (422, code));
        }
    }
}
