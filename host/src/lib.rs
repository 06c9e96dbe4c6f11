//! Tollgate: a rate-limit engine whose policies are WebAssembly components.

pub mod blocks;
pub mod config;
pub mod counter;
mod error;
pub mod fleet;
mod gate;
#[cfg(feature = "http")]
pub mod http;
pub mod keys;
mod model;
pub mod policy;
#[cfg(feature = "server")]
pub mod resp;
#[cfg(feature = "server")]
pub mod server;
pub mod store;
mod time;

pub use counter::{Algorithm, Mode, OnChange, Outcome, Rule};
pub use error::{Error, ErrorKind, Result};
pub use gate::{
    Active, ApiKeys, Builder, Code, Extension, Flip, Flips, KeyHolder, Plan, Prepared, Seen, ShadowReport, Storm,
    TierPlan, Tollgate, TrialMode, TrialPlan, Watching,
};
pub use model::{
    Action, ChangeRules, Charge, Charged, Decision, Fault, FaultKind, FieldError, Held, Isolation, KeySpace, Limit,
    LimitRules, OnFault, OnStoreFault, PolicyFaultKind, PolicyId, Precision, PrecisionRules, Quota, Receipt, Request,
    Settled, Settlement, Source, StoreFaultRules, Verdict, address_subject,
};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
