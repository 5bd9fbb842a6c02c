//! Both APIs, the documentation and the probes, behind one edge.

use api_kit::{Edge, TokenKeys, openapi, problem};
use axum::{Router, response::Redirect, routing::get};
use commands::Ctx;
use providers::payment::{PaymentProvider, Sandbox};
use sqlx::PgPool;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};
use write_api::WriteState;

use crate::health;

/// Connections of what is served.
#[derive(Clone, Debug)]
pub struct Pools {
    /// Answers queries; sees one store at a time.
    pub reader: PgPool,
    /// Answers probes; sees how old the events are that nobody has applied yet.
    pub probe: PgPool,
}

/// Everything under one address.
pub fn both(keys: TokenKeys, ctx: &Ctx, pools: Pools) -> anyhow::Result<Router> {
    let (write, write_document) = write_api::api().finish()?;
    let (read, read_document) = read_api::api().finish()?;
    let write = write.with_state(write_state(ctx));
    let router = write.merge(read.with_state(pools.reader));
    finish(keys, ctx, router, openapi::merged(write_document, read_document), pools.probe)
}

/// The command API alone.
pub fn write(keys: TokenKeys, ctx: &Ctx, pools: Pools) -> anyhow::Result<Router> {
    let (router, document) = write_api::api().finish()?;
    finish(keys, ctx, router.with_state(write_state(ctx)), document, pools.probe)
}

/// The query API alone.
pub fn read(keys: TokenKeys, ctx: &Ctx, pools: Pools) -> anyhow::Result<Router> {
    let (router, document) = read_api::api().finish()?;
    finish(keys, ctx, router.with_state(pools.reader), document, pools.probe)
}

fn write_state(ctx: &Ctx) -> WriteState {
    WriteState { ctx: ctx.clone(), provider: PaymentProvider::Sandbox(Sandbox::default()) }
}

fn finish(
    keys: TokenKeys,
    ctx: &Ctx,
    router: Router,
    document: OpenApi,
    probe: PgPool,
) -> anyhow::Result<Router> {
    let (probes, probes_document) = health::api().finish()?;
    let document = openapi::merged(document, probes_document);
    // The validator would be asked from somebody else's server.
    let page = Config::default().validator_url("none").persist_authorization(false);
    let router = router
        .merge(probes.with_state(probe))
        .merge(problem::pages::router())
        .route("/", get(async || Redirect::temporary("/docs/")))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document).config(page));
    let Ctx { now, new_id, .. } = ctx.clone();
    Ok(Edge::new(keys, move || now(), new_id).wrap(router))
}

/// The OpenAPI document of everything under one address.
pub fn document() -> anyhow::Result<OpenApi> {
    let (_, write) = write_api::api().finish()?;
    let (_, read) = read_api::api().finish()?;
    let (_, probes) = health::api().finish()?;
    Ok(openapi::merged(openapi::merged(write, read), probes))
}
