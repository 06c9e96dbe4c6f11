//! Tests of a policy, as native code: no WebAssembly, no Redis, no waiting.
//!
//! [`counters`] makes counters that answer as the host's do, with a clock that a test moves by hand:
//!
//! ```
//! # use tollgate_guest::{Config, Counters, Decision, Fault, Limit, Policy, Problems, Request};
//! # pub struct PerMinute { limit: Limit }
//! # impl Policy for PerMinute {
//! #     const NAME: &'static str = "per-minute";
//! #     fn configure(_: &Config) -> Result<Self, Problems> { Ok(Self { limit: Limit::parse("minute", "2/m")? }) }
//! #     fn decide(&self, request: &Request, counters: &impl Counters) -> Result<Decision, Fault> {
//! #         Ok(counters.charge(&[self.limit.charge(&request.subject, request.cost)])?.into())
//! #     }
//! # }
//! use std::time::Duration;
//! use tollgate_guest::testing;
//!
//! let policy = PerMinute::configure(&Config::new("{}"))?;
//! let counters = testing::counters();
//! assert!(policy.decide(&Request::of("alice").with_cost(2), &counters)?.is_allowed());
//! assert!(!policy.decide(&Request::of("alice"), &counters)?.is_allowed());
//! counters.advance(Duration::from_secs(60));
//! assert!(policy.decide(&Request::of("alice"), &counters)?.is_allowed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Scenario`] tells the same as a text file. The host runs such files too, through the compiled component and over its own stores.
//!
//! ```
//! use tollgate_guest::testing::Scenario;
//!
//! let scenario = Scenario::parse("policy tiered\n@3s alice 1 -> allow remaining 2\n")?;
//! assert_eq!(scenario.steps[0].subject, "alice");
//! # Ok::<(), String>(())
//! ```

mod calendar;
mod memory;
mod native;
mod scenario;

pub use memory::{MemoryCounters, counters};
pub use native::run_folder;
pub use scenario::{Answer, Expected, RetryAfter, Scenario, Step};

use crate::{Verdict, duration};
