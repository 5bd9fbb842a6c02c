//! What shoppers type, and what they find.

use std::time::Duration;

use api_kit::Permission;
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::app::{Answer, App, story};

/// How long an index may take to follow, or to be filled anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a product is made of: title, category, tags, pence, units.
type Item<'a> = (&'a str, &'a str, &'a [&'a str], i64, u32);

const SHELF: &[Item<'static>] = &[
    ("Dark chocolate bar", "Bar", &["Vegan", "gift"], 350, 5),
    ("Milk chocolate bar", "Bar", &["gift"], 300, 0),
    ("Truffle", "Box", &["gift"], 1250, 3),
    ("Truffle mould", "Tool", &[], 1800, 1),
    ("Crème brûlée <3", "Dessert", &["vegan"], 650, 0),
];

impl App {
    async fn shelve(&self, store: &str, (title, kind, tags, pence, units): &Item<'_>) -> String {
        // Later than the one before.
        self.wait(TimeDelta::seconds(1));
        let price = json!({ "amount_minor": pence, "currency": "GBP" });
        let body = json!({
            "title": title, "vendor": "Conche", "product_type": kind, "tags": tags,
            "variants": [{ "price": price }],
        });
        let made = self.tell(store, "/api/v1/products", &body).await;
        let path = format!("/api/v1/products/{}/publish", made.text("/id"));
        self.tell(store, &path, &json!({})).await;
        let path = format!("/api/v1/stock/{}/receive", made.text("/variant_ids/0"));
        if 0 < *units {
            self.tell(store, &path, &json!({ "location": "main", "quantity": units })).await;
        }
        made.text("/id")
    }

    async fn tell(&self, store: &str, path: &str, body: &Value) -> Answer {
        let token = self.token(store, Permission::ALL);
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", (self.ctx.new_id)().to_string());
        let answer = self.send(request.body(Body::from(body.to_string())).unwrap()).await;
        assert!(answer.status.is_success(), "{path}: {:#}", answer.body);
        answer
    }

    /// Everything in the log shows in the read models.
    async fn fill(&self, store: &str, items: &[Item<'_>]) {
        for item in items {
            self.shelve(store, item).await;
        }
        self.project().await;
    }

    /// An answer that shows everything in the log.
    async fn fresh(&self, store: &str, path: &str) -> Answer {
        let head: i64 = sqlx::query_scalar("SELECT position FROM log.head")
            .fetch_one(&self.projector)
            .await
            .unwrap();
        let shown = async {
            loop {
                let answer = self.at_least(head, store, path).await;
                if answer.header("x-stale").is_empty() && answer.status.as_u16() != 503 {
                    return answer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, shown).await.expect("the index follows")
    }

    async fn at_least(&self, position: i64, store: &str, path: &str) -> Answer {
        let token = self.token(store, Permission::ALL);
        let request = Request::get(format!("/api/v1/products{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header("x-min-position", position);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn titles(&self, path: &str) -> Vec<String> {
        titles(&self.fresh("demo", path).await)
    }
}

fn titles(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    let data = answer.body["data"].as_array().unwrap();
    data.iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn products_are_found_by_what_people_type() {
    story(async |app: App| {
        app.fill("demo", SHELF).await;
        let table: &[(&str, &[&str])] = &[
            ("/search?q=truffle", &["Truffle", "Truffle mould"]),
            ("/search?q=choc", &["Milk chocolate bar", "Dark chocolate bar"]),
            ("/search?q=drak%20choclate", &["Dark chocolate bar"]),
            ("/search?q=creme%20BRULEE", &["Crème brûlée <3"]),
            ("/search?q=vegan%20bar", &["Dark chocolate bar"]),
            ("/search?q=conche&filter[category]=Tool", &["Truffle mould"]),
            ("/search?q=gift&sort=price", &["Milk chocolate bar", "Dark chocolate bar", "Truffle"]),
            ("/search?q=gift&sort=-price&limit=1", &["Truffle"]),
            ("/search?tags=VEGAN&sort=title", &["Crème brûlée <3", "Dark chocolate bar"]),
            ("/search?priceMin=351&priceMax=1250&sort=price", &["Crème brûlée <3", "Truffle"]),
            ("/search?filter[price][gte]=1800", &["Truffle mould"]),
            ("/search?inStock=false&sort=title", &["Crème brûlée <3", "Milk chocolate bar"]),
            ("/search?q=bar&filter[in_stock]=true", &["Dark chocolate bar"]),
            ("/search?filter[status]=draft,archived", &[]),
            ("/search?filter[vendor]=Nobody", &[]),
            ("/search?q=%25%27%22", &[]),
            // The list, narrowed or in another order than newest first.
            ("?filter[category]=Bar&sort=price", &["Milk chocolate bar", "Dark chocolate bar"]),
            ("?tag=gift&limit=1", &["Truffle"]),
            ("?sort=-price&limit=2", &["Truffle mould", "Truffle"]),
            ("?filter[status]=active&limit=1", &["Crème brûlée <3"]),
            // While they type.
            ("/suggest?q=tr", &["Truffle mould", "Truffle"]),
            ("/suggest?q=gift", &[]),
            ("/suggest?q=milk%20c&filter[status]=active", &["Milk chocolate bar"]),
            ("/suggest?q=", &[]),
        ];
        for (path, expected) in table {
            assert_eq!(app.titles(path).await, *expected, "{path}");
        }
        let page = app.fresh("demo", "/search?q=creme").await;
        assert_eq!(page.text("/data/0/highlighted_title"), "<mark>Crème</mark> brûlée &lt;3");
        assert_eq!(page.body["data"][0]["variants"][0]["price"]["amount_minor"], 650);
    });
}

#[test]
fn what_was_found_is_counted_by_kind() {
    story(async |app: App| {
        app.fill("demo", SHELF).await;
        let page = app.fresh("demo", "/search?limit=1").await;
        assert_eq!(page.body["total"], 5);
        let price = |from: i64, to: i64, count: u64| {
            let amount = |minor: i64| json!({ "amount_minor": minor, "currency": "GBP" });
            json!({ "from": amount(from), "to": amount(to), "count": count })
        };
        let expected = json!({
            "tags": [{ "value": "gift", "count": 3 }, { "value": "Vegan", "count": 2 }],
            "category": [
                { "value": "Bar", "count": 2 }, { "value": "Box", "count": 1 },
                { "value": "Dessert", "count": 1 }, { "value": "Tool", "count": 1 },
            ],
            "vendor": [{ "value": "Conche", "count": 5 }],
            "price": [price(200, 500, 2), price(500, 1000, 1), price(1000, 2000, 2)],
            "in_stock": { "yes": 3, "no": 2 },
        });
        assert_eq!(page.body["facets"], expected);
        let page = app.fresh("demo", "/search?q=gift&inStock=true&facets=category").await;
        let expected = json!([{ "value": "Bar", "count": 1 }, { "value": "Box", "count": 1 }]);
        assert_eq!(page.body["facets"], json!({ "category": expected }));
        let page = app.fresh("demo", "/search?q=gift&facets=none").await;
        assert_eq!((&page.body["facets"], &page.body["total"]), (&json!({}), &json!(3)));
    });
}

#[test]
fn pages_of_a_search_meet_in_both_directions() {
    story(async |app: App| {
        let bars: Vec<String> = (1..=7).map(|nth| format!("Bar {}", nth % 3)).collect();
        let items: Vec<Item<'_>> =
            bars.iter().map(|title| (title.as_str(), "Bar", &[][..], 100, 0)).collect();
        app.fill("demo", &items).await;
        for sort in ["relevance", "-created_at", "title", "price", "-price"] {
            let all = app.fresh("demo", &format!("/search?q=bar&sort={sort}")).await;
            let all = all.body["data"].as_array().unwrap().clone();
            assert_eq!(all.len(), 7, "{sort}");
            let mut walked = Vec::new();
            let mut path = format!("/search?q=bar&sort={sort}&limit=3");
            let last = loop {
                let page = app.fresh("demo", &path).await;
                walked.extend(page.body["data"].as_array().unwrap().clone());
                let Some(next) = page.body["page"]["next"].as_str() else { break page };
                assert!(page.header("link").contains("rel=\"next\""), "{}", page.header("link"));
                path = format!("/search?q=bar&sort={sort}&limit=3&after={next}");
            };
            assert_eq!(walked, all, "{sort}");
            let back = last.text("/page/prev");
            let back = format!("/search?q=bar&sort={sort}&limit=3&before={back}");
            let back = app.fresh("demo", &back).await;
            assert_eq!(back.body["data"], json!(all[3..6]), "{sort}");
        }
        let cursor = app.fresh("demo", "/search?q=bar&limit=1").await.text("/page/next");
        for path in [format!("/search?sort=title&after={cursor}"), format!("?after={cursor}")] {
            assert_eq!(app.fresh("demo", &path).await.text("/code"), "bad_cursor", "{path}");
        }
        let path = format!("/search?q=bar&after={cursor}");
        assert_eq!(app.fresh("elsewhere", &path).await.text("/code"), "bad_cursor");
    });
}

#[test]
fn a_store_finds_and_counts_its_own_only() {
    story(async |app: App| {
        app.fill("demo", SHELF).await;
        app.fill("elsewhere", &[("Truffle", "Truffles", &["ours"], 100, 1)]).await;
        let ask = ["/search", "/search?q=truffle", "/search?q=trufle", "/search?q=t"];
        for path in ask {
            let found = app.fresh("elsewhere", path).await;
            assert_eq!(titles(&found), ["Truffle"], "{path}");
            assert_eq!(found.body["total"], 1, "{path}");
            let tags = json!([{ "value": "ours", "count": 1 }]);
            assert_eq!(found.body["facets"]["tags"], tags, "{path}");
            assert_eq!(found.body["facets"]["in_stock"], json!({ "yes": 1, "no": 0 }), "{path}");
        }
        for path in ["/suggest?q=tru", "?sort=title", "?filter[category]=Truffles"] {
            assert_eq!(titles(&app.fresh("elsewhere", path).await), ["Truffle"], "{path}");
        }
        for path in ["/search?q=chocolate", "/suggest?q=dark", "?tag=gift", "?category=Bar"] {
            assert_eq!(titles(&app.fresh("elsewhere", path).await), [""; 0], "{path}");
            assert_eq!(titles(&app.fresh("nobody", path).await), [""; 0], "{path}");
        }
    });
}

#[test]
fn the_index_follows_the_catalogue_and_says_how_far_it_is() {
    story(async |app: App| {
        app.fill("demo", &SHELF[..1]).await;
        assert_eq!(app.titles("/search?q=dark").await, ["Dark chocolate bar"]);

        let id = app.shelve("demo", &("Dark nibs", "Nibs", &[], 500, 0)).await;
        let position =
            app.tell("demo", &format!("/api/v1/products/{id}/archive"), &json!({})).await;
        let position: i64 = position.header("x-position").parse().unwrap();
        let stale = app.at_least(position, "demo", "/search?q=dark").await;
        assert_eq!(titles(&stale), ["Dark chocolate bar"], "nobody has projected yet");
        assert_eq!(stale.header("x-stale"), "true");
        assert!(stale.header("x-position").parse::<i64>().unwrap() < position);
        app.project().await;
        let fresh = app.fresh("demo", "/search?q=dark").await;
        assert_eq!(titles(&fresh), ["Dark nibs", "Dark chocolate bar"]);
        assert!(position <= fresh.header("x-position").parse().unwrap());
        assert_eq!(app.titles("/search?q=dark&status=archived").await, ["Dark nibs"]);

        // The last five are sold.
        assert_eq!(app.titles("/search?inStock=true").await, ["Dark chocolate bar"]);
        let dark = app.fresh("demo", "/search?q=chocolate").await.text("/data/0/variants/0/id");
        let checkout = app.begin(&dark, 5).await.text("/id");
        app.project().await;
        assert_eq!(app.titles("/search?inStock=true").await, [""; 0]);
        let given_up = app.post(&format!("/api/v1/checkouts/{checkout}/abandon"), &json!({})).await;
        assert!(given_up.status.is_success(), "{:#}", given_up.body);
        sagas::drain(&app.saga).await.unwrap();
        app.project().await;
        assert_eq!(app.titles("/search?inStock=true").await, ["Dark chocolate bar"]);
    });
}

#[test]
fn an_index_is_filled_anew_when_other_tables_take_the_place_of_the_old() {
    story(async |app: App| {
        app.fill("demo", SHELF).await;
        let forge = "UPDATE read.catalog_products SET title = 'Forged' WHERE title = 'Truffle'";
        let forged = app.owner.execute(forge).await.unwrap();
        assert_eq!(forged.rows_affected(), 1);
        let second = app.another(api_kit::Limits::default()).await;
        assert_eq!(second.titles("/search?q=forged").await, ["Forged"], "it read what was there");

        let catalogue = &projections::catalog::PROJECTION;
        projections::rebuild(&second.owner, catalogue, &|_, _| {}).await.unwrap();
        let filled_anew = async {
            while !second.titles("/search?q=forged").await.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, filled_anew).await.expect("the rebuild is noticed");
        let found = second.titles("/search?q=truffle").await;
        assert_eq!(found, ["Truffle", "Truffle mould"]);
    });
}

#[test]
fn unknown_questions_are_refused_with_what_there_is() {
    let cases = [
        ("/search?collection=x", "unknown_parameter", "filter[category]"),
        ("/search?filter[colour]=x", "unknown_parameter", "filter[price][gte]"),
        ("/search?page=2", "unknown_parameter", "after"),
        ("/search?sort=colour", "validation_failed", "relevance"),
        ("/search?facets=colour", "validation_failed", "in_stock"),
        ("/search?filter[status]=eaten", "validation_failed", "archived"),
        ("/search?inStock=perhaps", "validation_failed", "`true` or `false`"),
        ("/search?priceMin=1.5", "validation_failed", "priceMin"),
        ("/search?limit=101", "validation_failed", "100"),
        ("/search?q=%00", "validation_failed", "U+0000"),
        ("?q=bar", "unknown_parameter", "filter[category]"),
        ("?sort=relevance", "validation_failed", "-price"),
        ("/suggest", "validation_failed", "q"),
        ("/suggest?q=a&limit=21", "validation_failed", "20"),
    ];
    story(async move |app: App| {
        for (path, code, named) in cases {
            let refused = app.get(&format!("/api/v1/products{path}")).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
            assert_eq!(refused.text("/code"), code, "{path}");
            assert!(refused.body.to_string().contains(named), "{path}: {:#}", refused.body);
        }
    });
}

#[test]
fn no_text_is_a_fault() {
    const LETTERS: &[&str] = &[
        "a",
        "choc",
        "'",
        "\"",
        "\\",
        "%",
        "_",
        "*",
        "?",
        "~",
        "(",
        ")",
        "[",
        "^",
        "+",
        "-",
        ":",
        " ",
        "AND",
        "\u{0}",
        "\u{202E}",
        "\u{200D}",
        "\u{FEFF}",
        "é",
        "e\u{301}",
        "🍫",
        "漢字",
        "שלום",
        "\u{10FFFF}",
        "1",
        "\n",
    ];
    story(async |app: App| {
        app.fill("demo", &SHELF[..2]).await;
        app.titles("/search").await;
        let mut random = fastrand::Rng::with_seed(4);
        for nth in 0..150 {
            let length = random.usize(0..if nth % 10 == 0 { 3_000 } else { 40 });
            let text: String =
                (0..length).map(|_| LETTERS[random.usize(..LETTERS.len())]).collect();
            let q = text.bytes().fold(String::new(), |q, byte| format!("{q}%{byte:02X}"));
            for path in ["search?q=", "search?sort=title&tags=", "suggest?q="] {
                let answer = app.get(&format!("/api/v1/products/{path}{q}")).await;
                let status = answer.status.as_u16();
                assert!([200, 414, 422].contains(&status), "{path}{text:?}: {:#}", answer.body);
            }
        }
    });
}
