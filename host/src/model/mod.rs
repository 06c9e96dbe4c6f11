//! The plain words of the engine: what is asked, what is counted, what is answered.

mod charge;
mod decision;
mod key;
mod limit;
mod request;
mod rule;

pub use charge::{Charge, Fault, FaultKind};
pub use decision::{Charged, Decision, PolicyFaultKind, PolicyId, Source, Verdict};
pub use key::KeySpace;
pub(crate) use limit::is_name;
pub use limit::{Limit, Quota};
pub use request::{FieldError, Request};
pub use rule::OnFault;
