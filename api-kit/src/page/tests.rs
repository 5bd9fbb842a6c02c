use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::Request;
use serde_json::json;
use utoipa_axum::routes;

use super::*;
use crate::auth::{Caller, Permission};
use crate::params::Query;
use crate::routes::Api;
use crate::tests::{Answer, ask, send, store, token_of};

/// The list: 1 to 45, in this order.
const ALL: i64 = 45;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    #[serde(default)]
    #[param(value_type = u16)]
    limit: Limit,
    after: Option<String>,
    before: Option<String>,
    #[serde(default)]
    q: String,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
struct Row {
    number: i64,
}

#[utoipa::path(get, path = "/rows", params(ListQuery, crate::headers::Read),
    responses((status = 200, body = Page<Row>)))]
async fn list(
    caller: Caller,
    uri: OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Page<Row>, Problem> {
    assert!(uri.path().ends_with("/rows") && query.q.len() < 10);
    let ListQuery { limit, after, before, .. } = query;
    let paging = Paging::new(limit, after, before, caller.store_id, "rows")?;
    let key: Option<(i64, String)> = paging.key()?;
    let rows = usize::try_from(paging.rows()).unwrap();
    let rows: Vec<Row> = if paging.backward() {
        let end = key.map_or(ALL + 1, |(number, _)| number);
        (1..end).rev().take(rows).map(|number| Row { number }).collect()
    } else {
        let begin = key.map_or(0, |(number, _)| number);
        (begin + 1..=ALL).take(rows).map(|number| Row { number }).collect()
    };
    Ok(paging.page(rows, |row| (row.number, row.number.to_string())))
}

fn api() -> Api {
    Api::new().nest("/api/v1", Api::new().route(Permission::OrdersRead, routes!(list)))
}

async fn fetch(path: &str) -> Answer {
    send(api(), ask("GET", path).body(Body::empty()).unwrap()).await
}

fn numbers(answer: &Answer) -> Vec<i64> {
    let rows = answer.body["data"].as_array().unwrap().iter();
    rows.map(|row| row["number"].as_i64().unwrap()).collect()
}

/// The address of a neighbour, from the `Link` header.
fn linked(answer: &Answer, rel: &str) -> Option<String> {
    let links = answer.header("link")?;
    let link = links.split(", ").find(|link| link.ends_with(&format!("rel=\"{rel}\"")))?;
    Some(link.split(['<', '>']).nth(1).unwrap().to_owned())
}

#[tokio::test]
async fn following_next_shows_every_row_once_and_prev_leads_back() {
    let first = fetch("/api/v1/rows").await;
    assert_eq!(numbers(&first), (1..=20).collect::<Vec<_>>());
    assert_eq!(first.body["page"]["has_more"], true);
    assert_eq!(first.body["page"]["prev"], Value::Null);
    let second = fetch(&linked(&first, "next").unwrap()).await;
    assert_eq!(numbers(&second), (21..=40).collect::<Vec<_>>());
    let third = fetch(&linked(&second, "next").unwrap()).await;
    assert_eq!(numbers(&third), (41..=45).collect::<Vec<_>>());
    assert_eq!(third.body["page"]["has_more"], false);
    assert_eq!(third.body["page"]["next"], Value::Null);
    assert_eq!(linked(&third, "next"), None);

    let back = fetch(&linked(&third, "prev").unwrap()).await;
    assert_eq!(numbers(&back), numbers(&second));
    assert_eq!(back.body["page"]["has_more"], true);
    let back = fetch(&linked(&back, "prev").unwrap()).await;
    assert_eq!(numbers(&back), numbers(&first));
    assert_eq!(back.body["page"]["prev"], Value::Null);
}

#[tokio::test]
async fn links_keep_the_rest_of_the_query() {
    let first = fetch("/api/v1/rows?limit=2&q=a%20b").await;
    let next = linked(&first, "next").unwrap();
    assert!(next.starts_with("/api/v1/rows?limit=2&q=a%20b&after="), "{next}");
    let second = fetch(&next).await;
    assert_eq!(numbers(&second), [3, 4]);
    assert_eq!(linked(&second, "next").unwrap().matches("after=").count(), 1);
}

#[tokio::test]
async fn a_page_that_ends_with_the_list_has_no_next() {
    let whole = fetch("/api/v1/rows?limit=45").await;
    assert_eq!((numbers(&whole).len(), &whole.body["page"]["has_more"]), (45, &false.into()));
    assert_eq!(whole.header("link"), None);
}

#[tokio::test]
async fn a_cursor_is_good_for_its_list_and_store_only() {
    let first = fetch("/api/v1/rows").await;
    let next = linked(&first, "next").unwrap();
    let token = token_of("other", Permission::ALL);
    let request = Request::get(next).header("authorization", format!("Bearer {token}"));
    let got = send(api(), request.body(Body::empty()).unwrap()).await;
    assert_eq!((got.status.as_u16(), got.code()), (400, "bad_cursor"));

    let foreign = write_cursor(store(), "products", &(20, "20"));
    assert_eq!(fetch(&format!("/api/v1/rows?after={foreign}")).await.code(), "bad_cursor");
}

#[tokio::test]
async fn what_is_no_cursor_is_refused() {
    let forged = |key: Value| write_cursor(store(), "rows", &key);
    let old = json!({ "v": 0, "list": "rows", "store": store(), "key": [20, "20"] });
    let long = "A".repeat(10_000);
    assert_eq!(
        fetch(&format!("/api/v1/rows?after={}", forged(json!([20, "x"])))).await.status,
        200
    );
    for cursor in [
        String::new(),
        "x".into(),
        "%20".into(),
        "e30".into(),
        "bnVsbA".into(),
        "_____w".into(),
        long,
        URL_SAFE_NO_PAD.encode(old.to_string()),
        URL_SAFE_NO_PAD.encode("[".repeat(1_000)),
        forged(json!([20])),
        forged(json!("text")),
        forged(json!([20.5, "20"])),
        forged(json!([20, "\u{0}"])),
        forged(json!([20, "+262142-12-31T23:59:59Z"])),
        forged(json!([20, "-0001-12-31T23:59:59Z"])),
    ] {
        for side in ["after", "before"] {
            let got = fetch(&format!("/api/v1/rows?{side}={cursor}")).await;
            assert_eq!((got.status.as_u16(), got.code()), (400, "bad_cursor"), "{cursor}");
        }
    }
    let got = fetch("/api/v1/rows?after=a&before=b").await;
    assert_eq!(got.refusal(), (422, "validation_failed", "before conflict".to_owned()));
}

#[tokio::test]
async fn the_document_knows_the_row_of_the_page() {
    let (_, document) = api().finish().unwrap();
    let document = serde_json::to_value(document).unwrap();
    let list = &document["paths"]["/api/v1/rows"]["get"];
    let schema = &list["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/Page_Row");
    let page = &document["components"]["schemas"]["Page_Row"]["properties"];
    assert_eq!(page["data"]["items"]["properties"]["number"]["type"], "integer");
    assert_eq!(page["page"]["$ref"], "#/components/schemas/PageLinks");
    let names: Vec<&str> =
        list["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(names, ["limit", "after", "before", "q", "X-Min-Position", "X-Request-Timeout"]);
}
