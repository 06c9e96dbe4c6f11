//! A cluster: who has which slot, and what its servers say of slots that are elsewhere.

mod map;
mod redirect;
mod route;
mod slot;

use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

pub(super) use self::map::SlotMap;
pub(super) use self::redirect::Redirect;
pub(super) use self::route::Cluster;
pub(super) use self::slot::slot;
use super::connect::{Dial, Refusal, Server, within};

/// Asks every server of `seeds` at once who has which slot, and takes the answer of the one that is best informed.
///
/// That is one whose own cluster is sound, that knows of the latest election, and that leaves out the fewest slots. Once more than half say the
/// same, or a moment after the first sound answer that leaves out none, nobody else is waited for: a server that hangs delays nobody for long, and
/// one that was cut off from the others is not believed as long as they answer.
///
/// # Errors
///
/// Fails if nobody answers, with the error of the last; and if what answers is no cluster.
pub(super) async fn discover(dial: &Dial, seeds: &[Server]) -> RedisResult<SlotMap> {
    let mut asked: JoinSet<_> = seeds.iter().cloned().map(|seed| ask(dial.clone(), seed)).collect();
    let mut best: RedisResult<Told> =
        Err(RedisError::from((ErrorKind::InvalidClientConfig, "no server of the cluster is known")));
    let (mut alike, mut until) = (0, None);
    while let Some(Ok(answer)) = next(&mut asked, until).await {
        let known = best.as_ref().ok().map(Told::rank);
        best = better(best, answer);
        let Ok(told) = &best else { continue };
        alike = if known == Some(told.rank()) { alike + 1 } else { 1 };
        if told.is_whole() && alike * 2 > seeds.len() {
            break;
        }
        if told.is_whole() && until.is_none() {
            until = Some(Instant::now() + Dial::SEVERAL);
        }
    }
    best.map(|told| told.map)
}

/// The next answer; none once all have answered, or the time is over.
async fn next(
    asked: &mut JoinSet<RedisResult<Told>>,
    until: Option<Instant>,
) -> Option<Result<RedisResult<Told>, JoinError>> {
    match until {
        Some(until) => timeout_at(until, asked.join_next()).await.ok().flatten(),
        None => asked.join_next().await,
    }
}

/// What one server tells of its cluster.
#[derive(Debug)]
struct Told {
    map: SlotMap,
    /// Whether it finds its cluster able to serve. One that is cut off from the others finds it is not.
    is_sound: bool,
    /// How many elections it knows of.
    epoch: u64,
}

impl Told {
    fn rank(&self) -> (bool, u64, usize) {
        (self.is_sound, self.epoch, self.map.covered())
    }

    fn is_whole(&self) -> bool {
        self.is_sound && self.map.is_whole()
    }
}

/// Whatever is told is better than nothing.
fn better(one: RedisResult<Told>, other: RedisResult<Told>) -> RedisResult<Told> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(if other.rank() > one.rank() { other } else { one }),
        (Ok(told), Err(_)) | (Err(_), Ok(told)) => Ok(told),
        (Err(_), Err(error)) => Err(error),
    }
}

async fn ask(dial: Dial, seed: Server) -> RedisResult<Told> {
    let mut connection = dial.open(&seed, None).await?;
    let mut slots = redis::cmd("CLUSTER");
    let answer = within(Dial::SEVERAL, slots.arg("SLOTS").query_async::<Value>(&mut connection)).await;
    let map = match answer {
        Ok(answer) => SlotMap::read(&answer, &seed, dial.has_tls()),
        // The one thing that `CLUSTER SLOTS` can be wrong about.
        Err(error) if error.kind() == ServerErrorKind::ResponseError.into() => return Err(Refusal::NoCluster.into()),
        Err(error) => return Err(error),
    };
    let mut state = redis::cmd("CLUSTER");
    // Whoever may not ask believes everybody.
    let state: String = within(Dial::SEVERAL, state.arg("INFO").query_async(&mut connection)).await.unwrap_or_default();
    let field = |name| state.lines().find_map(|line| line.trim_end().strip_prefix(name));
    let epoch = field("cluster_current_epoch:").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    Ok(Told { map, is_sound: field("cluster_state:").is_none_or(|state| state == "ok"), epoch })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::fake::{Fake, address, nowhere};
    use super::*;
    use crate::config::RedisTarget;

    /// Whoever is waited for by this is waited for in vain.
    fn dial(seed: &Server) -> Dial {
        Dial::new(&RedisTarget::single(address(seed)), Duration::from_secs(3_600)).unwrap()
    }

    /// A server that knows who has the slots from 0 to `last`.
    fn knowing(last: u16) -> Fake {
        let fake = Fake::start();
        fake.says("CLUSTER", &format!("*1\r\n*3\r\n:0\r\n:{last}\r\n*3\r\n+10.0.0.1\r\n:7001\r\n+id\r\n"));
        fake
    }

    #[tokio::test]
    async fn one_server_that_knows_is_enough() {
        let (hung, behind, knows) = (knowing(16_383), knowing(100), knowing(16_383));
        hung.said().hangs = true;
        let seeds = [nowhere(), hung.server.clone(), behind.server.clone(), knows.server.clone()];
        let found = timeout(Duration::from_secs(5), discover(&dial(&seeds[0]), &seeds)).await;
        assert!(found.expect("the one that hangs is not waited for").unwrap().is_whole());
    }

    #[tokio::test]
    async fn the_answer_that_leaves_out_the_fewest_is_the_best() {
        let (few, more, gone) = (knowing(9), knowing(100), nowhere());
        for seeds in [[&few.server, &more.server, &gone], [&gone, &more.server, &few.server]] {
            let [one, two, three] = seeds.map(|seed| ask(dial(seed), seed.clone()));
            let best = better(better(one.await, two.await), three.await);
            assert_eq!(best.unwrap().map.covered(), 101);
        }
        let seeds = [gone.clone(), few.server.clone()];
        assert_eq!(discover(&dial(&gone), &seeds).await.unwrap().covered(), 10);
        assert!(discover(&dial(&gone), &seeds[..1]).await.expect_err("nobody is there").is_connection_refusal());
    }

    #[tokio::test]
    async fn one_that_is_cut_off_or_behind_is_not_believed() {
        let told = |is_sound, epoch| {
            let slots = "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n+10.0.0.1\r\n:7001\r\n+id\r\n";
            let value = redis::parse_redis_value(slots.as_bytes()).unwrap();
            let map = SlotMap::read(&value, &nowhere(), false);
            Ok(Told { map, is_sound, epoch })
        };
        for (one, other) in [((true, 7), (false, 9)), ((true, 9), (true, 7))] {
            for (first, second) in [(one, other), (other, one)] {
                let best = better(told(first.0, first.1), told(second.0, second.1)).unwrap();
                assert_eq!((best.is_sound, best.epoch), one);
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_cluster_says_so() {
        let alone = Fake::start();
        alone.says("CLUSTER", "-ERR This instance has cluster support disabled\r\n");
        let error =
            discover(&dial(&alone.server), std::slice::from_ref(&alone.server)).await.expect_err("it is no cluster");
        let advice = super::super::fault::about_connection(&error);
        assert!(advice.starts_with("it is no server of a cluster"), "{advice}");
    }
}
