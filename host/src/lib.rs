//! Tollgate: a rate-limit engine whose policies are WebAssembly components.

pub mod config;
pub mod counter;
mod error;
mod gate;
#[cfg(feature = "server")]
pub mod http;
mod model;
pub mod policy;
#[cfg(feature = "server")]
pub mod server;
pub mod store;
mod time;

pub use counter::{Algorithm, Mode, Outcome, Rule};
pub use error::{Error, ErrorKind, Result};
pub use gate::{ApiKeys, Builder, Code, KeyHolder, Plan, TierPlan, Tollgate};
pub use model::{
    Charge, Charged, Decision, Fault, FaultKind, FieldError, KeySpace, Limit, OnFault, PolicyFaultKind, PolicyId,
    Quota, Request, Source, Verdict,
};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
