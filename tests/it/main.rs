//! The whole product, tested from outside.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic fails the test, and says where")]
#![expect(clippy::disallowed_methods, reason = "a test of the real product watches the real clock")]

mod admin;
mod author;
mod cache;
mod cli;
mod compile;
mod counter;
mod embed;
mod fleet;
mod floors;
mod fuzz;
mod gate;
mod guard;
mod intake;
mod policy;
mod prebuilt;
mod rls;
mod scenarios;
mod server;
mod signature;
mod store;
