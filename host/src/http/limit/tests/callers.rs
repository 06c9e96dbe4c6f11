//! Whom the layer lets pass: keys that a source knows, and callers that are blocked.

use std::net::IpAddr;

use super::*;
use crate::blocks::{BlockTarget, Blocks};
use crate::config::Secret;
use crate::error::{Error, ErrorKind};
use crate::gate::KeyHolder;
use crate::http::{ByAddress, ByApiKey, ClientAddress};
use crate::keys::{CachedKeys, KeyCacheOptions};
use crate::store::DocumentMemory;
use crate::time::SystemClock;

fn from(address: &str, key: Option<&str>) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(address.parse::<IpAddr>().expect("it is sound"));
    if let Some(key) = key {
        request.headers_mut().insert("x-api-key", key.parse().expect("it is sound"));
    }
    request
}

/// An application whose callers show keys, or are counted by address; and who is asked how often whose a key is.
async fn service(adjust: impl Fn(RateLimit) -> RateLimit) -> (RateLimited<App>, Arc<AtomicUsize>) {
    let tier = TierPlan::built_in("tiered", r#"{"limits": [{"id": "only", "limit": "1000/h"}]}"#);
    let gate = Tollgate::builder().tier("free", tier).default_tier("free").build().await.expect("it is sound");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let source = move |key: Secret| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::task::yield_now().await;
            match key.reveal() {
                "mine" => Ok(Some(KeyHolder { tenant: "acme".into(), subject: "key-1".into(), tier: None })),
                "trouble" => Err(Error::new(ErrorKind::System, "the book is lost")),
                _ => Ok(None),
            }
        }
    };
    let keys = CachedKeys::new(source, KeyCacheOptions::default(), SystemClock::new()).expect("it is sound");
    let by = ByApiKey::new(keys).or_by(ByAddress::new("visitors", ClientAddress::direct()));
    let app = App::answering(StatusCode::OK, None);
    (RateLimitLayer::new(adjust(RateLimit::new(gate, by))).layer(app), asked)
}

async fn status(service: &mut RateLimited<App>, request: Request<()>) -> u16 {
    service.call(request).await.expect("it is sound").status().as_u16()
}

#[tokio::test]
async fn a_key_that_a_source_knows_is_asked_for_once_and_nobody_passes_where_it_cannot_say() {
    let (mut service, asked) = service(|limit| limit).await;
    for (key, expected) in [("mine", 200), ("mine", 200), ("guess", 401), ("guess", 401), ("trouble", 503)] {
        assert_eq!(status(&mut service, from("203.0.113.9", Some(key))).await, expected, "{key}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    let answer = service.call(from("203.0.113.9", Some("trouble"))).await.expect("it is sound");
    assert_eq!(answer.headers()["retry-after"], "1");
    assert!(!answer.headers().contains_key("www-authenticate"), "it is no fault of the key");
    assert_eq!(status(&mut service, from("203.0.113.9", None)).await, 200);
}

#[tokio::test]
async fn whoever_is_blocked_is_refused_by_address_before_anybody_is_asked_and_by_subject() {
    let blocks = Blocks::join(Arc::new(DocumentMemory::default()), SystemClock::new()).await;
    let (mut service, asked) = service(|limit| limit.blocks(blocks.clone(), ClientAddress::direct())).await;
    assert_eq!(status(&mut service, from("198.51.100.1", Some("mine"))).await, 200);
    let (minute, subject) = (Duration::from_secs(60), BlockTarget::subject("acme", "key-1").expect("it is sound"));
    blocks
        .block("203.0.113.0/24".parse().expect("it is sound"), minute, "alice", "secret reason")
        .await
        .expect("it is sound");
    for key in [None, Some("mine"), Some("another")] {
        let answer = service.call(from("203.0.113.9", key)).await.expect("it is sound");
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(["59", "60"].contains(&answer.headers()["retry-after"].to_str().expect("it is sound")));
        assert!(answer.body().contains("#abnormal-usage-detected") && !answer.body().contains("secret"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "nobody asked whose the other key is");
    assert_eq!(status(&mut service, from("203.0.114.9", None)).await, 200);
    blocks.block(subject, minute, "alice", "").await.expect("it is sound");
    assert_eq!(status(&mut service, from("198.51.100.1", Some("mine"))).await, 429, "from wherever it comes");
    assert_eq!(status(&mut service, from("198.51.100.1", None)).await, 200);
}
