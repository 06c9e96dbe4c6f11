//! Decisions over HTTP: the questions and answers of `/v1`, the rate-limit headers, the problem types.

mod answer;
mod api;
mod headers;
mod health;
mod problem;
mod question;
mod receipts;

pub use answer::answer;
pub use api::{Caller, Front, router};
pub use headers::{HeaderOptions, headers};
