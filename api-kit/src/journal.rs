//! Who tried what and was refused: told to whoever keeps the journal, without personal data.

use axum::extract::{MatchedPath, OriginalUri, Request};
use axum::http::{Method, Uri};
use axum::response::Response;
use event_schemas::ids::{ActorId, StoreId};
use uuid::Uuid;

use crate::auth::{RequestId, Visitor};
use crate::problem::Problem;

/// A command of somebody known that was answered with a refusal (`4xx`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub store_id: StoreId,
    pub actor_id: ActorId,
    /// Id of the operation in the document, such as `checkouts_begin`.
    pub operation: String,
    /// Code and status of the problem.
    pub code: &'static str,
    pub status: u16,
    pub request_id: RequestId,
    pub correlation_id: Uuid,
    /// Path of the request. What stands in the place of an id and is none is left out: only the
    /// client knows what it is.
    pub path: String,
}

/// What of a request a refusal would be about. Cheap to make: most commands are not refused.
#[derive(Debug)]
pub(crate) struct Attempt {
    store_id: StoreId,
    actor_id: ActorId,
    request_id: RequestId,
    correlation_id: Uuid,
    method: Method,
    uri: Uri,
    route: Option<MatchedPath>,
}

impl Attempt {
    /// `None` if the request is no command.
    pub(crate) fn of(visitor: &Visitor, request: &Request) -> Option<Attempt> {
        if request.method().is_safe() {
            return None;
        }
        let whole = request.extensions().get::<OriginalUri>();
        Some(Attempt {
            store_id: visitor.store_id,
            actor_id: visitor.actor_id,
            request_id: visitor.request_id.clone(),
            correlation_id: visitor.correlation_id,
            method: request.method().clone(),
            uri: whole.map_or_else(|| request.uri(), |OriginalUri(uri)| uri).clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
        })
    }

    /// What to note of the `response`, if it is a refusal. `operations` are those of the address.
    pub(crate) fn refused(
        self,
        response: &Response,
        operations: &[(Method, String)],
    ) -> Option<Refused> {
        let status = response.status();
        if !status.is_client_error() {
            return None;
        }
        // An error without a problem is one of a library; the edge makes a problem of it.
        let problem = response.extensions().get::<Problem>();
        let code = problem.map_or_else(
            || crate::problem::codes::for_status(status.as_u16()),
            |problem| problem.code(),
        );
        let operation = operations.iter().find(|(method, _)| *method == self.method);
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        Some(Refused {
            store_id: self.store_id,
            actor_id: self.actor_id,
            operation: operation.map_or_else(String::new, |(_, id)| id.clone()),
            code,
            status: status.as_u16(),
            request_id: self.request_id,
            correlation_id: self.correlation_id,
            path: without_texts(route, self.uri.path()),
        })
    }
}

/// The path, with `{name}` where a parameter of the route is no id of ours.
fn without_texts(route: &str, path: &str) -> String {
    let path = path.split('/').map(Some).chain(std::iter::repeat(None));
    let parts = route.split('/').zip(path).map(|(part, sent)| match sent {
        Some(sent) if part.starts_with('{') && is_id(sent) => sent,
        _ => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Whether the text has the form of an id, such as `ord_01J…`.
fn is_id(text: &str) -> bool {
    let Some((prefix, id)) = text.split_once('_') else { return false };
    let alphanumeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    prefix.len() == 3 && id.len() == 26 && alphanumeric(prefix) && alphanumeric(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_ids_and_loses_what_else_somebody_wrote() {
        let route = "/api/v1/orders/{order_id}/cancel";
        let id = "/api/v1/orders/ord_01JD5ZK6V8E4R9T2Q7WX3Y0ABC/cancel";
        assert_eq!(without_texts(route, id), id);
        for text in ["ada@example.com", "ord_", "", "%00", "ord_01JD5ZK6V8E4R9T2Q7WX3Y0AB%"] {
            let sent = format!("/api/v1/orders/{text}/cancel");
            assert_eq!(without_texts(route, &sent), route, "{text}");
        }
        assert_eq!(without_texts("/api/v1/orders", "/api/v1/orders"), "/api/v1/orders");
        assert_eq!(without_texts("/a/{b}", "/a"), "/a/{b}");
    }
}
