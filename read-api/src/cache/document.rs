//! What the document says of answers that clients may keep.

use api_kit::headers;
use utoipa::IntoParams as _;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{Header, RefOr, ResponseBuilder};

/// Adds `If-None-Match`, `ETag` and `304`.
pub(super) fn validators(operation: &mut Operation) {
    let parameters = headers::Validator::into_params(|| Some(ParameterIn::Header));
    operation.parameters.get_or_insert_default().extend(parameters.into_iter().map(RefOr::T));
    let responses = &mut operation.responses.responses;
    if let Some(RefOr::T(response)) = responses.get_mut("200") {
        let mut etag = Header::default();
        etag.description = Some("Names this answer; send it as `If-None-Match`.".to_owned());
        response.headers.insert("ETag".to_owned(), RefOr::T(etag));
    }
    let unchanged = "The answer is still the one that `If-None-Match` names.";
    let unchanged = ResponseBuilder::new().description(unchanged).build();
    responses.insert("304".to_owned(), unchanged.into());
}
