//! Write a Tollgate rate-limit policy in Rust.
//!
//! A policy answers one question: may this subject of this tenant do this now? It charges [`Limit`]s through [`Counters`], which the host
//! owns, and turns the [`Outcomes`] into a [`Decision`]. It is compiled to a WebAssembly component that is given no clock, no randomness,
//! no files and no network: the same request and the same outcomes give the same decision.
//!
//! ```
//! use tollgate_guest::{Config, Counters, Decision, Fault, Limit, Policy, Problems, Request};
//!
//! /// At most 120 a minute for each subject.
//! pub struct PerMinute {
//!     limit: Limit,
//! }
//!
//! impl Policy for PerMinute {
//!     const NAME: &'static str = "per-minute";
//!
//!     fn configure(_config: &Config) -> Result<Self, Problems> {
//!         Ok(Self { limit: Limit::parse("minute", "120/m")? })
//!     }
//!
//!     fn decide(&self, request: &Request, counters: &impl Counters) -> Result<Decision, Fault> {
//!         Ok(counters.charge(&[self.limit.charge(&request.subject, request.cost)])?.into())
//!     }
//! }
//!
//! tollgate_guest::export!(PerMinute);
//! # fn main() {}
//! ```
//!
//! # Testing
//!
//! A policy is tested as native code, with the very arithmetic the host counts by and a clock that a test moves by hand: see `testing`.
//! `cargo test` needs no WebAssembly tool and no Redis.
//!
//! # What is held
//!
//! A charge with [`Charge::hold`], and every charge on a concurrency limit, gives the application a receipt with the decision: it settles what the
//! request really cost, gives back the rest, or frees the slot. The policy sees nothing of it; see `docs/receipts.md`.

// The bindings name the SDK by its crate name, since their macro is expanded in the crates of authors too.
#[cfg(target_arch = "wasm32")]
extern crate self as tollgate_guest;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;
mod config;
pub mod counter;
mod counters;
mod decision;
mod duration;
mod json;
mod limit;
pub mod log;
mod macros;
mod policy;
mod request;
mod routes;
mod rule;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use config::{Config, Problems};
pub use counter::{Algorithm, Mode, Outcome};
pub use counters::{Counters, Fault, Outcomes};
pub use decision::{Decision, Verdict};
pub use limit::{Charge, Limit, MAX_CHARGES};
pub use policy::Policy;
pub use request::Request;
pub use routes::{Pattern, Routes};
pub use rule::Rule;
