//! What lists and exports of orders can be narrowed to.

use api_kit::{FieldError, Problem};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use projections::order::list::{OrderBy, OrderFilter, OrderSort};
use serde::Deserialize;
use utoipa::ToSchema;

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderStatus {
    Placed,
    Confirmed,
    Paid,
    Cancelling,
    Cancelled,
}

impl OrderStatus {
    fn code(self) -> &'static str {
        match self {
            OrderStatus::Placed => "placed",
            OrderStatus::Confirmed => "confirmed",
            OrderStatus::Paid => "paid",
            OrderStatus::Cancelling => "cancelling",
            OrderStatus::Cancelled => "cancelled",
        }
    }
}

/// Where the money of an order is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum FinancialStatus {
    Authorised,
    Paid,
    PartiallyRefunded,
    Refunded,
    Voided,
}

impl FinancialStatus {
    fn code(self) -> &'static str {
        match self {
            FinancialStatus::Authorised => "authorised",
            FinancialStatus::Paid => "paid",
            FinancialStatus::PartiallyRefunded => "partially_refunded",
            FinancialStatus::Refunded => "refunded",
            FinancialStatus::Voided => "voided",
        }
    }
}

/// Where an order was made.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderChannel {
    Api,
    Import,
}

impl OrderChannel {
    fn code(self) -> &'static str {
        match self {
            OrderChannel::Api => "api",
            OrderChannel::Import => "import",
        }
    }
}

/// Order of the list.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(super) enum OrderOrder {
    /// Placed last comes first.
    #[default]
    #[serde(rename = "-placed_at")]
    Newest,
    /// Placed first comes first.
    #[serde(rename = "placed_at")]
    Oldest,
    /// By number, as text.
    #[serde(rename = "number")]
    Number,
    /// By number, the other way round.
    #[serde(rename = "-number")]
    NumberDown,
    /// By total in minor units, lowest first, whatever the currency.
    #[serde(rename = "total")]
    Total,
    /// By total, highest first.
    #[serde(rename = "-total")]
    TotalDown,
}

impl OrderOrder {
    /// How it is sorted, and the name of the list: a cursor of one order is none of another.
    pub(super) fn sort(self) -> (OrderSort, &'static str) {
        let (by, descending, name) = match self {
            OrderOrder::Newest => (OrderBy::PlacedAt, true, "orders"),
            OrderOrder::Oldest => (OrderBy::PlacedAt, false, "orders, oldest first"),
            OrderOrder::Number => (OrderBy::Number, false, "orders by number"),
            OrderOrder::NumberDown => (OrderBy::Number, true, "orders by number, down"),
            OrderOrder::Total => (OrderBy::Total, false, "orders by total"),
            OrderOrder::TotalDown => (OrderBy::Total, true, "orders by total, down"),
        };
        (OrderSort { by, descending }, name)
    }
}

/// The filters of a query, as it has them.
#[derive(Debug)]
pub(super) struct Filters {
    pub(super) statuses: Vec<OrderStatus>,
    pub(super) financial_statuses: Vec<FinancialStatus>,
    pub(super) channels: Vec<OrderChannel>,
    pub(super) currencies: Vec<String>,
    pub(super) countries: Vec<String>,
    pub(super) placed: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    pub(super) dates: (Option<NaiveDate>, Option<NaiveDate>),
    pub(super) total: (Option<i64>, Option<i64>),
    pub(super) customer: Option<String>,
    pub(super) sku: Option<String>,
    pub(super) q: Option<String>,
}

impl Filters {
    /// `422` if the same thing is said twice.
    pub(super) fn filter(self) -> Result<OrderFilter, Problem> {
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let twice = |plain, other: &str| {
            let error = FieldError::parameter(plain, "conflict", format!("not with {other}"));
            Problem::new("validation_failed").error(error)
        };
        let ((placed_from, placed_before), (date_from, date_to)) = (self.placed, self.dates);
        if date_from.is_some() && placed_from.is_some() {
            return Err(twice("dateFrom", "filter[placed_at][gte]"));
        }
        if date_to.is_some() && placed_before.is_some() {
            return Err(twice("dateTo", "filter[placed_at][lt]"));
        }
        // A year is four digits at most: there is a next day.
        let after = date_to.and_then(|day| day.checked_add_days(Days::new(1)));
        let text = |code: &str| code.to_owned();
        Ok(OrderFilter {
            statuses: self.statuses.iter().map(|it| text(it.code())).collect(),
            financial_statuses: self.financial_statuses.iter().map(|it| text(it.code())).collect(),
            channels: self.channels.iter().map(|it| text(it.code())).collect(),
            currencies: self.currencies,
            countries: self.countries,
            placed_from: placed_from.or(date_from.map(midnight)),
            placed_before: placed_before.or(after.map(midnight)),
            total_from: self.total.0,
            total_to: self.total.1,
            customer: self.customer,
            sku: self.sku,
            search: self.q,
        })
    }
}
