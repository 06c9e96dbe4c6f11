//! A cluster: who has which slot, and what its servers say of slots that are elsewhere.

mod map;
mod redirect;
mod route;
mod slot;

use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::task::JoinSet;

pub(super) use self::map::SlotMap;
pub(super) use self::redirect::Redirect;
pub(super) use self::route::Cluster;
pub(super) use self::slot::slot;
use super::connect::{Dial, Refusal, Server, within};

/// Asks every server of `seeds` at once who has which slot, and takes the first answer that leaves no slot out; or if there is none, the
/// answer that leaves out the fewest.
///
/// A server that hangs or is gone delays nobody.
///
/// # Errors
///
/// Fails if nobody answers, with the error of the last; and if what answers is no cluster.
pub(super) async fn discover(dial: &Dial, seeds: &[Server]) -> RedisResult<SlotMap> {
    let mut asked: JoinSet<_> = seeds.iter().cloned().map(|seed| ask(dial.clone(), seed)).collect();
    let mut best: RedisResult<SlotMap> =
        Err(RedisError::from((ErrorKind::InvalidClientConfig, "no server of the cluster is known")));
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(map)) if map.is_whole() => return Ok(map),
            Ok(answer) => best = better(best, answer),
            Err(_) => {}
        }
    }
    best
}

/// Some slots are better than none, and more are better still.
fn better(one: RedisResult<SlotMap>, other: RedisResult<SlotMap>) -> RedisResult<SlotMap> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(if other.covered() > one.covered() { other } else { one }),
        (Ok(map), Err(_)) | (Err(_), Ok(map)) => Ok(map),
        (Err(_), Err(error)) => Err(error),
    }
}

async fn ask(dial: Dial, seed: Server) -> RedisResult<SlotMap> {
    let mut connection = dial.open(&seed, None).await?;
    let mut slots = redis::cmd("CLUSTER");
    let answer = within(Dial::SEVERAL, slots.arg("SLOTS").query_async::<Value>(&mut connection)).await;
    match answer {
        Ok(answer) => Ok(SlotMap::read(&answer, &seed, dial.has_tls())),
        // The one thing that `CLUSTER SLOTS` can be wrong about.
        Err(error) if error.kind() == ServerErrorKind::ResponseError.into() => Err(Refusal::NoCluster.into()),
        Err(error) => Err(error),
    }
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
            assert_eq!(best.unwrap().covered(), 101);
        }
        let seeds = [gone.clone(), few.server.clone()];
        assert_eq!(discover(&dial(&gone), &seeds).await.unwrap().covered(), 10);
        assert!(discover(&dial(&gone), &seeds[..1]).await.expect_err("nobody is there").is_connection_refusal());
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
