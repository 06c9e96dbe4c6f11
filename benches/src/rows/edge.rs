//! A web server that limits its callers, beside the same server that does not.
//!
//! Each side is an axum server on the loopback that says hello, on a thread of its own, asked on another over connections that stay: so many
//! requests a second is what one core of the server answers.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tollgate::http::{Caller, Head, RateLimit, RateLimitLayer, Unidentified};
use tollgate::store::{Memory, Redis, RedisOptions};
use tollgate::{SystemClock, Tollgate};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::redis::side;
use crate::gate::{Algorithm, MEMORY_CAPACITY, gate_over};
use crate::keys::{Keys, Shape};
use crate::lab::{Lab, Threads};
use crate::load::{Decide, Load};
use crate::row::{Goal, Group, Metric, Row, Side};

const BARE: &str = "axum, no limiter";
const GOVERNOR: &str = "tower_governor";
const OURS: &str = "tollgate, memory";
const OVER_REDIS: &str = "tollgate, redis";
const SUBJECTS: usize = 10_000;
const FIELD: &str = "x-caller";

/// The group of this file.
pub(super) fn group() -> Group {
    let row = |id: &str, ours, peers, metric, goal| Row { id: id.to_owned(), ours, peers, metric, goal };
    let rows = vec![
        row("edge/memory/64/rate", OURS, &[GOVERNOR], Metric::Rate, Some(Goal::AtLeast(0.9))),
        row("edge/memory/64/p99", OURS, &[GOVERNOR], Metric::P99, None),
        row("edge/memory/64/overhead", OURS, &[BARE], Metric::Rate, None),
        row("edge/redis/64/overhead", OVER_REDIS, &[BARE], Metric::Rate, None),
    ];
    Group { rows, quick: true, sides: Box::new(sides) }
}

fn sides(lab: &Lab) -> Result<Vec<Side>> {
    lab.clear()?;
    let runtime = lab.runtime(Threads::One);
    let load = Load { in_flight: 64, keys: Keys::draw(Shape::Uniform, SUBJECTS) };
    let target = lab.redis().target();
    let in_memory = async {
        let store = Memory::with_capacity(SystemClock::new(), MEMORY_CAPACITY);
        Ok((limited(gate_over(store, Algorithm::Gcra, 1).await?), JoinSet::new()))
    };
    let over_redis = async move {
        let store = Redis::connect(&target, RedisOptions::default()).await?;
        Ok((limited(gate_over(store, Algorithm::Gcra, 1).await?), JoinSet::new()))
    };
    Ok(vec![
        side(lab, BARE, &runtime, &load, Edge::serve(async { Ok((hello(), JoinSet::new())) })),
        side(lab, GOVERNOR, &runtime, &load, Edge::serve(async { Ok((governed()?, JoinSet::new())) })),
        side(lab, OURS, &runtime, &load, Edge::serve(in_memory)),
        side(lab, OVER_REDIS, &runtime, &load, Edge::serve(over_redis)),
    ])
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello\n" }))
}

pub(super) fn limited(gate: Tollgate) -> Router {
    let caller = |head: &dyn Head| -> Result<Caller, Unidentified> {
        let subject = head.field(FIELD).unwrap_or("nobody").to_owned();
        Ok(Caller { tenant: "bench".to_owned(), subject, tier: None })
    };
    hello().layer(RateLimitLayer::new(RateLimit::new(gate, caller)))
}

/// As ours: a limit that nobody reaches, and header fields on every answer.
fn governed() -> Result<Router> {
    let mut builder = GovernorConfigBuilder::default().key_extractor(ByField);
    let config = builder.per_second(10).burst_size(u32::MAX).use_headers().finish().context("the limit is sound")?;
    Ok(hello().layer(GovernorLayer::new(config)))
}

/// Callers are known as ours are.
#[derive(Clone)]
struct ByField;

impl KeyExtractor for ByField {
    type Key = String;

    fn extract<T>(&self, request: &Request<T>) -> Result<String, GovernorError> {
        let field = request.headers().get(FIELD).and_then(|value| value.to_str().ok());
        Ok(field.unwrap_or("nobody").to_owned())
    }
}

/// A server, and connections to it that wait for a request. Dropped, it ends.
pub(super) struct Edge {
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Edge {
    /// Serves what `application` makes, on a thread of its own, with what runs beside it.
    pub(super) async fn serve(
        application: impl Future<Output = Result<(Router, JoinSet<()>)>> + Send + 'static,
    ) -> Result<Self> {
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::spawn(move || -> Result<()> {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (router, _beside) = application.await?;
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let _ = tell.send(listener.local_addr()?);
                tokio::select! {
                    served = axum::serve(listener, router) => Ok(served?),
                    _ = stopped => Ok(()),
                }
            })
        });
        let address = told.await.context("the server did not start")?;
        Ok(Self { idle: Mutex::default(), address, _stop: stop })
    }

    async fn connection(&self) -> Result<SendRequest<Empty<Bytes>>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl Decide for Edge {
    async fn decide(&self, subject: &str) -> Result<()> {
        let mut connection = self.connection().await?;
        let request = Request::get("/").header("host", "localhost").header(FIELD, subject).body(Empty::new())?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        ensure!(status == StatusCode::OK, "answered {status}");
        response.into_body().collect().await?;
        connection.ready().await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(())
    }
}
