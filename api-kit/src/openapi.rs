//! Parts every document has.

use std::collections::BTreeSet;

use event_schemas::ids;
use serde_json::Value;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, ResponseBuilder, Schema,
};

use crate::problem::{self, FieldError, Problem};

/// Name of the bearer scheme in the document.
pub const SECURITY_SCHEME: &str = "bearer";
/// Name of the one error response in the document.
pub const PROBLEM_RESPONSE: &str = "Problem";

const DESCRIPTION: &str = "Commands and queries of one store, chosen by the token. \
    Every error is a problem document (RFC 9457) whose codes are explained at `/problems`: \
    400 malformed, 401 no valid token, 402 payment declined, 403 not allowed, 404 unknown, \
    409 the state does not allow it, 412 changed since read, 413 too large, 415 not JSON, \
    422 a value is not acceptable, 425 not yet readable, 428 `If-Match` missing, 429 too many, \
    500 our fault, 503 try again. Commands take `Idempotency-Key`; repeating one changes nothing.";

/// An empty document with title, security scheme and the shared problem response.
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Conche")
        .version("1")
        .description(Some(DESCRIPTION))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
        .build();
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("What went wrong; see `code`.")
        .content(problem::MEDIA_TYPE, content)
        .build();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    let components = ComponentsBuilder::new()
        .schema_from::<Problem>()
        .schema_from::<FieldError>()
        // Types of parameters are not found by themselves, as those of bodies are.
        .schema_from::<ids::ProductId>()
        .schema_from::<ids::VariantId>()
        .schema_from::<ids::CheckoutId>()
        .schema_from::<ids::LineId>()
        .schema_from::<ids::OrderId>()
        .schema_from::<ids::PaymentId>()
        .schema_from::<ids::RefundId>()
        .schema_from::<ids::AdjustmentId>()
        .response(PROBLEM_RESPONSE, problem)
        .security_scheme(SECURITY_SCHEME, SecurityScheme::Http(bearer))
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// Both documents as one: operations of the same path are joined, components of `first` win.
pub fn merged(first: OpenApi, second: OpenApi) -> OpenApi {
    first.merge_from(second)
}

/// A name among `added` that is another type in `document`.
pub(crate) fn clash<'a>(
    document: &OpenApi,
    mut added: impl Iterator<Item = (&'a String, &'a RefOr<Schema>)>,
) -> Option<String> {
    let known = &document.components.as_ref()?.schemas;
    let differs = |(name, schema): &(&String, &RefOr<Schema>)| {
        known.get(*name).is_some_and(|known| known != *schema)
    };
    added.find(differs).map(|(name, _)| name.clone())
}

/// A schema name that means two types in `first` and `second`: [`merged`] would show one of them.
pub fn clash_between(first: &OpenApi, second: &OpenApi) -> Option<String> {
    let second = second.components.iter().flat_map(|components| &components.schemas);
    clash(first, second)
}

/// References that lead nowhere, such as `#/components/schemas/Order`; empty in a sound document.
/// Types of parameters have to be registered by hand: see [`document`].
pub fn dangling(document: &OpenApi) -> BTreeSet<String> {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    found.retain(|reference| {
        let pointer = reference.strip_prefix('#').unwrap_or_default();
        document.pointer(pointer).is_none()
    });
    found
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(reference) if name == "$ref" => {
                        found.insert(reference.clone());
                    }
                    member => references(member, found),
                }
            }
        }
        _ => {}
    }
}
