//! One list of operations, of which both the routes and the OpenAPI document are made: neither can have what the other lacks.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use utoipa::OpenApi as _;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::response::Response;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref};

use super::desk::Desk;
use super::entry::{Entry, admit};
use super::schemas::Schemas;
use crate::config::Scope;

/// The list, as far as it is made.
pub(super) struct Table {
    desk: Arc<Desk>,
    router: Router<Arc<Desk>>,
    document: OpenApi,
}

const TOKEN: &str = "token";
const PROBLEM: &str = "#/components/schemas/Problem";

impl Table {
    pub(super) fn new(desk: &Arc<Desk>) -> Self {
        let mut document = Schemas::openapi();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme(TOKEN, scheme);
        Self { desk: Arc::clone(desk), router: Router::new(), document }
    }

    /// Adds the operation that `described` describes, for whoever has the scope.
    pub(super) fn add<P, H, T>(mut self, _: P, scope: Scope, handler: H) -> Self
    where
        P: utoipa::Path,
        H: Handler<T, Arc<Desk>>,
        T: 'static,
    {
        let (path, operation) = (P::path(), P::operation());
        // An operation is described with one method, of these four: a test of every operation would miss it otherwise.
        let Some((filter, method)) = P::methods().into_iter().find_map(filter) else { return self };
        let action: Arc<str> = operation.operation_id.as_deref().unwrap_or(&path).into();
        let entry = Entry { desk: Arc::clone(&self.desk), scope, action };
        self.router = self.router.route(&path, on(filter, handler).route_layer(from_fn_with_state(entry, admit)));
        let item = PathItem::new(method, secured(operation, scope));
        match self.document.paths.paths.get_mut(&path) {
            Some(known) => known.merge_operations(item),
            None => drop(self.document.paths.paths.insert(path, item)),
        }
        self
    }

    pub(super) fn finished(self) -> (Router<Arc<Desk>>, OpenApi) {
        (self.router, self.document)
    }
}

/// What every operation has: a token that it wants, and answers for whoever has none, or calls too often.
fn secured(mut operation: Operation, scope: Scope) -> Operation {
    let wanted = format!("Wants the scope `{}`.", scope.name());
    operation.description = Some(match operation.description {
        Some(description) if !description.is_empty() => format!("{description}\n\n{wanted}"),
        _ => wanted,
    });
    operation.security = Some(vec![SecurityRequirement::new(TOKEN, [scope.name()])]);
    for (status, description) in [
        ("401", "No token, or one that is not known."),
        ("403", "The token has another scope."),
        ("429", "Called too often; `Retry-After` says how long to wait."),
    ] {
        let mut response = Response::new(description);
        response.content.insert("application/problem+json".to_owned(), Content::new(Some(Ref::new(PROBLEM))).into());
        operation.responses.responses.insert(status.to_owned(), response.into());
    }
    operation
}

fn filter(method: HttpMethod) -> Option<(MethodFilter, HttpMethod)> {
    Some(match method {
        HttpMethod::Get => (MethodFilter::GET, method),
        HttpMethod::Post => (MethodFilter::POST, method),
        HttpMethod::Put => (MethodFilter::PUT, method),
        HttpMethod::Delete => (MethodFilter::DELETE, method),
        _ => return None,
    })
}
