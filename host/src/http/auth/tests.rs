//! What a gateway says, and what of it is believed.

use super::super::limit::Caller as Counted;
use super::*;
use crate::{TierPlan, Tollgate};

fn told(result: Result<Settings, Problem>) -> String {
    format!("{:?}", result.map(|_| ()).unwrap_err())
}

#[test]
fn settings_are_read_or_refused_by_name() {
    let Settings { tenant, tier, cost, deny_status } =
        Settings::read("tenant=shop&tier=free&cost=5&deny_status=403").unwrap();
    assert_eq!((tenant.as_deref(), tier.as_deref(), cost), (Some("shop"), Some("free"), Some(5)));
    assert_eq!(deny_status, Some(StatusCode::FORBIDDEN));
    assert!(Settings::read("").unwrap().tenant.is_none());
    for (query, named) in [
        ("page=2", "`page`"),
        ("cost=0", "`cost`"),
        ("cost=1e3", "`cost`"),
        ("cost=1000000001", "`cost`"),
        ("deny_status=200", "`deny_status`"),
        ("tier=free&tier=pro", "`tier` stands twice"),
        ("%0d%0ax=1", r"`\r\nx`"),
    ] {
        assert!(told(Settings::read(query)).contains(&named.escape_debug().to_string()), "{query}");
    }
}

#[test]
fn the_method_is_what_the_gateway_says_or_its_own() {
    let peer = "127.0.0.1".parse().unwrap();
    let method = |fields: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        Forwarded::of(&map, &Method::GET, peer).map(|forwarded| forwarded.method().to_owned())
    };
    assert_eq!(method(&[]).as_deref(), Ok("GET"));
    assert_eq!(method(&[("x-original-method", "POST")]).as_deref(), Ok("POST"));
    assert_eq!(method(&[("x-forwarded-method", "PUT")]).as_deref(), Ok("PUT"));
    assert!(method(&[("x-original-method", "POST"), ("x-forwarded-method", "GET")]).is_err());
}

#[test]
fn one_uri_counts_and_two_that_differ_are_none() {
    let only_of = |fields: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        only(&map, URIS).map(str::to_owned)
    };
    assert_eq!(only_of(&[]).as_deref(), Some(""));
    assert_eq!(only_of(&[("x-original-uri", "/a"), ("x-forwarded-uri", "")]).as_deref(), Some("/a"));
    assert_eq!(only_of(&[("x-original-uri", "/a"), ("x-forwarded-uri", "/a")]).as_deref(), Some("/a"));
    assert_eq!(only_of(&[("x-original-uri", "/a"), ("x-forwarded-uri", "/b")]), None);
    assert_eq!(only_of(&[("x-forwarded-uri", "/a"), ("x-forwarded-uri", "/b")]), None);
}

struct Posted;

impl Head for Posted {
    fn method(&self) -> &str {
        "POST"
    }

    fn path(&self) -> &str {
        "/"
    }

    fn fields(&self, _: &str) -> Vec<&[u8]> {
        Vec::new()
    }

    fn peer(&self) -> Option<IpAddr> {
        None
    }
}

#[tokio::test]
async fn policies_get_the_attributes() {
    let throttle = TierPlan::built_in("throttle", r#"{"count": 1, "period": 3600}"#);
    let gate = Tollgate::builder().tier("free", throttle).default_tier("free").build().await.unwrap();
    let caller = |_: &dyn Head| Ok(Counted { tenant: "acme".into(), subject: "alice".into(), tier: None });
    let posts = |head: &dyn Head| vec![("max_burst", if head.method() == "POST" { "1" } else { "9" }.to_owned())];
    let limit = RateLimit::new(gate, caller).attributes(posts);
    let mut passed = Vec::new();
    for _ in 0..3 {
        passed.push(matches!(limit.ask(limit.asking(&Posted)).await, Passage::Open(_)));
    }
    assert_eq!(passed, [true, true, false]);
}
