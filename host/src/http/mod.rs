//! Decisions over HTTP: the header fields and the problem types, the layers for other people's servers, the questions and answers of `/v1`, and the
//! admin API.

#[cfg(feature = "server")]
pub mod admin;
#[cfg(feature = "server")]
mod answer;
#[cfg(feature = "server")]
mod api;
#[cfg(feature = "server")]
mod auth;
#[cfg(feature = "server")]
mod body;
mod headers;
#[cfg(feature = "server")]
mod health;
#[cfg(any(feature = "tower", feature = "actix"))]
mod limit;
#[cfg(feature = "server")]
mod problem;
#[cfg(feature = "server")]
mod question;
#[cfg(feature = "server")]
mod receipts;
#[cfg(any(feature = "grpc", feature = "tower", feature = "actix"))]
mod refusal;
#[cfg(feature = "grpc")]
pub mod rls;

#[cfg(feature = "server")]
pub(crate) use axum::Router as Routes;

#[cfg(feature = "server")]
pub use answer::answer;
#[cfg(feature = "server")]
pub use api::{Caller as ApiCaller, Front, router};
#[cfg(feature = "server")]
pub use auth::Gateways;
#[cfg(feature = "server")]
pub(crate) use auth::from_peer;
pub use headers::{HeaderOptions, headers};
#[cfg(any(feature = "tower", feature = "actix"))]
pub use limit::{
    ByAddress, ByApiKey, Caller, ClientAddress, Head, Identified, Identify, Identity, RateLimit, Refusal, Spent,
    Unidentified,
};
#[cfg(feature = "tower")]
pub use limit::{RateLimitLayer, RateLimited};
#[cfg(feature = "actix")]
pub use limit::{RateLimitMiddleware, RateLimitTransform};
