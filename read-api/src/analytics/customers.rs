//! How many customers there are and what they are worth; and one of them. A customer is who orders
//! under the same reference of yours; guests are counted apart.

use api_kit::{Path, Problem, Query};
use axum::Json;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use event_schemas::money::Money;
use projections::analytics::customers::{self as stored, Customer, Spending};
use projections::analytics::{
    CustomerReportError, CustomerValue, DayRange, PROJECTION, customer_report,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{average, bad_range, day, utc, zone};
use crate::reader::{Freshness, Reader, unreadable};
use crate::value::money;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CustomersQuery {
    /// First day.
    #[serde(rename = "dateFrom", deserialize_with = "day")]
    #[param(example = "2010-12-01")]
    date_from: NaiveDate,
    /// Last day, included. At most 3,660 days.
    #[serde(rename = "dateTo", deserialize_with = "day")]
    #[param(example = "2010-12-31")]
    date_to: NaiveDate,
    /// Whose days: a name of the IANA time zone database.
    #[serde(default = "utc", deserialize_with = "zone")]
    #[param(value_type = Option<String>, default = "UTC", example = "Europe/London")]
    time_zone: Tz,
}

/// Customers of a time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomerReport)]
pub(super) struct CustomersBody {
    /// Time zone of the days.
    #[schema(example = "Europe/London")]
    time_zone: &'static str,
    date_from: NaiveDate,
    date_to: NaiveDate,
    /// Whose first paid order was placed on the last day or earlier.
    total: i64,
    /// Of these, whose first paid order was placed on these days.
    new: i64,
    /// Who placed a paid order on these days, and the first one earlier.
    returning: i64,
    /// Paid orders of these days without a customer reference.
    guest_orders: i64,
    /// By currency code. Over all time until now, whatever the days.
    lifetime_values: Vec<ValueBody>,
}

/// What customers are worth in one currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomerLifetimeValue)]
struct ValueBody {
    #[schema(example = "GBP")]
    currency: String,
    /// Customers with a paid order in the currency.
    customers: i64,
    /// Totals of these orders.
    gross: Money,
    /// Money given back to these customers.
    refunds: Money,
    /// Gross less refunds, by customers, rounded to the minor unit, half away from zero.
    average: Option<Money>,
}

/// A customer as of now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomerMetrics)]
pub(super) struct CustomerBody {
    /// Your reference.
    customer_reference: String,
    /// Paid orders; 0 for somebody who was only given money back.
    orders_count: i64,
    first_order_at: Option<DateTime<Utc>>,
    last_order_at: Option<DateTime<Utc>>,
    /// By currency code.
    spending: Vec<SpendingBody>,
}

/// What a customer has spent in one currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomerSpending)]
struct SpendingBody {
    #[schema(example = "GBP")]
    currency: String,
    orders_count: i64,
    /// Totals of paid orders.
    gross: Money,
    /// Money given back.
    refunds: Money,
    /// Gross less refunds.
    total_spent: Money,
    /// Gross by orders, rounded to the minor unit, half away from zero; null without an order.
    average_order: Option<Money>,
}

/// Customers: all, new and returning ones, and what they are worth.
#[utoipa::path(get, path = "/api/v1/analytics/customers", tag = "analytics",
    operation_id = "analytics_customers",
    params(CustomersQuery, api_kit::headers::Read),
    responses((status = 200, description = "The report.", body = CustomersBody)))]
pub(super) async fn customers(
    reader: Reader,
    Query(query): Query<CustomersQuery>,
) -> Result<(Freshness, Json<CustomersBody>), Problem> {
    let CustomersQuery { date_from, date_to, time_zone } = query;
    let mut view = reader.view(&PROJECTION).await?;
    let days = DayRange { from: date_from, to: date_to, zone: time_zone };
    let report = customer_report(view.conn(), reader.store_id(), days).await;
    let report = report.map_err(|error| match error {
        CustomerReportError::Range(error) => bad_range(error),
        CustomerReportError::Database(error) => unreadable(error),
    })?;
    let body = CustomersBody {
        time_zone: time_zone.name(),
        date_from,
        date_to,
        total: report.total,
        new: report.new,
        returning: report.returning,
        guest_orders: report.guest_orders,
        lifetime_values: report.values.into_iter().map(ValueBody::new).collect(),
    };
    Ok((view.freshness, Json(body)))
}

/// One customer: orders and what was spent.
#[utoipa::path(get, path = "/api/v1/analytics/customers/{customer_reference}", tag = "analytics",
    operation_id = "analytics_customer",
    params(
        ("customer_reference" = String, Path, description = "Your reference, percent-encoded."),
        api_kit::headers::Read
    ),
    responses((status = 200, description = "The customer.", body = CustomerBody)))]
pub(super) async fn customer(
    reader: Reader,
    Path(reference): Path<String>,
) -> Result<(Freshness, Json<CustomerBody>), Problem> {
    if reference.contains('\0') {
        // No text that PostgreSQL could be asked for, so nobody's.
        return Err(Problem::new("customer_not_found"));
    }
    let mut view = reader.view(&PROJECTION).await?;
    let found = stored::get(view.conn(), reader.store_id(), &reference).await;
    let found = found.map_err(unreadable)?;
    let customer = found.ok_or_else(|| Problem::new("customer_not_found"))?;
    Ok((view.freshness, Json(CustomerBody::new(customer))))
}

impl ValueBody {
    fn new(value: CustomerValue) -> ValueBody {
        let CustomerValue { currency, customers, gross_minor, refunded_minor } = value;
        ValueBody {
            customers,
            gross: money(gross_minor, &currency),
            refunds: money(refunded_minor, &currency),
            average: average(gross_minor - refunded_minor, customers, &currency),
            currency,
        }
    }
}

impl CustomerBody {
    fn new(customer: Customer) -> CustomerBody {
        CustomerBody {
            customer_reference: customer.customer_reference,
            orders_count: customer.orders,
            first_order_at: customer.first_order_at,
            last_order_at: customer.last_order_at,
            spending: customer.spending.into_iter().map(SpendingBody::new).collect(),
        }
    }
}

impl SpendingBody {
    fn new(spending: Spending) -> SpendingBody {
        let Spending { currency, orders, gross_minor, refunded_minor } = spending;
        SpendingBody {
            orders_count: orders,
            gross: money(gross_minor, &currency),
            refunds: money(refunded_minor, &currency),
            total_spent: money(gross_minor - refunded_minor, &currency),
            average_order: average(gross_minor, orders, &currency),
            currency,
        }
    }
}
