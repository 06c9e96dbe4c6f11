//! Tollgate: a rate-limit engine whose policies are WebAssembly components.

pub mod config;
pub mod counter;
mod error;
mod model;
pub mod store;
mod time;

pub use counter::{Algorithm, Mode, Outcome, Rule};
pub use error::{Error, ErrorKind, Result};
pub use model::{
    Charge, Charged, Decision, Fault, FaultKind, FieldError, KeySpace, Limit, OnFault, PolicyFaultKind, PolicyId,
    Quota, Request, Source, Verdict,
};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
