//! What an author implements.

use crate::{Config, Counters, Decision, Fault, Problems, Request};

/// A rate-limit policy.
///
/// Configured once, asked many times. The crate's example shows a whole one. It keeps nothing between requests: the host asks whichever
/// instance is free, so what a policy remembers lives in counters.
pub trait Policy: Sized + Send + Sync + 'static {
    /// What the policy calls itself: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    const NAME: &'static str;

    /// A JSON Schema of the configuration, or empty.
    const SCHEMA: &'static str = "";

    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// Fails with every problem of the configuration, not only the first: whoever wrote it mends all of them at once.
    fn configure(config: &Config) -> Result<Self, Problems>;

    /// Decides one request.
    ///
    /// `counters` is the only way to the world, and each call of [`Counters::charge`] may cost a round trip to Redis: put what belongs
    /// together in one list.
    ///
    /// # Errors
    ///
    /// Fails if the charges could not be made; the operator's rule for this tier answers instead. Pass on the [`Fault`] with `?`, or catch
    /// it and decide without counters.
    fn decide(&self, request: &Request, counters: &impl Counters) -> Result<Decision, Fault>;
}
