//! Both APIs, the documentation and the probes, behind one edge.

use api_kit::{Api, Edge, TokenKeys, openapi, problem};
use axum::Router;
use commands::Ctx;
use sqlx::PgPool;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use crate::health;

/// Everything under one address.
pub fn both(keys: TokenKeys, ctx: &Ctx, reader: PgPool) -> anyhow::Result<Router> {
    let (write, write_document) = write_api::api().finish()?;
    let (read, read_document) = read_api::api().finish()?;
    let router = write.with_state(write_api::WriteState { ctx: ctx.clone() }).merge(read.with_state(reader.clone()));
    finish(keys, ctx, router, openapi::merged(write_document, read_document), reader)
}

/// The command API alone.
pub fn write(keys: TokenKeys, ctx: &Ctx, reader: PgPool) -> anyhow::Result<Router> {
    let (router, document) = write_api::api().finish()?;
    finish(keys, ctx, router.with_state(write_api::WriteState { ctx: ctx.clone() }), document, reader)
}

/// The query API alone.
pub fn read(keys: TokenKeys, ctx: &Ctx, reader: PgPool) -> anyhow::Result<Router> {
    let (router, document) = read_api::api().finish()?;
    finish(keys, ctx, router.with_state(reader.clone()), document, reader)
}

fn finish(
    keys: TokenKeys,
    ctx: &Ctx,
    router: Router,
    document: OpenApi,
    reader: PgPool,
) -> anyhow::Result<Router> {
    let (probes, probes_document) = health::api().finish()?;
    let document = openapi::merged(document, probes_document);
    let router = router
        .merge(probes.with_state(reader))
        .merge(problem::pages::router())
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document));
    let Ctx { now, new_id, .. } = ctx.clone();
    Ok(Edge::new(keys, move || now(), new_id).wrap(router))
}

/// The OpenAPI document of everything under one address.
pub fn document() -> anyhow::Result<OpenApi> {
    let write: Api<write_api::WriteState> = write_api::api();
    let (_, write) = write.finish()?;
    let (_, read) = read_api::api().finish()?;
    let (_, probes) = health::api().finish()?;
    Ok(openapi::merged(openapi::merged(write, read), probes))
}
