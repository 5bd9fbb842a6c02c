//! The only way to add a route: with the permission it needs, or with the reason it needs none.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware;
use serde_json::Value;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{OpenApi, Ref, RefOr};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::auth::{Gate, Permission};
use crate::headers;
use crate::load::Class;
use crate::openapi::{self, PROBLEM_RESPONSE, SECURITY_SCHEME};

/// Extension of an operation: the permission it needs.
pub const X_PERMISSION: &str = "x-permission";
/// Extension of an operation: why it needs none.
pub const X_PUBLIC: &str = "x-public";

/// Routes with their documentation.
///
/// `S` is the state of the handlers, as in axum.
pub struct Api<S = ()> {
    router: OpenApiRouter<S>,
    /// A schema name that two types want, if there is one.
    clash: Option<String>,
}

/// The program must not serve these routes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    #[error("{operation} names neither a permission nor a reason to be public")]
    NoPermission { operation: String },
    #[error("{operation} names the permission {found}, which does not exist")]
    UnknownPermission { operation: String, found: String },
    #[error("two types are called {name} in the document; give one `#[schema(as = …)]`")]
    SchemaClash { name: String },
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    pub fn new() -> Api<S> {
        Api { router: OpenApiRouter::with_openapi(openapi::document()), clash: None }
    }

    /// Adds handlers of one address, `routes!(list, create)` of `utoipa_axum`, open to those whose
    /// token has `permission`. Their class is [`Class::Query`] if all of them only read, else
    /// [`Class::Low`].
    pub fn route(self, permission: Permission, routes: UtoipaMethodRouter<S>) -> Api<S> {
        let reads =
            routes.1.paths.values().flat_map(operations).all(|(method, _)| method.is_safe());
        let class = if reads { Class::Query } else { Class::Low };
        self.classed(class, permission, routes)
    }

    /// As [`Api::route`], of another class.
    pub fn classed(
        self,
        class: Class,
        permission: Permission,
        routes: UtoipaMethodRouter<S>,
    ) -> Api<S> {
        let (schemas, paths, handlers) = documented(routes, |operation| {
            extend(operation, X_PERMISSION, permission.as_str());
            let bearer = SecurityRequirement::new(SECURITY_SCHEME, [permission.as_str()]);
            operation.security = Some(vec![bearer]);
        });
        let id = |(method, operation): (Method, &Operation)| {
            Some((method, operation.operation_id.clone()?))
        };
        let operations = paths.paths.values().flat_map(operations).filter_map(id).collect();
        let takes_query = paths.paths.values().filter_map(|item| item.get.as_ref()).any(queries);
        let gate = Arc::new(Gate { permission, class, operations, takes_query });
        let gate = middleware::from_fn(move |request, next| {
            let gate = Arc::clone(&gate);
            async move { gate.admit(request, next).await }
        });
        self.add((schemas, paths, handlers.route_layer(gate)))
    }

    /// Adds handlers of one address open to everyone; `reason` says why that is right.
    pub fn public(self, reason: &'static str, routes: UtoipaMethodRouter<S>) -> Api<S> {
        self.add(documented(routes, |operation| {
            extend(operation, X_PUBLIC, reason);
            operation.security = Some(Vec::new());
        }))
    }

    /// Adds the routes of another context.
    pub fn merge(self, other: Api<S>) -> Api<S> {
        let clash = self.clash_with(&other);
        Api { router: self.router.merge(other.router), clash }
    }

    /// Adds the routes of `other` beneath `prefix`, such as `/api/v1`.
    pub fn nest(self, prefix: &str, other: Api<S>) -> Api<S> {
        let clash = self.clash_with(&other);
        Api { router: self.router.nest(prefix, other.router), clash }
    }

    /// The router and its document, unless a route says neither who may use it nor why all may.
    pub fn finish(self) -> Result<(Router<S>, OpenApi), BootError> {
        if let Some(name) = self.clash {
            return Err(BootError::SchemaClash { name });
        }
        let (router, document) = self.router.split_for_parts();
        check(&document)?;
        Ok((router, document))
    }

    fn add(self, routes: UtoipaMethodRouter<S>) -> Api<S> {
        let Api { router, clash } = self;
        let known = router.get_openapi();
        let added = routes.0.iter().map(|(name, schema)| (name, schema));
        let clash = clash.or_else(|| openapi::clash(known, added));
        Api { router: router.routes(routes), clash }
    }

    fn clash_with(&self, other: &Api<S>) -> Option<String> {
        let theirs = other.router.get_openapi().components.iter();
        let theirs = theirs.flat_map(|components| &components.schemas);
        let clash = self.clash.clone().or_else(|| other.clash.clone());
        clash.or_else(|| openapi::clash(self.router.get_openapi(), theirs))
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Api<S> {
    fn default() -> Api<S> {
        Api::new()
    }
}

/// Refuses a document with an operation that names neither a permission nor why it is public.
pub fn check(document: &OpenApi) -> Result<(), BootError> {
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations(item) {
            let name = || format!("{method} {path}");
            let text = |key| operation.extensions.as_ref()?.get(key).and_then(Value::as_str);
            match (text(X_PERMISSION), text(X_PUBLIC)) {
                (Some(found), None) if found.parse::<Permission>().is_ok() => {}
                (Some(found), None) => {
                    let found = found.to_owned();
                    return Err(BootError::UnknownPermission { operation: name(), found });
                }
                (None, Some(reason)) if !reason.is_empty() => {}
                _ => return Err(BootError::NoPermission { operation: name() }),
            }
        }
    }
    Ok(())
}

fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let methods = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::OPTIONS, &item.options),
        (Method::HEAD, &item.head),
        (Method::PATCH, &item.patch),
        (Method::TRACE, &item.trace),
    ];
    methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn documented<S>(
    (schemas, mut paths, handlers): UtoipaMethodRouter<S>,
    change: impl Fn(&mut Operation),
) -> UtoipaMethodRouter<S> {
    for item in paths.paths.values_mut() {
        let methods = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.options,
            &mut item.head,
            &mut item.patch,
            &mut item.trace,
        ];
        for operation in methods.into_iter().flatten() {
            change(operation);
            name(operation);
            headers::answer(operation);
            let problem = Ref::from_response_name(PROBLEM_RESPONSE);
            operation.responses.responses.insert("default".to_owned(), problem.into());
        }
    }
    (schemas, paths, handlers)
}

/// Makes the name of the handler unique across contexts: `list` with tag `orders` is `orders_list`.
fn name(operation: &mut Operation) {
    let tag = operation.tags.as_ref().and_then(|tags| tags.first());
    if let (Some(tag), Some(handler)) = (tag, &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{handler}"));
    }
}

/// Whether it has parameters beside those of its path and its headers.
fn queries(operation: &Operation) -> bool {
    let parameters = operation.parameters.iter().flatten();
    let queries = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => matches!(parameter.parameter_in, ParameterIn::Query),
        RefOr::Ref(_) => true,
    };
    parameters.into_iter().any(queries)
}

fn extend(operation: &mut Operation, key: &str, value: &str) {
    operation.extensions.get_or_insert_default().insert(key.to_owned(), value.into());
}

#[cfg(test)]
mod tests;
