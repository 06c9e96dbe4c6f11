//! The whole product, tested from outside.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic fails the test, and says where")]
#![expect(clippy::disallowed_methods, reason = "a test of the real product watches the real clock")]

mod admin;
mod author;
mod blocks;
mod cache;
mod cli;
mod compile;
mod counter;
mod embed;
mod fleet;
mod floors;
mod fuzz;
mod gate;
mod gateways;
mod guard;
mod intake;
mod kanban;
mod keys;
mod policy;
mod prebuilt;
mod profwise;
mod resp;
mod rls;
mod scenarios;
mod server;
mod signature;
mod store;
mod vibewell;
mod wasmwizard;
