//! What an operator sees of a stream that a read model cannot go on with.

use std::process::ExitCode;

use axum::http::StatusCode;
use conche::{
    admin::parked,
    config::{Parked, ParkedStream},
};
use event_schemas::ids::{ProductId, StoreId};
use event_store::{NewEvent, StreamKey, Unit};

use crate::app::{App, STORE, story};

/// Appends an event to a product that no release knows.
async fn teleport(app: &App, product: &str) {
    let id: ProductId = product.parse().unwrap();
    let stream = StreamKey { store_id: StoreId::of_slug(STORE).0, category: "product", id: id.0 };
    let mut conn = app.owner.acquire().await.unwrap();
    let version: i64 = sqlx::query_scalar("SELECT version FROM log.streams WHERE stream_id = $1")
        .bind(id.0)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let event = NewEvent {
        event_id: (app.ctx.new_id)(),
        event_type: "ProductTeleported".to_owned(),
        schema_version: 1,
        payload: br#"{"type":"ProductTeleported"}"#.to_vec(),
    };
    let unit = Unit {
        stream,
        expected: version,
        command_id: (app.ctx.new_id)(),
        fingerprint: [0; 32],
        metadata: b"{}".to_vec(),
        keys: vec![],
        events: vec![event],
    };
    app.ctx.engine.append(vec![unit]).await.unwrap();
}

fn which(product: &str) -> ParkedStream {
    ParkedStream { name: "catalog".into(), stream: product.into(), store: Some(STORE.into()) }
}

#[test]
fn a_parked_stream_is_shown_tried_and_discarded() {
    story(async |app: App| {
        let bar = app.product("Dark Bar", 250, 3).await;
        let other = app.product("White Bar", 250, 3).await;
        teleport(&app, &bar.id).await;
        app.project().await;

        let health = app.get("/health/ready").await;
        assert_eq!(health.status, StatusCode::OK, "the rest is current: {:#}", health.body);
        let details = health.body["dependencies"].to_string();
        assert!(details.contains("parked: 1 events of 1 streams"), "{details}");
        let shown = app.get(&format!("/api/v1/products/{}", other.id)).await;
        assert_eq!(shown.status, StatusCode::OK);

        for ask in [
            Parked::List { name: None, json: false },
            Parked::List { name: Some("catalog".into()), json: true },
            Parked::Show { which: which(&bar.id) },
        ] {
            assert_eq!(parked::run(&app.owner, &ask).await.unwrap(), ExitCode::SUCCESS);
        }
        let stream = Some(bar.id.clone());
        let retry = Parked::Retry { name: Some("catalog".into()), stream, store: None };
        let retried = parked::run(&app.owner, &retry).await.unwrap();
        assert_eq!(retried, ExitCode::FAILURE, "nobody knows it yet");
        let discard = |reason: &str| Parked::Discard {
            which: which(&bar.id),
            reason: reason.into(),
            by: "ada".into(),
            all: false,
        };
        let refused = parked::run(&app.owner, &discard(" ")).await.unwrap_err();
        assert!(refused.to_string().contains("give a reason"), "{refused}");
        let done = parked::run(&app.owner, &discard("nothing moves like that")).await.unwrap();
        assert_eq!(done, ExitCode::SUCCESS);

        let unknown = parked::run(&app.owner, &discard("again")).await.unwrap_err();
        assert!(unknown.to_string().contains("is parked in catalog"), "{unknown}");
        assert_eq!(parked::run(&app.owner, &retry).await.unwrap(), ExitCode::FAILURE);
        let nothing = Parked::Retry { name: None, stream: None, store: None };
        assert_eq!(parked::run(&app.owner, &nothing).await.unwrap(), ExitCode::SUCCESS);
        assert_eq!(
            projections::verify(&app.owner, &projections::catalog::PROJECTION).await.unwrap(),
            []
        );
    });
}
