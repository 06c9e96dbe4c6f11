//! What a sentinel says of the master, and of the other sentinels.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind, from_redis_value_ref};

use crate::config::Address;
use crate::store::redis::connect::{Refusal, Server};

/// The channel on which a sentinel tells that a master has changed.
pub(super) const SWITCH: &str = "+switch-master";

/// Which server a sentinel takes for the master, and what else it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) server: Server,
    /// How many elections there were, as far as it knows: who knows of more is nearer the truth.
    pub(super) epoch: u64,
    /// The other sentinels it knows.
    pub(super) others: Vec<Server>,
}

type Fields = HashMap<String, String>;

/// Where the master is, what is known of it, and what of the other sentinels.
type Answers = (Option<(String, u16)>, Fields, Vec<Fields>);

/// Asks a sentinel all that we want to know, in one round trip.
pub(super) async fn ask(sentinel: &mut MultiplexedConnection, master: &str) -> RedisResult<Answer> {
    let mut questions = redis::Pipeline::with_capacity(3);
    for question in ["GET-MASTER-ADDR-BY-NAME", "MASTER", "SENTINELS"] {
        questions.cmd("SENTINEL").arg(question).arg(master);
    }
    let answered: RedisResult<Answers> = questions.query_async(sentinel).await;
    let (address, known, others) = answered.map_err(|error| {
        // Of three refusals the first says it all.
        let first = error.clone().into_server_errors().and_then(|errors| Some(errors.first()?.1.clone()));
        match first.map_or(error, RedisError::from) {
            // The one thing that these questions can be wrong about.
            error if error.kind() == ServerErrorKind::ResponseError.into() => Refusal::UnknownMaster.into(),
            error => error,
        }
    })?;
    let (host, port) = address.ok_or(Refusal::UnknownMaster)?;
    let epoch = known.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    let others = others.iter().filter_map(|fields| server(fields.get("ip")?, fields.get("port")?)).collect();
    Ok(Answer { server: Server::Tcp(Address { host, port }), epoch, others })
}

fn server(host: &str, port: &str) -> Option<Server> {
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| Server::Tcp(Address { host: host.to_owned(), port }))
}

/// Whether a sentinel tells that `master` is elsewhere now: `mymaster 10.0.0.1 6379 10.0.0.2 6379`.
pub(super) fn switched(news: &PushInfo, master: &str) -> bool {
    let text = |place: usize| news.data.get(place).and_then(|value| from_redis_value_ref::<String>(value).ok());
    let (Some(channel), Some(message)) = (text(0), text(1)) else { return false };
    news.kind == PushKind::Message && channel == SWITCH && message.split(' ').next() == Some(master)
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    #[test]
    fn only_news_of_our_master_count() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let news = |channel: &str, message: &str| PushInfo {
            kind: PushKind::Message,
            data: vec![text(channel), text(message)],
        };
        let message = "mymaster 10.0.0.1 6379 10.0.0.2 6380";
        assert!(switched(&news(SWITCH, message), "mymaster"));
        assert!(!switched(&news(SWITCH, message), "my"));
        assert!(!switched(&news("+sdown", message), "mymaster"));
        assert!(!switched(&PushInfo { kind: PushKind::Subscribe, ..news(SWITCH, message) }, "mymaster"));
        assert!(!switched(&PushInfo { kind: PushKind::Message, data: Vec::new() }, "mymaster"));
    }
}
