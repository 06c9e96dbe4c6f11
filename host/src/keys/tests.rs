//! The cache with a source and a store of the test's own, on a clock that the test moves.

mod shared;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::config::Secret;
use crate::error::{Error, ErrorKind};
use crate::store::Promise;
use crate::time::{Clock as _, ManualClock, Timestamp};

/// A source that counts how often it is asked.
#[derive(Clone, Default)]
struct Book(Arc<Pages>);

#[derive(Default)]
struct Pages {
    tiers: Mutex<BTreeMap<String, &'static str>>,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    broken: std::sync::atomic::AtomicBool,
}

impl Book {
    fn with(keys: &[(&str, &'static str)]) -> Self {
        let book = Self::default();
        keys.iter().for_each(|(key, tier)| book.write(key, Some(tier)));
        book
    }

    fn write(&self, key: &str, tier: Option<&'static str>) {
        let mut tiers = self.0.tiers.lock().unwrap();
        match tier {
            Some(tier) => drop(tiers.insert(key.to_owned(), tier)),
            None => drop(tiers.remove(key)),
        }
    }

    fn break_down(&self, broken: bool) {
        self.0.broken.store(broken, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::Relaxed)
    }
}

impl TierSource for Book {
    fn holder(&self, key: Secret) -> Promise<'_, Option<KeyHolder>> {
        Box::pin(async move {
            self.0.asked.fetch_add(1, Ordering::Relaxed);
            let at_once = self.0.at_once.fetch_add(1, Ordering::Relaxed) + 1;
            self.0.most_at_once.fetch_max(at_once, Ordering::Relaxed);
            // Long enough for everybody else to come.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            self.0.at_once.fetch_sub(1, Ordering::Relaxed);
            if self.0.broken.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::System, "the book is lost"));
            }
            let tier = self.0.tiers.lock().unwrap().get(key.reveal()).copied();
            Ok(tier.map(|tier| KeyHolder { tenant: "acme".into(), subject: "key-1".into(), tier: Some(tier.into()) }))
        })
    }
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_micros(1_000_000_000_000))
}

fn cached(book: &Book, clock: &ManualClock) -> (CachedKeys, Keys) {
    let cached = CachedKeys::new(book.clone(), KeyCacheOptions::default(), clock.clone()).unwrap();
    (cached.clone(), Keys::from(cached))
}

async fn tier(keys: &Keys, key: &str) -> Result<Option<String>, KeyFault> {
    Ok(keys.holder(key).await?.and_then(|holder| holder.tier.clone()))
}

fn some(tier: &str) -> Result<Option<String>, KeyFault> {
    Ok(Some(tier.to_owned()))
}

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

#[tokio::test]
async fn a_herd_on_one_key_asks_once() {
    let (book, clock) = (Book::with(&[("mine", "pro")]), clock());
    let (_, keys) = cached(&book, &clock);
    let mut herd = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let keys = keys.clone();
        herd.spawn(async move { tier(&keys, "mine").await });
    }
    while let Some(found) = herd.join_next().await {
        assert_eq!(found.unwrap(), some("pro"));
    }
    assert_eq!(book.asked(), 1);
    assert!(matches!(keys.find("mine"), Finding::Ready(Ok(Some(_)))), "who is known waits for nobody");
}

#[tokio::test]
async fn a_look_up_goes_on_when_whoever_began_it_goes_away() {
    let (book, clock) = (Book::with(&[("mine", "pro")]), clock());
    let (_, keys) = cached(&book, &clock);
    let first = tokio::spawn({
        let keys = keys.clone();
        async move { tier(&keys, "mine").await }
    });
    while book.asked() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert_eq!(tier(&keys, "mine").await, some("pro"));
    assert_eq!(book.asked(), 1);
}

#[tokio::test]
async fn what_is_known_holds_for_its_time_and_not_longer() {
    let (book, clock) = (Book::with(&[("mine", "pro")]), clock());
    let (_, keys) = cached(&book, &clock);
    assert_eq!(tier(&keys, "mine").await, some("pro"));
    book.write("mine", Some("free"));
    clock.advance(3599 * SECOND);
    assert_eq!(tier(&keys, "mine").await, some("pro"));
    clock.advance(SECOND);
    assert_eq!(tier(&keys, "mine").await, some("free"));
    book.write("mine", None);
    clock.advance(3600 * SECOND);
    assert_eq!(tier(&keys, "mine").await, Ok(None));
    assert_eq!(book.asked(), 3);
    // Nobody's key is nobody's for a shorter time.
    book.write("mine", Some("pro"));
    clock.advance(29 * SECOND);
    assert_eq!((tier(&keys, "mine").await, book.asked()), (Ok(None), 3));
    clock.advance(SECOND);
    assert_eq!((tier(&keys, "mine").await, book.asked()), (some("pro"), 4));
}

#[tokio::test]
async fn bogus_keys_neither_grow_memory_nor_ask_without_bound_nor_shut_out_who_is_known() {
    let (book, clock) = (Book::with(&[("mine", "pro"), ("late", "pro")]), clock());
    let (cache, keys) = cached(&book, &clock);
    assert_eq!(tier(&keys, "mine").await, some("pro"));
    let (mut unknown, mut busy) = (0, 0);
    for number in 0..100_000 {
        match keys.holder(&format!("bogus-{number}")).await {
            Ok(None) => unknown += 1,
            Err(KeyFault::Busy) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    // The clock stands still: the two hundred that may come at once, and no more.
    assert_eq!((unknown, busy, book.asked()), (200, 99_800, 201));
    assert_eq!(tier(&keys, "mine").await, some("pro"));
    for _ in 0..500 {
        clock.advance(SECOND);
        for number in 0..200 {
            let _ = keys.holder(&format!("bogus-{}-{number}", clock.now().as_micros())).await;
        }
    }
    assert!(book.asked() <= 201 + 500 * 100 + 200, "{}", book.asked());
    let (holders, vain) = cache.sizes();
    assert!(holders == 1 && vain <= 10_100, "{holders} {vain}");
    assert_eq!(tier(&keys, "mine").await, some("pro"), "bogus keys push out nobody");
    clock.advance(SECOND);
    assert_eq!(tier(&keys, "late").await, some("pro"), "and when they are gone, new keys are looked up");
}

#[tokio::test]
async fn good_keys_use_up_nothing_and_few_are_asked_for_at_a_time() {
    let names: Vec<String> = (0..900).map(|number| format!("key-of-{number}")).collect();
    let (book, clock) = (Book::default(), clock());
    names.iter().for_each(|name| book.write(name, Some("pro")));
    let (_, keys) = cached(&book, &clock);
    let mut all = tokio::task::JoinSet::new();
    for name in names {
        let keys = keys.clone();
        all.spawn(async move { tier(&keys, &name).await });
    }
    while let Some(found) = all.join_next().await {
        assert_eq!(found.unwrap(), some("pro"));
    }
    assert_eq!(book.asked(), 900);
    let most = book.0.most_at_once.load(Ordering::Relaxed);
    assert!((2..=32).contains(&most), "{most}");
}

#[tokio::test]
async fn where_the_source_fails_what_was_known_serves_for_a_while_and_then_nobody_can_say() {
    let (book, clock) = (Book::with(&[("mine", "pro")]), clock());
    let (_, keys) = cached(&book, &clock);
    assert_eq!(tier(&keys, "mine").await, some("pro"));
    book.break_down(true);
    clock.advance(3600 * SECOND);
    assert_eq!((tier(&keys, "mine").await, book.asked()), (some("pro"), 2));
    for _ in 0..100 {
        assert_eq!(tier(&keys, "mine").await, some("pro"));
    }
    assert_eq!(book.asked(), 2, "a source that just failed is left alone");
    clock.advance(5 * SECOND);
    assert_eq!((tier(&keys, "mine").await, book.asked()), (some("pro"), 3));
    assert_eq!(
        tier(&keys, "other").await,
        Err(KeyFault::Source),
        "nobody knows that one, and it is not refused as unknown"
    );
    assert_eq!((tier(&keys, "other").await, book.asked()), (Err(KeyFault::Source), 4));
    clock.advance(594 * SECOND);
    assert_eq!(tier(&keys, "mine").await, some("pro"));
    clock.advance(SECOND);
    assert_eq!(tier(&keys, "mine").await, Err(KeyFault::Source));
    book.break_down(false);
    clock.advance(SECOND);
    assert_eq!(tier(&keys, "mine").await, some("pro"));
    assert_eq!(tier(&keys, "other").await, Ok(None));
}

#[tokio::test]
async fn a_source_that_says_nonsense_or_tells_the_key_is_not_believed() {
    let odd = |tenant: &'static str, subject: &'static str, tier: Option<&'static str>| {
        let source = move |_: Secret| async move {
            Ok(Some(KeyHolder { tenant: tenant.into(), subject: subject.into(), tier: tier.map(str::to_owned) }))
        };
        Keys::from(CachedKeys::new(source, KeyCacheOptions::default(), clock()).unwrap())
    };
    assert!(odd("acme", "key-1", None).holder("s3cret").await.unwrap().is_some());
    for keys in [
        odd("", "key-1", None),
        odd("a}c", "key-1", None),
        odd("acme", "a\nb", None),
        odd("acme", "key-1", Some("no tier")),
        odd("acme", "key s3cret", None),
    ] {
        assert_eq!(keys.holder("s3cret").await, Err(KeyFault::Source));
    }
}

#[tokio::test]
async fn a_source_that_is_silent_is_given_up() {
    tokio::time::pause();
    let silent = |_: Secret| std::future::pending::<Result<Option<KeyHolder>>>();
    let keys = Keys::from(CachedKeys::new(silent, KeyCacheOptions::default(), clock()).unwrap());
    assert_eq!(keys.holder("mine").await, Err(KeyFault::Source));
}

#[tokio::test]
async fn what_is_listed_or_no_key_at_all_asks_nobody() {
    let (book, clock) = (Book::with(&[("mine", "pro")]), clock());
    let (cache, _) = cached(&book, &clock);
    let mut listed = ApiKeys::default();
    let holder = KeyHolder { tenant: "acme".into(), subject: "listed".into(), tier: Some("free".into()) };
    listed.add(KeyDigest::of("mine"), holder).unwrap();
    let keys = Keys::from(listed).or(cache);
    assert_eq!(tier(&keys, "mine").await, some("free"));
    for key in ["", "a\nb", &"x".repeat(513)] {
        assert_eq!(tier(&keys, key).await, Ok(None));
    }
    assert_eq!(book.asked(), 0);
}

#[tokio::test]
async fn what_is_invalidated_is_asked_for_again_and_an_answer_on_its_way_is_not_kept() {
    let (book, clock) = (Book::with(&[("mine", "pro"), ("other", "pro")]), clock());
    let (_, keys) = cached(&book, &clock);
    for what in [Invalidation::Key(Secret::new("mine")), Invalidation::Tenant("acme".into()), Invalidation::All] {
        assert_eq!(tier(&keys, "mine").await, some("pro"));
        book.write("mine", None);
        keys.invalidate(what).await.unwrap();
        clock.advance(SECOND);
        assert_eq!(tier(&keys, "mine").await, Ok(None));
        book.write("mine", Some("pro"));
        keys.invalidate(Invalidation::Key(Secret::new("mine"))).await.unwrap();
        clock.advance(SECOND);
    }
    let before = book.asked();
    let Finding::Pending(on_its_way) = keys.find("other") else { panic!("it is not known yet") };
    let on_its_way = tokio::spawn(on_its_way);
    while book.asked() == before {
        tokio::task::yield_now().await;
    }
    keys.invalidate(Invalidation::Key(Secret::new("other"))).await.unwrap();
    assert!(on_its_way.await.unwrap().unwrap().is_some());
    clock.advance(SECOND);
    book.write("other", None);
    assert_eq!(tier(&keys, "other").await, Ok(None), "what was said before the revocation was not kept");
}

#[tokio::test]
async fn no_key_is_shown_by_anything_that_can_be_printed() {
    let (cache, keys) = cached(&Book::with(&[("canary-7f3a", "pro")]), &clock());
    assert_eq!(tier(&keys, "canary-7f3a").await, some("pro"));
    let what = Invalidation::Key(Secret::new("canary-7f3a"));
    let shown = format!("{cache:?} {keys:?} {:?} {what:?}", keys.find("canary-7f3a"));
    assert!(!shown.contains("canary"), "{shown}");
}
