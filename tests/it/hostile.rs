//! Every query against whatever a client may send: refused with a reason or answered, at once, and
//! never a fault.

use std::time::{Duration, Instant};

use api_kit::Permission;
use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, header},
};
use serde_json::Value;

use crate::app::{App, story};

/// As they stand in an address.
const VALUES: &[&str] = &[
    "",
    "%00",
    "a%00b",
    "%FF%FE",
    "%",
    "%25",
    "_%25_%25_%25",
    "%27%3B%20DROP%20TABLE%20read.catalog_products%3B--",
    "%22%5C%27%60%24%7B1%7D",
    "%E2%80%AE%D7%A9%D7%9C%D7%95%D7%9D",
    "%F0%9F%8D%AB%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9",
    "-1",
    "0",
    "101",
    "9223372036854775808",
    "1e999",
    "NaN",
    "null",
    "-9999-01-01",
    "2026-02-30",
    "9999-12-31T23:59:60Z",
    "eyJ2IjoxfQ",
    "%28%7C%26%21%3A%2A%29",
    "a,b,,c",
    "ord_01JD5ZK6V8E4R9T2Q7WX3Y0ABC",
];

/// Longer than any question takes on a busy machine with a small shop.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A query of the document.
struct Route {
    path: String,
    parameters: Vec<String>,
}

/// Every query that needs a token, with ids that are there.
fn routes(ids: &[(&str, &str)]) -> Vec<Route> {
    let document = serde_json::to_value(conche::http::document().unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let reads = paths.iter().filter_map(|(path, item)| {
        let read = item.get("get").filter(|read| read.get("x-public").is_none())?;
        let parameters = read["parameters"].as_array().into_iter().flatten();
        let queries = parameters.filter(|parameter| parameter["in"] == "query");
        let names = queries.map(|parameter| parameter["name"].as_str().unwrap().to_owned());
        let path = ids.iter().fold(path.clone(), |path, (name, id)| path.replace(name, id));
        // Whatever else names something names nothing.
        let parts =
            path.split('/').map(|part| if part.starts_with('{') { "nothing" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        Some(Route { path, parameters: names.collect() })
    });
    let routes: Vec<Route> = reads.collect();
    assert!(routes.len() > 10);
    routes
}

struct Shop {
    app: App,
    routes: Vec<Route>,
}

/// What is looked at of an answer.
struct Told {
    status: u16,
    body: Value,
}

impl Shop {
    async fn open(app: App) -> Shop {
        let product = app.product("Sea salt bar", 450, 10).await;
        app.product("Truffle box", 2_500, 3).await;
        let mut order = String::new();
        let mut checkout = String::new();
        for _ in 0..2 {
            checkout = app.begin(&product.variant_id, 1).await.text("/id");
            order = app.pay(&checkout, "4242424242424242").await.text("/order/id");
        }
        app.project().await;
        let ids = [
            ("{product_id}", product.id.as_str()),
            ("{variant_id}", product.variant_id.as_str()),
            ("{checkout_id}", checkout.as_str()),
            ("{order_id}", order.as_str()),
            ("{handle}", "sea-salt-bar"),
        ];
        Shop { routes: routes(&ids), app }
    }

    async fn ask(&self, address: &str) -> Told {
        let began = Instant::now();
        let request = self.app.request(Method::GET, address).body(Body::empty()).unwrap();
        let response = self.app.begin_answer(request).await;
        let shown = &address[..address.len().min(200)];
        assert!(began.elapsed() < AT_ONCE, "{shown} took {:?}", began.elapsed());
        let status = response.status().as_u16();
        assert!(status < 500, "{shown} is answered {status}");
        if status == 200 {
            // It may go on for ever.
            return Told { status, body: Value::Null };
        }
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{shown}");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(body.len() < 10_000, "{shown} is answered at length");
        Told { status, body: serde_json::from_slice(&body).unwrap() }
    }
}

#[test]
fn no_value_of_a_parameter_is_a_fault() {
    let long = "a".repeat(10_000);
    let many = "x,".repeat(5_000);
    story(async move |app: App| {
        let shop = Shop::open(app).await;
        for Route { path, parameters } in &shop.routes {
            for name in parameters {
                let name = name.replace('[', "%5B").replace(']', "%5D");
                for value in VALUES.iter().copied().chain([long.as_str(), many.as_str()]) {
                    shop.ask(&format!("{path}?{name}={value}")).await;
                }
                let twice = shop.ask(&format!("{path}?{name}=1&{name}=1")).await;
                assert_eq!(twice.status, 422, "{path}?{name} twice: {:#}", twice.body);
            }
            for query in ["%", "=", "&", "&&==&", "%00=1", "%FF=1", "[=1", "a[b[c]]=1", &long] {
                shop.ask(&format!("{path}?{query}")).await;
            }
        }
    });
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    story(async |app: App| {
        let shop = Shop::open(app).await;
        for Route { path, parameters } in &shop.routes {
            for name in ["colour", "filter[colour]", "page"] {
                let told = shop.ask(&format!("{path}?{name}=brown")).await;
                if parameters.iter().any(|known| known == name) {
                    continue;
                }
                assert_eq!(told.status, 422, "{path}?{name}");
                assert_eq!(told.body["code"], "unknown_parameter", "{path}: {:#}", told.body);
                assert_eq!(told.body["errors"][0]["parameter"], name, "{path}");
                let known = parameters.iter().all(|parameter| {
                    let detail = told.body["detail"].as_str().unwrap();
                    detail.ends_with('…') || detail.contains(&format!("`{parameter}`"))
                });
                assert!(known, "{path} names what it knows: {:#}", told.body);
            }
            if parameters.iter().any(|name| name == "limit") {
                for limit in ["0", "101", "1000000", "x"] {
                    let told = shop.ask(&format!("{path}?limit={limit}")).await;
                    assert_eq!(told.status, 422, "{path}?limit={limit}");
                    assert_eq!(told.body["errors"][0]["parameter"], "limit", "{:#}", told.body);
                }
            }
            if parameters.iter().any(|name| name == "sort") {
                let told = shop.ask(&format!("{path}?sort=taste")).await;
                assert_eq!(told.status, 422, "{path}?sort=taste");
                assert_eq!(told.body["errors"][0]["parameter"], "sort", "{:#}", told.body);
            }
        }
    });
}

#[test]
fn a_cursor_is_good_for_its_list_in_its_store() {
    story(async |app: App| {
        let shop = Shop::open(app).await;
        let mut tried = 0;
        for Route { path, parameters } in &shop.routes {
            if !parameters.iter().any(|name| name == "limit") {
                continue;
            }
            let page = shop.app.get(&format!("{path}?limit=1")).await;
            let Some(next) = page.body.pointer("/page/next").and_then(Value::as_str) else {
                continue;
            };
            let next = format!("{path}?limit=1&after={next}");
            assert_eq!(shop.ask(&next).await.status, 200, "{path}");
            let token = shop.app.token("elsewhere", Permission::ALL);
            let request = Request::get(&next);
            let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            let stranger = shop.app.send(request.body(Body::empty()).unwrap()).await;
            assert!(matches!(stranger.status.as_u16(), 400 | 404), "{path}: {:#}", stranger.body);
            for broken in ["x", "eyJ2IjoxfQ", &next[next.len() - 9..]] {
                let told = shop.ask(&format!("{path}?after={broken}")).await;
                assert_eq!(
                    (told.status, &told.body["code"]),
                    (400, &"bad_cursor".into()),
                    "{path}"
                );
            }
            tried += 1;
        }
        assert!(tried > 3, "{tried} lists have a second page");
    });
}
