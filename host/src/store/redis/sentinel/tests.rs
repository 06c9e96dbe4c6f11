//! Sentinels that are dead, deaf, late or wrong.

use std::time::Duration;

use super::super::fake::{Fake, address, nowhere};
use super::*;
use crate::config::RedisTarget;

const SOON: Duration = Duration::from_secs(5);

fn sentinels(servers: &[&Server]) -> Arc<Sentinels> {
    let addresses: Vec<Address> = servers.iter().map(|server| address(server)).collect();
    let target = RedisTarget::single(addresses[0].clone());
    let dial = Dial::new(&target, SOON).unwrap();
    Sentinels::new(dial, &SentinelLogin::default(), "mymaster", &addresses)
}

/// What asking for the master says if nobody is one.
async fn refusal(sentinels: &Arc<Sentinels>) -> String {
    let error = sentinels.master(Duration::ZERO).await.expect_err("there is no master");
    format!("{error:#}")
}

#[tokio::test]
async fn the_sentinel_that_knows_of_the_most_elections_is_believed() {
    // The old master is back, and takes itself for one still.
    let (old, new) = (Fake::with_role("master"), Fake::with_role("master"));
    let (one, two) = (Fake::naming(&old.server, 1), Fake::naming(&old.server, 1));
    let informed = Fake::naming(&new.server, 2);
    let sentinels = sentinels(&[&one.server, &two.server, &informed.server]);
    assert_eq!(sentinels.master(SOON).await.unwrap(), new.server);
}

#[tokio::test]
async fn a_server_that_is_no_master_is_not_believed() {
    let (master, replica) = (Fake::with_role("master"), Fake::with_role("slave"));
    let (honest, liar) = (Fake::naming(&master.server, 1), Fake::naming(&replica.server, 9));
    let sentinels = sentinels(&[&liar.server, &honest.server]);
    assert_eq!(sentinels.master(SOON).await.unwrap(), master.server);
    honest.names(&nowhere(), 10);
    let text = refusal(&sentinels).await;
    assert!(text.contains("as master `mymaster`: nothing listens there"), "{text}");
    honest.names(&replica.server, 10);
    let text = refusal(&sentinels).await;
    let port = address(&replica.server).port;
    let expected = format!("the sentinels name redis at 127.0.0.1:{port} as master `mymaster`: it is none; wait for");
    assert!(text.starts_with(&expected), "{text}");
}

#[tokio::test]
async fn a_master_that_is_about_to_be_one_is_waited_for() {
    let server = Fake::with_role("slave");
    let sentinel = Fake::naming(&server.server, 1);
    let sentinels = sentinels(&[&sentinel.server]);
    let asked = tokio::spawn(async move { sentinels.master(SOON).await });
    until(|| server.said().asked >= 4).await;
    server.says("ROLE", "*1\r\n$6\r\nmaster\r\n");
    assert_eq!(asked.await.unwrap().unwrap(), server.server);
}

#[tokio::test]
async fn dead_and_hung_sentinels_are_done_without() {
    let master = Fake::with_role("master");
    let (hung, sentinel) = (Fake::naming(&master.server, 1), Fake::naming(&master.server, 1));
    hung.said().hangs = true;
    let found = sentinels(&[&nowhere(), &hung.server, &sentinel.server]);
    let began = Instant::now();
    assert_eq!(found.master(SOON).await.unwrap(), master.server);
    assert!(began.elapsed() < 2 * Dial::SEVERAL, "took {:?}", began.elapsed());
    // Nor for long with a server that is named and hangs.
    let liar = Fake::naming(&hung.server, 9);
    let found = sentinels(&[&liar.server, &sentinel.server]);
    let began = Instant::now();
    assert_eq!(found.master(SOON).await.unwrap(), master.server);
    assert!(began.elapsed() < 2 * Dial::SEVERAL, "took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_sentinel_that_another_knows_is_asked_as_well() {
    let (old, new) = (Fake::with_role("master"), Fake::with_role("master"));
    let (given, learned) = (Fake::naming(&old.server, 1), Fake::naming(&new.server, 2));
    let port = address(&learned.server).port;
    given.says("SENTINELS", &format!("*1\r\n*4\r\n+ip\r\n+127.0.0.1\r\n+port\r\n+{port}\r\n"));
    let sentinels = sentinels(&[&given.server]);
    assert_eq!(sentinels.master(SOON).await.unwrap(), old.server);
    assert_eq!(sentinels.master(SOON).await.unwrap(), new.server);
}

#[tokio::test]
async fn sentinels_that_name_nobody_say_why() {
    let sentinel = Fake::start();
    let found = sentinels(&[&sentinel.server]);
    sentinel.says("GET-MASTER-ADDR-BY-NAME", "*-1\r\n");
    sentinel.says("MASTER", "-ERR No such master with that name\r\n");
    sentinel.says("SENTINELS", "-ERR No such master with that name\r\n");
    let text = refusal(&found).await;
    let port = address(&sentinel.server).port;
    let expected = format!("no sentinel of 127.0.0.1:{port} names a master `mymaster`: they know none of this name");
    assert!(text.starts_with(&expected), "{text}");
    for question in ["GET-MASTER-ADDR-BY-NAME", "MASTER", "SENTINELS"] {
        sentinel.says(question, "-NOAUTH Authentication required.\r\n");
    }
    let text = refusal(&found).await;
    assert!(text.contains("they ask for a password; set REDIS_SENTINEL_PASSWORD"), "{text}");
    let text = refusal(&sentinels(&[&nowhere()])).await;
    assert!(text.contains("nothing listens there"), "{text}");
}

#[tokio::test]
async fn what_one_sentinel_tells_is_heard_at_once() {
    let (old, new) = (Fake::with_role("master"), Fake::with_role("master"));
    let sentinel = Fake::naming(&old.server, 1);
    let mut news = Some(sentinels(&[&sentinel.server]).listen(&sentinel.server).await.unwrap());
    let never = Instant::now() + Duration::from_secs(3_600);
    sentinel.tells(&old.server, &new.server);
    tokio::time::timeout(SOON, watch::hear(&mut news, "mymaster", never)).await.expect("the news are heard");
    assert!(news.is_some(), "there may be more");
    // The end of the news is no news; it is waited on until it is time to ask.
    sentinel.hang_up();
    watch::hear(&mut news, "mymaster", Instant::now() + Dial::SEVERAL).await;
    assert!(news.is_none(), "it hung up");
}

#[tokio::test]
async fn a_change_that_nobody_tells_is_found() {
    let (old, new) = (Fake::with_role("master"), Fake::with_role("master"));
    let (one, two) = (Fake::naming(&old.server, 1), Fake::naming(&old.server, 1));
    let mut watch = sentinels(&[&one.server, &two.server]).watch(old.server.clone());
    for sentinel in [&one, &two] {
        sentinel.says("SUBSCRIBE", "-ERR not today\r\n");
        sentinel.hang_up();
    }
    one.names(&new.server, 2);
    tokio::time::timeout(SOON, watch.master.changed()).await.expect("the change is found").unwrap();
    assert_eq!(*watch.master.borrow_and_update(), new.server);
    // One that is behind is not followed back, though the old master is there again and says that it is one.
    asked_again(&two).await;
    assert!(!watch.master.has_changed().unwrap(), "{:?}", watch.master);
    // But if they all say so, they have been set up anew.
    one.names(&old.server, 0);
    two.names(&old.server, 0);
    tokio::time::timeout(SOON, watch.master.changed()).await.expect("the change is found").unwrap();
    assert_eq!(*watch.master.borrow_and_update(), old.server);
}

#[tokio::test]
async fn a_server_that_is_no_master_is_not_followed() {
    let (old, replica) = (Fake::with_role("master"), Fake::with_role("slave"));
    let (one, two) = (Fake::naming(&old.server, 1), Fake::naming(&old.server, 1));
    let watch = sentinels(&[&one.server, &two.server]).watch(old.server.clone());
    one.names(&replica.server, 2);
    asked_again(&replica).await;
    asked_again(&two).await;
    assert!(!watch.master.has_changed().unwrap(), "{:?}", watch.master);
    replica.says("ROLE", "*1\r\n$6\r\nmaster\r\n");
    let mut master = watch.master.clone();
    tokio::time::timeout(SOON, master.changed()).await.expect("it has become one").unwrap();
    assert_eq!(*master.borrow_and_update(), replica.server);
}

/// Waits until something has come about by itself.
async fn until(done: impl Fn() -> bool) {
    let came = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, came).await.expect("it comes about");
}

/// Waits until a server has been asked some more.
async fn asked_again(fake: &Fake) {
    let before = fake.said().asked;
    until(|| fake.said().asked >= before + 9).await;
}

#[tokio::test]
async fn nobody_is_asked_once_the_watch_is_dropped() {
    let master = Fake::with_role("master");
    let sentinel = Fake::naming(&master.server, 1);
    let sentinels = sentinels(&[&sentinel.server]);
    let watch = sentinels.watch(master.server.clone());
    until(|| sentinel.has_listeners()).await;
    drop(watch);
    until(|| Arc::strong_count(&sentinels) == 1).await;
}
