//! The middleware for actix-web.

use std::future::{Future, Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::HeaderMap;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::StatusCode as ActixStatus;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{Error, HttpMessage as _, HttpResponse};

use super::RateLimit;
use super::answer::{Closed, Passage};
use super::identify::Head;
use super::settle::{Open, Spent};

/// A middleware that lets requests pass as the policies decide.
///
/// A handler finds the [`Decision`](crate::Decision) in the extensions of its request, as `Arc<Decision>`, and may put [`Spent`] into those of its response.
#[derive(Clone, Debug)]
pub struct RateLimitTransform(Arc<RateLimit>);

impl RateLimitTransform {
    /// The middleware of `limit`. One for all workers: make it outside the closure that builds the application, and clone it inside.
    #[must_use]
    pub fn new(limit: RateLimit) -> Self {
        Self(Arc::new(limit))
    }
}

impl<S, B> Transform<S, ServiceRequest> for RateLimitTransform
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = RateLimitMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(RateLimitMiddleware { limit: Arc::clone(&self.0), inner: Rc::new(inner) }))
    }
}

/// A service behind a [`RateLimitTransform`].
#[derive(Debug)]
pub struct RateLimitMiddleware<S> {
    limit: Arc<RateLimit>,
    inner: Rc<S>,
}

impl<S, B> Service<ServiceRequest> for RateLimitMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (limit, inner) = (Arc::clone(&self.limit), Rc::clone(&self.inner));
        let asking = limit.asking(&Parts(&request));
        Box::pin(async move {
            let open = match limit.ask(asking).await {
                Passage::Open(open) => open,
                Passage::Closed(closed) => {
                    return Ok(request.into_response(answer(closed)).map_into_right_body());
                }
            };
            let Open { decision, headers, held, .. } = open;
            request.extensions_mut().insert(decision);
            let mut response = inner.call(request).await?;
            let spent = response.response().extensions().get::<Spent>().copied();
            let status = ::http::StatusCode::from_u16(response.status().as_u16()).unwrap_or_default();
            held.answered(status, spent);
            each(&headers, |name, value| response.headers_mut().insert(name, value));
            Ok(response.map_into_left_body())
        })
    }
}

fn answer(closed: Closed) -> HttpResponse {
    let Closed { status, headers, body } = closed;
    let status = ActixStatus::from_u16(status.as_u16()).unwrap_or(ActixStatus::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::with_body(status, body).map_into_boxed_body();
    each(&headers, |name, value| response.headers_mut().insert(name, value));
    response
}

/// Every field, in the types of the version of `http` that actix-web has.
fn each<T>(headers: &HeaderMap, mut insert: impl FnMut(HeaderName, HeaderValue) -> T) {
    for (name, value) in headers {
        // They are alike, so what is a field in one is one in the other.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_str().as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            insert(name, value);
        }
    }
}

struct Parts<'a>(&'a ServiceRequest);

impl Head for Parts<'_> {
    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn fields(&self, name: &str) -> Vec<&[u8]> {
        self.0.headers().get_all(name).map(HeaderValue::as_bytes).collect()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.0.peer_addr().as_ref().map(SocketAddr::ip)
    }
}
