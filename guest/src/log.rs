//! Lines for the operator.
//!
//! The host bounds them in bytes and in number, escapes control characters and adds the policy's name; what is over the bound is dropped,
//! never a trap. Outside a component, as in a test, they go to the standard error stream.

#[cfg(target_arch = "wasm32")]
use crate::component::{bindings::tollgate::policy::log::Level, write_log as write};

/// Writes a line for whoever writes the policy.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a line worth knowing.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes that something is wrong, and that the policy went on.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes that something is wrong, and that the policy could not go on.
pub fn error(message: &str) {
    write(Level::Error, message);
}

#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy, Debug)]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[cfg(not(target_arch = "wasm32"))]
#[expect(clippy::print_stderr, reason = "the test harness captures it")]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
