//! What one call carries: many lists, one settlement, or plain commands.

use std::time::Duration;

use indexmap::IndexSet;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::batch::Batch;
use super::job::{Answered, Errand, Failure, Job, Running, Settling};
use super::script::{self, SETTLE};
use super::words::{Terms, Words};
use crate::model::{Action, Fault, FaultKind, Settled, Settlement};

/// What one call carries.
#[derive(Debug)]
pub(super) enum Load {
    /// Lists that are charged one after another.
    Lists(Batch),
    /// A settlement.
    Settlement(Settlement, Waiting),
    /// Plain commands.
    Commands(Pipeline, Waiting<Vec<Value>>),
}

/// How much longer than its deadline the answer to plain commands is awaited: what they took for nothing is given back even then.
const LATE_ANSWER: Duration = Duration::from_secs(1);

/// Who waits for a settlement, or for plain commands.
#[derive(Debug)]
pub(super) struct Waiting<T = Settled> {
    deadline: Option<Instant>,
    asking: bool,
    reply: Option<oneshot::Sender<Answered<T>>>,
}

impl Load {
    /// Takes off the front of `jobs` what one call can carry: in a cluster, lists of one slot.
    pub(super) fn of(jobs: &mut Vec<Job>, in_cluster: bool) -> Option<Self> {
        let first = jobs.first()?;
        let (hash, asking) = (first.hash, first.hash.asking);
        let lists =
            jobs.iter().take_while(|job| matches!(job.errand, Errand::Take(_)) && (job.hash == hash || !in_cluster));
        let alike = lists.count();
        if alike == 0 {
            let Job { errand, deadline, .. } = jobs.remove(0);
            return match errand {
                Errand::Take(_) => None,
                Errand::Settle(Settling { settlement, reply }) => {
                    let waiting = Waiting { deadline: Some(deadline), asking, reply: Some(reply) };
                    Some(Self::Settlement(settlement, waiting))
                }
                Errand::Run(Running { commands, reply }) => {
                    let waiting = Waiting { deadline: Some(deadline + LATE_ANSWER), asking, reply: Some(reply) };
                    Some(Self::Commands(commands, waiting))
                }
            };
        }
        let lists: Vec<_> = jobs
            .drain(..alike)
            .filter_map(|job| match job.errand {
                Errand::Take(taking) => Some((taking, job.deadline)),
                Errand::Settle(_) | Errand::Run(_) => None,
            })
            .collect();
        Some(Self::Lists(Batch::new(lists.into_iter(), asking)))
    }

    /// What is sent: a script by its hash or with its text, or commands.
    pub(super) fn parcel(&self, by_text: bool, terms: &Terms) -> Parcel {
        match self {
            Self::Lists(batch) => Parcel::Call { call: batch.call(by_text, terms), asking: batch.is_asking() },
            Self::Settlement(settlement, waiting) => {
                Parcel::Call { call: call(settlement, by_text, terms), asking: waiting.asking }
            }
            Self::Commands(commands, _) => Parcel::Commands(commands.clone()),
        }
    }

    /// The earliest deadline of those who wait.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Lists(batch) => batch.deadline,
            Self::Settlement(_, waiting) => waiting.deadline,
            Self::Commands(_, waiting) => waiting.deadline,
        }
    }

    /// Answers everybody by what the server answered.
    pub(super) fn answer(self, value: Value) {
        match self {
            Self::Lists(batch) => batch.answer(value),
            Self::Settlement(_, waiting) => waiting.tell(settled(&value)),
            Self::Commands(_, waiting) => waiting.tell(answers(value)),
        }
    }

    /// Answers those whose time is over.
    pub(super) fn expire(&mut self, now: Instant, fault: impl Fn() -> Fault) {
        match self {
            Self::Lists(batch) => batch.expire(now, fault),
            Self::Settlement(_, waiting) => waiting.expire(now, fault),
            Self::Commands(_, waiting) => waiting.expire(now, fault),
        }
    }

    /// Answers everybody alike.
    pub(super) fn fail(self, failure: &Failure) {
        match self {
            Self::Lists(batch) => batch.fail(failure),
            Self::Settlement(_, waiting) => waiting.tell(Err(failure.clone())),
            Self::Commands(_, waiting) => waiting.tell(Err(failure.clone())),
        }
    }
}

impl<T> Waiting<T> {
    fn tell(self, answered: Answered<T>) {
        if let Some(reply) = self.reply {
            let _ = reply.send(answered);
        }
    }

    fn expire(&mut self, now: Instant, fault: impl Fn() -> Fault) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            if let Some(reply) = self.reply.take() {
                let _ = reply.send(Err(fault().into()));
            }
        }
    }
}

/// What is sent of a load.
pub(super) enum Parcel {
    /// The call of a script. `asking` tells a server of a cluster that the call is for a slot on its way to it.
    Call { call: Cmd, asking: bool },
    /// Commands, one after another. Others may come in between.
    Commands(Pipeline),
}

impl Parcel {
    /// Sends it, and waits for the answer.
    ///
    /// # Errors
    ///
    /// Fails if the script does, or if the server refuses every command that would change something.
    pub(super) async fn send(&self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match self {
            Self::Call { call, asking } => script::ask(connection, call, *asking).await,
            Self::Commands(commands) => {
                let answers = connection.send_packed_commands(commands, 0, commands.len()).await?;
                let changed = answers.iter().any(|answer| matches!(answer, Value::Int(_)));
                let refused = answers.iter().find_map(|answer| match answer {
                    Value::ServerError(error) => Some(error.clone()),
                    _ => None,
                });
                match refused {
                    Some(error) if !changed => Err(error.into()),
                    _ => Ok(Value::Array(answers)),
                }
            }
        }
    }
}

fn answers(value: Value) -> Answered<Vec<Value>> {
    match value {
        Value::Array(answers) => Ok(answers),
        other => Err(Fault::new(FaultKind::Refused, format!("the server answered nonsense: {other:?}")).into()),
    }
}

fn call(settlement: &Settlement, by_text: bool, terms: &Terms) -> Cmd {
    let Settlement { marker, until, remembered_us, action, held } = settlement;
    let mut keys: IndexSet<&str> = marker.as_deref().into_iter().collect();
    let mut words = Words::new(terms, held.iter().map(|held| *held.limit.rule()));
    let (action, wanted) = match action {
        Action::Settle if marker.is_none() => (3, 0),
        Action::Settle => (1, 0),
        Action::Renew { until } => (2, until.as_micros()),
    };
    words.add([action, until.as_micros(), wanted, *remembered_us]);
    for held in held {
        let slot = keys.insert_full(&held.key).0;
        words.held(held, slot);
    }
    let mut call = SETTLE.call(by_text);
    call.arg(keys.len());
    for key in keys {
        call.arg(key);
    }
    words.add_to(&mut call);
    call
}

fn settled(value: &Value) -> Answered<Settled> {
    match value {
        Value::Int(1) => Ok(Settled::Done),
        Value::Int(2) => Ok(Settled::Already),
        Value::Int(3) => Ok(Settled::Late),
        other => Err(Fault::new(FaultKind::Refused, format!("the script answered nonsense: {other:?}")).into()),
    }
}
