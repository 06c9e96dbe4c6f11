//! The plain words of the engine: what is asked, what is counted, what is answered.

mod address;
mod calendar;
mod charge;
mod decision;
mod isolation;
mod key;
mod limit;
mod moment;
mod receipt;
mod request;
mod rule;
mod settlement;

pub use address::address_subject;
pub(crate) use calendar::Calendars;
pub use charge::{Charge, Fault, FaultKind};
pub use decision::{Charged, Decision, PolicyFaultKind, PolicyId, Source, Verdict};
pub use isolation::Isolation;
pub use key::KeySpace;
pub(crate) use limit::is_name;
pub use limit::{Limit, Quota};
pub(crate) use moment::rfc3339;
pub use receipt::Receipt;
pub use request::{FieldError, Request};
pub use rule::{ChangeRules, LimitRules, OnFault, OnStoreFault, Precision, PrecisionRules, StoreFaultRules};
pub use settlement::{Action, Held, Settled, Settlement};
