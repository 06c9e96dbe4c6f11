//! The plain words of the engine: what is asked, what is counted, what is answered.

mod charge;
mod key;
mod limit;

pub use charge::{Charge, Fault, FaultKind};
pub use key::KeySpace;
pub(crate) use limit::is_name;
pub use limit::{Limit, Quota};
