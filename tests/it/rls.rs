//! Envoy's rate limit service: by the examples of envoyproxy/ratelimit, and as the program serves it.

mod examples;
mod program;
mod semantics;
mod talk;
