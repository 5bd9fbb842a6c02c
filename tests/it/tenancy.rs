//! The walls between stores.

use api_kit::Permission;
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::Value;
use sqlx::{Connection as _, Row as _};

use crate::app::{App, story};

/// Shows in whatever belongs to the first store, and nowhere else.
const CANARY: &str = "Canary praline";

#[test]
fn another_store_sees_nothing_and_reaches_nothing() {
    story(async |app: App| {
        let product = app.product(CANARY, 700, 5).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        let paid = app.pay(&checkout, "4242424242424242").await;
        let order = paid.text("/order/id");
        app.project().await;

        let stranger = app.token("elsewhere", Permission::ALL);
        let read = [
            format!("/api/v1/products/{}", product.id),
            "/api/v1/products/by-handle/canary-praline".to_owned(),
            format!("/api/v1/stock/{}", product.variant_id),
            format!("/api/v1/checkouts/{checkout}"),
            format!("/api/v1/orders/{order}"),
            format!("/api/v1/orders/{order}/timeline"),
        ];
        for path in read {
            assert_eq!(app.get(&path).await.status, StatusCode::OK, "{path}");
            let foreign = send(&app, &stranger, Method::GET, &path, "").await;
            let missing = send(&app, &stranger, Method::GET, &unknown(&path), "").await;
            assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(foreign.1, missing.1, "{path} tells that it exists");
        }
        for path in ["/api/v1/products", "/api/v1/orders", "/api/v1/products/search?q=canary"] {
            let (status, body) = send(&app, &stranger, Method::GET, path, "").await;
            assert_eq!((status, &body["data"]), (StatusCode::OK, &Value::Array(vec![])), "{path}");
        }
        let write = [
            (format!("/api/v1/products/{}/archive", product.id), "{}"),
            (format!("/api/v1/stock/{}/receive", product.variant_id), r#"{"quantity":1}"#),
            (format!("/api/v1/orders/{order}/cancel"), r#"{"reason":"mischief"}"#),
            (format!("/api/v1/checkouts/{checkout}/abandon"), "{}"),
        ];
        for (path, body) in write {
            let (status, answer) = send(&app, &stranger, Method::POST, &path, body).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {answer:#}");
        }
    });
}

#[test]
fn a_reader_bound_to_one_store_finds_no_row_of_another_in_any_table() {
    story(async |app: App| {
        let product = app.product(CANARY, 700, 5).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        app.pay(&checkout, "4242424242424242").await;
        app.project().await;
        let tables = "SELECT format('%I.%I', n.nspname, c.relname)
                        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE n.nspname IN ('log', 'read', 'analytics') AND c.relkind IN ('r', 'p', 'v')
                         AND NOT c.relispartition
                         AND has_table_privilege('conche_reader', c.oid, 'SELECT')
                         AND c.oid <> 'analytics.visible_stores'::regclass
                         AND EXISTS (SELECT FROM pg_attribute a
                                      WHERE a.attrelid = c.oid AND a.attname = 'store_id')";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&app.owner).await.unwrap();
        assert!(tables.len() > 10, "{tables:?}");
        let mut seen_as_owner = 0;
        for table in tables {
            let mut conn = app.reader.acquire().await.unwrap();
            let mut tx = conn.begin().await.unwrap();
            let elsewhere = event_schemas::ids::StoreId::of_slug("elsewhere").0.to_string();
            let bind = sqlx::query("SELECT set_config('app.store', $1, true)").bind(elsewhere);
            bind.execute(&mut *tx).await.unwrap();
            let count = format!("SELECT count(*) FROM {table}");
            let rows = sqlx::query(sqlx::AssertSqlSafe(count.clone()));
            let rows: i64 = rows.fetch_one(&mut *tx).await.unwrap().get(0);
            assert_eq!(rows, 0, "{table} shows rows of another store");
            let rows = sqlx::query(sqlx::AssertSqlSafe(count)).fetch_one(&app.owner).await.unwrap();
            seen_as_owner += i64::from(rows.get::<i64, _>(0) > 0);
        }
        assert!(seen_as_owner > 8, "only {seen_as_owner} tables have rows to hide");
    });
}

#[test]
fn no_table_view_function_or_role_gets_around_row_level_security() {
    story(async |app: App| {
        let findings = "
            SELECT 'no forced row-level security: ' || c.oid::regclass::text
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('log', 'read', 'process', 'vault')
               AND EXISTS (SELECT FROM pg_attribute a
                            WHERE a.attrelid = c.oid AND a.attname = 'store_id')
               AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
            UNION ALL
            SELECT 'role may bypass it: ' || rolname FROM pg_roles
             WHERE (rolbypassrls OR rolsuper) AND rolname LIKE 'conche\\_%'
            UNION ALL
            SELECT 'owned by a serving role: ' || c.oid::regclass::text FROM pg_class c
             WHERE c.relowner IN (SELECT oid FROM pg_roles WHERE rolname LIKE 'conche\\_%')
            UNION ALL
            SELECT 'view with its owner''s rights: ' || c.oid::regclass::text
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'v' AND n.nspname IN ('log', 'read', 'process', 'vault')
               AND NOT coalesce(c.reloptions @> '{security_invoker=true}', false)
            UNION ALL
            -- Those of analysts have them, and a wall of their own: `visible_stores`.
            SELECT 'view of analysts without a barrier: ' || c.oid::regclass::text
              FROM pg_class c
             WHERE c.relkind = 'v' AND c.relnamespace = 'analytics'::regnamespace
               AND NOT coalesce(c.reloptions @> '{security_barrier=true}', false)
            UNION ALL
            SELECT 'view of analysts that shows every store: ' || c.oid::regclass::text
              FROM pg_class c
             WHERE c.relkind = 'v' AND c.relnamespace = 'analytics'::regnamespace
               AND EXISTS (SELECT FROM pg_attribute a
                            WHERE a.attrelid = c.oid AND a.attname = 'store_id')
               AND c.relname <> 'visible_stores'
               AND pg_get_viewdef(c.oid) NOT LIKE '%analytics.visible_stores%'
            UNION ALL
            SELECT 'analysts may do more than read: ' || c.oid::regclass::text
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname IN ('log', 'read', 'process', 'vault', 'analytics') AND c.relkind IN ('r', 'p', 'v', 'S')
               AND (has_table_privilege('conche_analyst', c.oid,
                        'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                    OR (has_table_privilege('conche_analyst', c.oid, 'SELECT')
                        AND NOT (n.nspname = 'analytics' AND c.relkind = 'v')))
            UNION ALL
            SELECT 'function with its owner''s rights: ' || p.oid::regprocedure::text
              FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE p.prosecdef AND n.nspname IN ('log', 'read', 'process', 'vault', 'analytics')
            UNION ALL
            SELECT 'materialised view: ' || c.oid::regclass::text
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'm' AND n.nspname IN ('log', 'read', 'process', 'vault', 'analytics')
            UNION ALL
            SELECT 'key that does not begin with the store: ' || i.indexrelid::regclass::text
              FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
              JOIN pg_namespace n ON n.oid = c.relnamespace
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'store_id'
             WHERE i.indisunique AND i.indkey[0] <> a.attnum
               AND n.nspname IN ('log', 'read', 'process', 'vault')
               -- Positions are the log's own and belong to no store.
               AND pg_get_indexdef(i.indexrelid) NOT LIKE '%(\"position\")'";
        let findings: Vec<String> =
            sqlx::query_scalar(findings).fetch_all(&app.owner).await.unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    });
}

async fn send(
    app: &App,
    token: &str,
    method: Method,
    path: &str,
    body: &'static str,
) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let request = request.header("idempotency-key", "k").header("x-request-id", "same");
    let answer = app.send(request.body(Body::from(body)).unwrap()).await;
    let mut body = answer.body;
    if let Some(problem) = body.as_object_mut() {
        problem.remove("instance");
    }
    (answer.status, body)
}

/// The same path with an id or handle that nobody has.
fn unknown(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.split_once('_') {
        Some((prefix, _)) if prefix.len() == 3 => format!("{prefix}_01JD5ZK6V8E4R9T2Q7WX3Y0ABC"),
        _ => part.replace("canary-praline", "no-such-handle"),
    });
    parts.collect::<Vec<_>>().join("/")
}
