//! Two hosts, on a clock that the test moves.

use super::*;
use crate::store::DocumentMemory;
use crate::time::{Clock as _, ManualClock};

const MINUTE: Duration = Duration::from_secs(60);

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_micros(1_000_000_000_000))
}

async fn hosts(clock: &ManualClock) -> (Arc<DocumentMemory>, Blocks, Blocks) {
    let documents = Arc::new(DocumentMemory::new(clock.clone()));
    let host = || Blocks::join(Arc::clone(&documents) as Arc<dyn Documents>, clock.clone());
    let (one, two) = (host().await, host().await);
    (documents, one, two)
}

fn is_out(blocks: &Blocks, address: &str) -> bool {
    blocks.of_address(address.parse().unwrap()).is_some()
}

fn subject_is_out(blocks: &Blocks, tenant: &str, subject: &str) -> bool {
    blocks.of_request(&Request::new(tenant, subject).unwrap()).is_some()
}

async fn becomes(what: impl Fn() -> bool) {
    let heard = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, heard).await.expect("it is heard");
}

#[tokio::test]
async fn an_address_is_kept_out_with_its_network_and_nobody_beside_it() {
    let (_, blocks, _) = hosts(&clock()).await;
    for target in ["203.0.113.9", "198.51.100.0/24", "2001:db8::1", "2001:db8:ff::/48", "::ffff:192.0.2.0/120"] {
        blocks.block(target.parse().unwrap(), MINUTE, "alice", "").await.unwrap();
    }
    for address in
        ["203.0.113.9", "::ffff:203.0.113.9", "198.51.100.255", "2001:db8::ffff", "2001:db8:ff:1::1", "192.0.2.7"]
    {
        assert!(is_out(&blocks, address), "{address}");
    }
    for address in ["203.0.113.8", "198.51.101.0", "2001:db8:0:1::1", "2001:db8:fe::1", "192.0.3.1", "::1"] {
        assert!(!is_out(&blocks, address), "{address}");
    }
    assert!(subject_is_out(&blocks, "visitors", "203.0.113.9"), "where addresses are subjects");
    assert!(subject_is_out(&blocks, "visitors", "2001:db8::/64"));
    assert!(!subject_is_out(&blocks, "visitors", "203.0.113.8"));
}

#[tokio::test]
async fn a_subject_is_kept_out_and_its_namesake_of_another_tenant_is_not() {
    let (_, blocks, _) = hosts(&clock()).await;
    blocks.block(BlockTarget::subject("acme", "bob").unwrap(), MINUTE, "alice", "").await.unwrap();
    assert!(subject_is_out(&blocks, "acme", "bob"));
    assert!(!subject_is_out(&blocks, "globex", "bob") && !subject_is_out(&blocks, "acme", "bobby"));
    assert!(BlockTarget::subject("", "bob").is_err());
}

#[tokio::test]
async fn a_block_ends_by_itself_or_by_hand_and_another_beside_it_stays() {
    let clock = clock();
    let (_, blocks, _) = hosts(&clock).await;
    let (address, network): (BlockTarget, BlockTarget) = ("10.0.0.1".parse().unwrap(), "10.0.0.0/24".parse().unwrap());
    blocks.block(address.clone(), MINUTE, "alice", "").await.unwrap();
    clock.advance(MINUTE - Duration::from_micros(1));
    assert!(is_out(&blocks, "10.0.0.1"));
    clock.advance(Duration::from_micros(1));
    assert!(!is_out(&blocks, "10.0.0.1") && blocks.list().is_empty());
    assert!(!blocks.unblock(&address).await.unwrap(), "it was over");
    blocks.block(address.clone(), MINUTE, "alice", "").await.unwrap();
    blocks.block(network.clone(), MINUTE, "alice", "").await.unwrap();
    assert!(blocks.unblock(&address).await.unwrap());
    assert!(is_out(&blocks, "10.0.0.1"), "its network is blocked");
    assert!(blocks.unblock(&network).await.unwrap());
    assert!(!is_out(&blocks, "10.0.0.1"));
}

#[tokio::test]
async fn every_host_hears_of_it_and_whoever_comes_later_knows() {
    let clock = clock();
    let (documents, one, two) = hosts(&clock).await;
    let target: BlockTarget = "203.0.113.9".parse().unwrap();
    let made = one.block(target.clone(), MINUTE, "alice", "scrapes").await.unwrap();
    becomes(|| is_out(&two, "203.0.113.9")).await;
    assert_eq!(*two.list()[0], made);
    let three = Blocks::join(documents, clock.clone()).await;
    assert!(is_out(&three, "203.0.113.9"));
    three.unblock(&target).await.unwrap();
    becomes(|| !is_out(&one, "203.0.113.9") && !is_out(&two, "203.0.113.9")).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_missed_the_message_looks_and_a_store_that_lost_its_blocks_lets_nobody_in() {
    let clock = clock();
    let (documents, one, two) = hosts(&clock).await;
    let target: BlockTarget = "203.0.113.9".parse().unwrap();
    let block = one.block(target.clone(), MINUTE, "alice", "").await.unwrap();
    becomes(|| is_out(&two, "203.0.113.9")).await;
    // Emptied, or evicted from; nothing is announced.
    documents.remove(SHELF, &target.name()).await.unwrap();
    documents.remove(MARKS, MARK).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(is_out(&one, "203.0.113.9") && is_out(&two, "203.0.113.9"));
    assert_eq!(*Blocks::join(documents.clone(), clock).await.list()[0], block, "it is there again");
    // A change that nobody announces.
    documents.remove(SHELF, &target.name()).await.unwrap();
    documents.put(MARKS, MARK, b"another").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!is_out(&one, "203.0.113.9") && !is_out(&two, "203.0.113.9"));
}

#[tokio::test]
async fn what_will_not_do_is_refused_and_what_is_no_block_is_passed_over() {
    let (documents, blocks, _) = hosts(&clock()).await;
    for target in ["", "here", "10.0.0.0/33", "0.0.0.0/0", "10.0.0.0/7", "::/0", "2001::/15", "1.2.3.4/8/9"] {
        assert!(target.parse::<BlockTarget>().is_err(), "{target}");
    }
    let target: BlockTarget = "10.0.0.1".parse().unwrap();
    for (duration, reason) in
        [(Duration::ZERO, ""), (Blocks::LONGEST + MINUTE, ""), (MINUTE, "a\nb"), (MINUTE, &"x".repeat(257))]
    {
        let refused = blocks.block(target.clone(), duration, "alice", reason).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Request);
    }
    let genuine = blocks.block(target.clone(), MINUTE, "alice", "").await.unwrap().write().unwrap();
    for (name, bytes) in [("a", b"nonsense".as_slice()), ("b", b"{}"), ("c", &genuine)] {
        documents.put(SHELF, name, bytes).await.unwrap();
    }
    blocks.block("10.0.0.2".parse().unwrap(), MINUTE, "alice", "").await.unwrap();
    assert_eq!(blocks.list().len(), 2);
}

#[tokio::test]
async fn there_are_only_so_many_blocks() {
    let clock = clock();
    let (documents, blocks, _) = hosts(&clock).await;
    let now = clock.now();
    for number in 0..Blocks::MOST {
        let target = BlockTarget::subject("acme", &number.to_string()).unwrap();
        let block = Block { target, at: now, until: now.plus(MINUTE), by: "alice".into(), reason: String::new() };
        documents.put(SHELF, &block.target.name(), &block.write().unwrap()).await.unwrap();
    }
    let target: BlockTarget = "10.0.0.1".parse().unwrap();
    let refused = blocks.block(target.clone(), MINUTE, "alice", "").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    clock.advance(MINUTE);
    blocks.block(target, MINUTE, "alice", "").await.expect("those that ended make room");
    assert_eq!(documents.list(SHELF).await.unwrap().len(), 1);
}
