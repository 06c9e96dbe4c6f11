//! Two hosts, and a store that the test can read, change and lose.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;

use super::*;
use crate::store::{Document, DocumentMemory, Documents, Expiring};

/// Documents in memory with a place for what expires, which may be cut off.
#[derive(Debug)]
struct Place {
    documents: DocumentMemory,
    entries: Mutex<HashMap<String, Vec<u8>>>,
    cut: AtomicBool,
}

impl Place {
    fn new() -> Arc<Self> {
        let documents = DocumentMemory::new(clock());
        Arc::new(Self { documents, entries: Mutex::default(), cut: AtomicBool::new(false) })
    }

    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    fn unless_cut<'a, T: Send + 'a>(&self, promise: Promise<'a, T>) -> Promise<'a, T> {
        if !self.cut.load(Ordering::Relaxed) {
            return promise;
        }
        Box::pin(std::future::ready(Err(Error::new(ErrorKind::Store, "the line is cut"))))
    }

    fn done<'a, T: Send + 'a>(&self, value: T) -> Promise<'a, T> {
        self.unless_cut(Box::pin(std::future::ready(Ok(value))))
    }
}

impl Documents for Place {
    fn get<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, Option<Vec<u8>>> {
        self.documents.get(shelf, name)
    }
    fn put<'a>(&'a self, shelf: &'a str, name: &'a str, bytes: &'a [u8]) -> Promise<'a, ()> {
        self.documents.put(shelf, name, bytes)
    }
    fn replace<'a>(
        &'a self,
        shelf: &'a str,
        name: &'a str,
        expected: Option<&'a [u8]>,
        bytes: &'a [u8],
    ) -> Promise<'a, bool> {
        self.documents.replace(shelf, name, expected, bytes)
    }
    fn remove<'a>(&'a self, shelf: &'a str, name: &'a str) -> Promise<'a, ()> {
        self.documents.remove(shelf, name)
    }
    fn list<'a>(&'a self, shelf: &'a str) -> Promise<'a, Vec<Document>> {
        self.documents.list(shelf)
    }
    fn append<'a>(&'a self, log: &'a str, entry: &'a [u8], keep: usize) -> Promise<'a, ()> {
        self.unless_cut(self.documents.append(log, entry, keep))
    }
    fn tail<'a>(&'a self, log: &'a str, count: usize) -> Promise<'a, Vec<Vec<u8>>> {
        self.unless_cut(self.documents.tail(log, count))
    }
    fn announce(&self) -> Promise<'_, ()> {
        self.unless_cut(self.documents.announce())
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.documents.changes()
    }
    fn expiring(&self) -> Option<&dyn Expiring> {
        Some(self)
    }
}

impl Expiring for Place {
    fn recall<'a>(&'a self, name: &'a str) -> Promise<'a, Option<Vec<u8>>> {
        self.done(self.entries.lock().unwrap().get(name).cloned())
    }
    fn keep<'a>(&'a self, name: &'a str, bytes: &'a [u8], _: Duration) -> Promise<'a, ()> {
        self.entries.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
        self.done(())
    }
    fn forget<'a>(&'a self, name: &'a str) -> Promise<'a, ()> {
        self.entries.lock().unwrap().remove(name);
        self.done(())
    }
}

const SECRET: &str = "a secret of the fleet, thirty-two bytes or more";

async fn host(book: &Book, clock: &ManualClock, place: &Arc<Place>, secret: Option<&str>) -> Keys {
    let (place, secret): (Arc<dyn Documents>, _) = (Arc::clone(place) as _, secret.map(Secret::new));
    let options = KeyCacheOptions::default();
    Keys::from(CachedKeys::shared(book.clone(), options, clock.clone(), place, secret.as_ref()).await.unwrap())
}

/// Waits until `key` has this tier on a host: notices take a moment.
async fn becomes(keys: &Keys, key: &str, expected: Result<Option<String>, KeyFault>) {
    let heard = async {
        while tier(keys, key).await != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.expect("it is heard");
}

#[tokio::test]
async fn hosts_share_what_they_know_if_they_have_one_secret() {
    let (book, clock, place) = (Book::with(&[("mine", "pro")]), clock(), Place::new());
    for expected in [1, 1, 1] {
        let host = host(&book, &clock, &place, Some(SECRET)).await;
        assert_eq!((tier(&host, "mine").await, book.asked()), (some("pro"), expected));
    }
    for expected in [2, 3] {
        let host = host(&book, &clock, &place, None).await;
        assert_eq!((tier(&host, "mine").await, book.asked()), (some("pro"), expected), "none has no common one");
    }
    let entries = place.entries.lock().unwrap();
    let shown =
        format!("{:?}", entries.iter().map(|(name, bytes)| (name, String::from_utf8_lossy(bytes))).collect::<Vec<_>>());
    assert!(entries.len() == 1 && !shown.contains("mine") && !shown.contains(&plain_digest("mine")), "{shown}");
}

/// What a key could be found by, without the secret.
fn plain_digest(key: &str) -> String {
    use sha2::Digest as _;
    let digest: [u8; 32] = sha2::Sha256::digest(key).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn what_is_shared_holds_no_longer_than_its_host_said() {
    let (book, clock, place) = (Book::with(&[("mine", "pro")]), clock(), Place::new());
    assert_eq!(tier(&host(&book, &clock, &place, Some(SECRET)).await, "mine").await, some("pro"));
    book.write("mine", Some("free"));
    clock.advance(3000 * SECOND);
    let other = host(&book, &clock, &place, Some(SECRET)).await;
    assert_eq!(tier(&other, "mine").await, some("pro"));
    clock.advance(600 * SECOND);
    assert_eq!(tier(&other, "mine").await, some("free"), "an hour after it was said, not after it was heard");
    // A store that forgets to expire brings nothing back.
    clock.advance(3600 * SECOND);
    book.write("mine", Some("basic"));
    assert_eq!(tier(&host(&book, &clock, &place, Some(SECRET)).await, "mine").await, some("basic"));
}

#[tokio::test]
async fn nobody_promotes_himself_by_writing_to_the_store() {
    let (book, clock, place) = (Book::with(&[("mine", "free"), ("boss", "pro")]), clock(), Place::new());
    let first = host(&book, &clock, &place, Some(SECRET)).await;
    assert_eq!((tier(&first, "mine").await, tier(&first, "boss").await), (some("free"), some("pro")));
    let genuine = place.entries.lock().unwrap().clone();
    let of = |wanted: &str| {
        let found = genuine.iter().find(|(_, bytes)| String::from_utf8_lossy(bytes).contains(wanted));
        found.map(|(name, bytes)| (name.clone(), bytes.clone())).unwrap()
    };
    let ((mine, entry), (_, boss)) = (of("\"free\""), of("\"pro\""));
    let promoted = String::from_utf8_lossy(&entry).replace("\"free\"", "\"pro\"").into_bytes();
    let foreign = Place::new();
    let stranger =
        host(&Book::with(&[("mine", "pro")]), &clock, &foreign, Some("another secret of thirty-two bytes or more"))
            .await;
    assert_eq!(tier(&stranger, "mine").await, some("pro"));
    let forged = foreign.entries.lock().unwrap().values().next().cloned().unwrap();
    for (forgery, poison) in
        [("moved", boss), ("changed", promoted), ("forged", forged), ("nonsense", vec![0xff; 9000])]
    {
        place.entries.lock().unwrap().insert(mine.clone(), poison);
        let next = host(&book, &clock, &place, Some(SECRET)).await;
        assert_eq!(tier(&next, "mine").await, some("free"), "{forgery}");
    }
}

#[tokio::test]
async fn a_revoked_key_stops_on_every_host_and_what_is_written_back_does_not_revive_it() {
    for secret in [Some(SECRET), None] {
        let (book, clock, place) = (Book::with(&[("mine", "pro"), ("other", "pro")]), clock(), Place::new());
        let (one, two) = (host(&book, &clock, &place, secret).await, host(&book, &clock, &place, secret).await);
        for host in [&one, &two] {
            assert_eq!(tier(host, "mine").await, some("pro"));
        }
        let before = place.entries.lock().unwrap().clone();
        book.write("mine", None);
        clock.advance(SECOND);
        one.invalidate(Invalidation::Key(Secret::new("mine"))).await.unwrap();
        place.entries.lock().unwrap().extend(before);
        becomes(&two, "mine", Ok(None)).await;
        assert_eq!(tier(&one, "mine").await, Ok(None));
        let three = host(&book, &clock, &place, secret).await;
        assert_eq!(tier(&three, "mine").await, Ok(None), "who comes later reads what was revoked");
        assert_eq!(tier(&three, "other").await, some("pro"));
    }
}

#[tokio::test]
async fn a_host_that_hears_nothing_goes_on_for_its_time_and_no_longer() {
    let (book, clock, place) = (Book::with(&[("mine", "pro")]), clock(), Place::new());
    let (one, two) = (host(&book, &clock, &place, Some(SECRET)).await, host(&book, &clock, &place, Some(SECRET)).await);
    assert_eq!((tier(&one, "mine").await, tier(&two, "mine").await), (some("pro"), some("pro")));
    place.cut(true);
    book.write("mine", None);
    let told = one.invalidate(Invalidation::Key(Secret::new("mine"))).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::Store, "whoever revokes learns that not all have heard");
    clock.advance(SECOND);
    assert_eq!((tier(&one, "mine").await, tier(&two, "mine").await), (Ok(None), some("pro")));
    clock.advance(3599 * SECOND);
    assert_eq!(tier(&two, "mine").await, Ok(None));
}

#[tokio::test]
async fn more_notices_than_the_list_keeps_are_as_one_for_all() {
    let (book, clock, place) = (Book::with(&[("mine", "pro")]), clock(), Place::new());
    let (one, two) = (host(&book, &clock, &place, Some(SECRET)).await, host(&book, &clock, &place, Some(SECRET)).await);
    one.invalidate(Invalidation::Tenant("first".into())).await.unwrap();
    assert_eq!((tier(&one, "mine").await, tier(&two, "mine").await), (some("pro"), some("pro")));
    clock.advance(SECOND);
    book.write("mine", None);
    place.cut(true);
    // Two hears of nothing meanwhile: this happens before it can run again.
    place.cut(false);
    one.invalidate(Invalidation::Key(Secret::new("mine"))).await.unwrap();
    for number in 0..300 {
        one.invalidate(Invalidation::Tenant(format!("tenant-{number}"))).await.unwrap();
    }
    becomes(&two, "mine", Ok(None)).await;
}
