//! What the benchmarks share: the gate under test, its peers, and the arithmetic of a fair comparison.

pub mod gate;
pub mod keys;
#[cfg(feature = "peers")]
pub mod lab;
#[cfg(feature = "peers")]
pub mod load;
#[cfg(feature = "peers")]
mod machine;
#[cfg(feature = "peers")]
pub mod memory_per_counter;
#[cfg(feature = "peers")]
pub mod peers;
#[cfg(feature = "peers")]
pub mod report;
#[cfg(feature = "peers")]
pub mod round;
#[cfg(feature = "peers")]
pub mod row;
#[cfg(feature = "peers")]
pub mod rows;
mod twin;
#[cfg(feature = "peers")]
pub mod waiting;

pub use gate::{Algorithm, configuration, decide, gate};
pub use keys::subjects;
pub use twin::Twin;

/// How many subjects the single decisions go round.
pub const SUBJECTS: usize = 10_000;
