//! The scripts that change counters.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value};

/// A script: its text, for a server that does not know it, and the hash by which a server does.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: &'static str,
    hash: LazyLock<redis::Script>,
}

/// Takes lists of charges.
pub(super) static CHARGE: Script =
    Script::new(concat!(include_str!("scripts/counters.lua"), "\n", include_str!("scripts/charge.lua")), || {
        redis::Script::new(CHARGE.text)
    });

/// Settles receipts.
pub(super) static SETTLE: Script =
    Script::new(concat!(include_str!("scripts/counters.lua"), "\n", include_str!("scripts/settle.lua")), || {
        redis::Script::new(SETTLE.text)
    });

impl Script {
    const fn new(text: &'static str, hash: fn() -> redis::Script) -> Self {
        Self { text, hash: LazyLock::new(hash) }
    }

    pub(super) fn hash(&self) -> &str {
        self.hash.get_hash()
    }

    /// A call by the hash, or with the text.
    pub(super) fn call(&self, by_text: bool) -> Cmd {
        let mut cmd = Cmd::with_capacity(8, 512);
        if by_text {
            cmd.arg("EVAL").arg(self.text)
        } else {
            cmd.arg("EVALSHA").arg(self.hash())
        };
        cmd
    }
}

/// Sends a call, and tells an error of the server as one. `asking` tells a server of a cluster that the call is for a slot on its way to it.
pub(super) async fn ask(connection: &mut MultiplexedConnection, call: &Cmd, asking: bool) -> RedisResult<Value> {
    let answer = if asking {
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(call.clone());
        connection.send_packed_commands(&both, 1, 1).await?.pop().unwrap_or(Value::Nil)
    } else {
        connection.send_packed_command(call).await?
    };
    match answer {
        Value::ServerError(error) => Err(error.into()),
        answer => Ok(answer),
    }
}
