//! Parts every document has.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    ResponseBuilder,
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
        .response(PROBLEM_RESPONSE, problem)
        .security_scheme(SECURITY_SCHEME, SecurityScheme::Http(bearer))
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// Both documents as one: operations of the same path are joined, components of `first` win.
pub fn merged(first: OpenApi, second: OpenApi) -> OpenApi {
    first.merge_from(second)
}
