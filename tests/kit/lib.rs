//! What the whole-product tests share.

mod cluster;
mod example;
mod fake_server;
mod gateway;
#[path = "../guests/list/mod.rs"]
pub mod guests;
pub mod noise;
mod process;
mod proxy;
mod redis;
mod sentinel;
mod server;
pub mod spoofing;
pub mod tls;

pub use cluster::RedisCluster;
pub use example::Example;
pub use fake_server::{FakeSentinel, FakeServer, Nonsense};
pub use gateway::{Behind, Gateway, NGINX};
pub use proxy::{Line, Proxy, Way};
pub use redis::{RedisServer, Setting};
pub use sentinel::RedisSentinel;
pub use server::{Server, command, program};

/// A port of the loopback where nothing listens.
///
/// # Errors
///
/// Fails if no port is free.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
