//! What the operator says: environment and file, read into one [`Config`].

mod redis_target;

pub use redis_target::{Address, RedisTarget, Secret, Topology};
