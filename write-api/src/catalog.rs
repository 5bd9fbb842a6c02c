//! Products: create, describe, add variants, price, publish.

use api_kit::{Api, Body, NoBody, Path, Permission, Problem};
use axum::extract::State;
use axum::response::IntoResponse;
use commands::catalog as use_case;
use commands::{CommandError, Done, Intent};
use domain::catalog::{HANDLE_CHARS_MAX, NewProduct, ProductError, handle_of};
use event_schemas::ids::{ProductId, VariantId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::WriteState;
use crate::answer::{self, DoneBody};
use crate::sender::Sender;

mod body;
mod problem;

use body::{CreateProduct, DescribeProduct, PriceBody, TaxClassBody, VariantBody};
use problem::problem;

/// Handles tried for a product that came without one. More products of the same name want names.
const HANDLE_TRIES_MAX: u32 = 50;

pub(crate) fn api() -> Api<WriteState> {
    use Permission::ProductsWrite;
    Api::new()
        .route(ProductsWrite, routes!(create))
        .route(ProductsWrite, routes!(describe))
        .route(ProductsWrite, routes!(add_variant))
        .route(ProductsWrite, routes!(set_price))
        .route(ProductsWrite, routes!(set_tax_class))
        .route(ProductsWrite, routes!(publish))
        .route(ProductsWrite, routes!(unpublish))
        .route(ProductsWrite, routes!(archive))
}

/// A product that was created.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedProduct {
    #[serde(flatten)]
    done: DoneBody,
    /// Its variants, in the order they were sent.
    variant_ids: Vec<VariantId>,
}

/// A variant that was added.
#[derive(Debug, Serialize, ToSchema)]
struct AddedVariant {
    /// The product, its version and the position.
    #[serde(flatten)]
    done: DoneBody,
    /// The variant.
    variant_id: VariantId,
}

/// Creates a product, as a draft.
#[utoipa::path(post, path = "/api/v1/products", tag = "products",
    params(api_kit::headers::Command),
    request_body = CreateProduct,
    responses((status = 201, description = "The draft is there; `Location` says where.",
        body = CreatedProduct)))]
async fn create(
    State(state): State<WriteState>,
    sender: Sender,
    Body { value, digest }: Body<CreateProduct>,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&digest);
    let named = value.handle.is_some();
    // A repeat answers the variants of the first time: their ids follow from the command.
    let product = new_product(value, &intent);
    let variant_ids = product.variants.iter().map(|variant| variant.variant_id).collect();
    let done = if named {
        let id = use_case::new_product_id(&intent);
        use_case::create(&state.ctx, &intent, id, product).await
    } else {
        create_with_free_handle(&state, &intent, product).await
    };
    let done = done.map_err(problem)?;
    let product_id = ProductId(done.id);
    let body = CreatedProduct { done: DoneBody::new(product_id, done), variant_ids };
    Ok(answer::created("products", product_id, done, body))
}

fn new_product(body: CreateProduct, intent: &Intent) -> NewProduct {
    let CreateProduct { title, handle, description, vendor, product_type, tags, options, variants } =
        body;
    let mut variants = variants;
    if variants.is_empty() && options.is_empty() {
        variants.push(VariantBody::default());
    }
    let new_variant = |(index, new): (usize, VariantBody)| {
        new.into_variant(use_case::new_variant_id(intent, index))
    };
    NewProduct {
        handle: handle.unwrap_or_else(|| handle_of(&title)),
        title,
        description,
        vendor,
        product_type,
        tags,
        options,
        variants: variants.into_iter().enumerate().map(new_variant).collect(),
    }
}

/// Creates a product whose handle nobody chose: while it is taken, a number is appended.
async fn create_with_free_handle(
    state: &WriteState,
    intent: &Intent,
    product: NewProduct,
) -> Result<Done, CommandError<ProductError>> {
    let id = use_case::new_product_id(intent);
    let base = product.handle.clone();
    // The number still fits behind a handle cut to this length.
    let base = base.get(..HANDLE_CHARS_MAX - 4).unwrap_or(&base).trim_end_matches('-');
    let mut answer = use_case::create(&state.ctx, intent, id, product.clone()).await;
    for number in 2..=HANDLE_TRIES_MAX {
        if !matches!(&answer, Err(CommandError::Taken { scope, .. }) if scope == use_case::HANDLE) {
            break;
        }
        let product = NewProduct { handle: format!("{base}-{number}"), ..product.clone() };
        answer = use_case::create(&state.ctx, intent, id, product).await;
    }
    answer
}

/// Changes texts and tags of a product.
#[utoipa::path(patch, path = "/api/v1/products/{product_id}", tag = "products",
    params(("product_id" = ProductId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    request_body = DescribeProduct,
    responses((status = 200, description = "The texts are as sent.", body = DoneBody)))]
async fn describe(
    State(state): State<WriteState>,
    sender: Sender,
    Path(product_id): Path<ProductId>,
    Body { value, digest }: Body<DescribeProduct>,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.overwriting(&digest)?;
    let done = use_case::describe(&state.ctx, &intent, product_id, value.into()).await;
    let done = done.map_err(problem)?;
    Ok(answer::done(product_id, done))
}

/// Adds a variant to a product.
#[utoipa::path(post, path = "/api/v1/products/{product_id}/variants", tag = "products",
    params(("product_id" = ProductId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    request_body = VariantBody,
    responses((status = 201, description = "The variant is there.", body = AddedVariant)))]
async fn add_variant(
    State(state): State<WriteState>,
    sender: Sender,
    Path(product_id): Path<ProductId>,
    Body { value, digest }: Body<VariantBody>,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&digest);
    let variant_id = use_case::new_variant_id(&intent, 0);
    let variant = value.into_variant(variant_id);
    let done = use_case::add_variant(&state.ctx, &intent, product_id, variant).await;
    let done = done.map_err(problem)?;
    let body = AddedVariant { done: DoneBody::new(product_id, done), variant_id };
    Ok(answer::created("products", product_id, done, body))
}

/// Sets what a variant costs from now on.
#[utoipa::path(put, path = "/api/v1/products/{product_id}/variants/{variant_id}/price",
    tag = "products",
    params(("product_id" = ProductId, Path), ("variant_id" = VariantId, Path),
        api_kit::headers::Command, api_kit::headers::Precondition),
    request_body = PriceBody,
    responses((status = 200, description = "The price is as sent.", body = DoneBody)))]
async fn set_price(
    State(state): State<WriteState>,
    sender: Sender,
    Path((product_id, variant_id)): Path<(ProductId, VariantId)>,
    Body { value, digest }: Body<PriceBody>,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&digest);
    let PriceBody { price, compare_at } = value;
    let price = use_case::NewPrice { variant_id, price, compare_at };
    let done = use_case::set_price(&state.ctx, &intent, product_id, price).await;
    let done = done.map_err(problem)?;
    Ok(answer::done(product_id, done))
}

/// Sets which class of goods a product is taxed as.
#[utoipa::path(put, path = "/api/v1/products/{product_id}/tax-class", tag = "products",
    params(("product_id" = ProductId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    request_body = TaxClassBody,
    responses((status = 200, description = "The next quote is made by it.", body = DoneBody)))]
async fn set_tax_class(
    State(state): State<WriteState>,
    sender: Sender,
    Path(product_id): Path<ProductId>,
    Body { value, digest }: Body<TaxClassBody>,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&digest);
    let done = use_case::set_tax_class(&state.ctx, &intent, product_id, value.tax_class).await;
    let done = done.map_err(problem)?;
    Ok(answer::done(product_id, done))
}

/// Puts a draft on sale.
///
/// `409 product_not_publishable` names what is missing: a variant with a price.
#[utoipa::path(post, path = "/api/v1/products/{product_id}/publish", tag = "products",
    params(("product_id" = ProductId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    responses((status = 200, description = "The product is on sale.", body = DoneBody)))]
async fn publish(
    State(state): State<WriteState>,
    sender: Sender,
    Path(product_id): Path<ProductId>,
    body: NoBody,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&body.digest);
    let done = use_case::publish(&state.ctx, &intent, product_id).await.map_err(problem)?;
    Ok(answer::done(product_id, done))
}

/// Takes a product off sale; it is a draft again.
#[utoipa::path(post, path = "/api/v1/products/{product_id}/unpublish", tag = "products",
    params(("product_id" = ProductId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    responses((status = 200, description = "The product is a draft.", body = DoneBody)))]
async fn unpublish(
    State(state): State<WriteState>,
    sender: Sender,
    Path(product_id): Path<ProductId>,
    body: NoBody,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&body.digest);
    let done = use_case::unpublish(&state.ctx, &intent, product_id).await.map_err(problem)?;
    Ok(answer::done(product_id, done))
}

/// Takes a product out of the range, for good. Its history stays.
#[utoipa::path(post, path = "/api/v1/products/{product_id}/archive", tag = "products",
    params(("product_id" = ProductId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    responses((status = 200, description = "The product is archived.", body = DoneBody)))]
async fn archive(
    State(state): State<WriteState>,
    sender: Sender,
    Path(product_id): Path<ProductId>,
    body: NoBody,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&body.digest);
    let done = use_case::archive(&state.ctx, &intent, product_id).await.map_err(problem)?;
    Ok(answer::done(product_id, done))
}
