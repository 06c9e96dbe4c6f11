//! The tower layer, for axum, tonic and hyper.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use tower_layer::Layer;
use tower_service::Service;

use super::RateLimit;
use super::answer::{Closed, Passage};
use super::identify::Head;
use super::settle::{Open, Spent};

/// A layer that lets requests pass as the policies decide.
///
/// A handler finds the [`Decision`](crate::Decision) in the extensions of its request, as `Arc<Decision>`, and may put [`Spent`] into those of its response. A refusal of
/// a gRPC request has the status `RESOURCE_EXHAUSTED`. Who connects is read from axum's `ConnectInfo<SocketAddr>`, or from a [`SocketAddr`] or [`IpAddr`] among
/// the extensions of the request.
#[derive(Clone, Debug)]
pub struct RateLimitLayer(Arc<RateLimit>);

impl RateLimitLayer {
    /// The layer of `limit`.
    #[must_use]
    pub fn new(limit: RateLimit) -> Self {
        Self(Arc::new(limit))
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimited { limit: Arc::clone(&self.0), inner }
    }
}

/// A service behind a [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimited<S> {
    limit: Arc<RateLimit>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for RateLimited<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: From<String> + Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let limit = Arc::clone(&self.limit);
        // The one that is ready answers, and a new one gets ready.
        let waiting = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, waiting);
        let asking = limit.asking(&Parts(&request));
        let is_grpc = is_grpc(&request);
        Box::pin(async move {
            let open = match limit.ask(asking).await {
                Passage::Open(open) => open,
                Passage::Closed(closed) => return Ok(answer(closed, is_grpc)),
            };
            let Open { decision, headers, held, .. } = open;
            request.extensions_mut().insert(decision);
            let mut response = inner.call(request).await?;
            held.answered(response.status(), response.extensions().get::<Spent>().copied());
            response.headers_mut().extend(headers);
            Ok(response)
        })
    }
}

fn answer<R: From<String>>(closed: Closed, is_grpc: bool) -> Response<R> {
    let Closed { status, headers, body } = closed;
    let mut response = Response::new(R::from(if is_grpc { String::new() } else { body }));
    *response.headers_mut() = headers;
    if is_grpc {
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static(grpc_status(status)));
    } else {
        *response.status_mut() = status;
    }
    response
}

/// `RESOURCE_EXHAUSTED`, or what says that it is not the limits that refuse.
fn grpc_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "8",
        StatusCode::UNAUTHORIZED => "16",
        StatusCode::BAD_REQUEST => "3",
        StatusCode::SERVICE_UNAVAILABLE => "14",
        _ => "13",
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    request.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

struct Parts<'a, B>(&'a Request<B>);

impl<B> Head for Parts<'_, B> {
    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn path(&self) -> &str {
        self.0.uri().path()
    }

    fn fields(&self, name: &str) -> Vec<&[u8]> {
        self.0.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect()
    }

    fn peer(&self) -> Option<IpAddr> {
        let extensions = self.0.extensions();
        #[cfg(feature = "axum")]
        if let Some(axum::extract::ConnectInfo(address)) = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>() {
            return Some(address.ip());
        }
        let address = extensions.get::<SocketAddr>().map(SocketAddr::ip);
        address.or_else(|| extensions.get::<IpAddr>().copied())
    }
}
