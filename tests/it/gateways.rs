//! Gateways that ask before they let a request through: `/v1/auth` by itself, and behind the real nginx and Caddy.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::routing::any;
use reqwest::{Client, Method, RequestBuilder, Response};
use tollgate_tests::{Behind, Gateway, NGINX, Server, free_port, spoofing};

/// Three for each address, and what a test needs of a key; nothing comes back while a test runs.
const TIERS: &str = r#"
[tiers.free]
policy = "tiered"
config.limits = [{ id = "all", limit = "3/300d" }]
[tiers.pro]
policy = "tiered"
config.limits = [{ id = "all", limit = "100/300d" }]
[tiers.routes]
policy = "route-classes"
config.routes = [{ pattern = "/login", class = "mfa" }]
[tenants.acme]
tier = "pro"
[[keys]]
key = "the-key-of-acme"
tenant = "acme"
id = "acme-1"
"#;

fn server(more: &[(&str, &str)]) -> Result<(Server, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("tollgate.toml");
    std::fs::write(&config, TIERS)?;
    let config = config.to_str().context("a folder for tests is text")?;
    let variables: Vec<(&str, &str)> = [("TOLLGATE_CONFIG", config)].into_iter().chain(more.iter().copied()).collect();
    Ok((Server::start(variables)?, folder))
}

/// A client that calls from this address of the loopback.
fn client(last: u8) -> Client {
    Client::builder().local_address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))).build().unwrap()
}

fn field<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn left(answer: &Response) -> &str {
    field(answer, "ratelimit").split("r=").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or("")
}

/// An application that counts who reaches it.
struct App {
    port: u16,
    reached: Arc<AtomicU64>,
}

impl App {
    async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let (port, reached) = (listener.local_addr()?.port(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&reached);
        let answer = move |body: String| async move {
            counted.fetch_add(1, Ordering::Relaxed);
            format!("the application got `{body}`")
        };
        let routes = Router::new().fallback(any(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { port, reached })
    }

    fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// What holds of every gateway; `down` is what it answers while there is no Tollgate.
async fn holds(start: fn(Behind) -> Result<Gateway>, down: u16) -> Result<()> {
    let ((server, _folder), app) = (server(&[])?, App::start().await?);
    let gateway = start(Behind { tollgate: port(&server.url), app: app.port })?;
    let visitor = client(2);
    let hello = |client: &Client| client.get(format!("{}/hello?tier=pro&cost=1", gateway.url));

    let first = visitor.post(format!("{}/form", gateway.url)).body("a body").send().await?;
    assert_eq!((first.status().as_u16(), left(&first)), (200, "2"), "{}", gateway.output()?);
    assert_eq!(field(&first, "ratelimit-policy"), r#""all";q=3;w=25920000"#);
    assert_eq!(first.text().await?, "the application got `a body`", "the body arrives whole");

    // Whatever a client writes, it stays who it is, and in its tier.
    let claims: [&[(&str, &str)]; 2] = [
        &[("x-forwarded-for", "1.1.1.1"), ("x-real-ip", "1.1.1.1"), ("forwarded", "for=1.1.1.1")],
        &[("x-forwarded-for", "10.0.0.1, 127.0.0.1"), ("tollgate-status", "200"), ("tollgate-token", "guess")],
    ];
    for (claim, expected) in claims.into_iter().zip(["1", "0"]) {
        let claimed = claim.iter().fold(hello(&visitor), |asked, (name, value)| asked.header(*name, *value));
        let answer = claimed.send().await?;
        assert_eq!((answer.status().as_u16(), left(&answer)), (200, expected), "{claim:?}");
    }

    let refused = hello(&visitor).header("x-forwarded-for", "9.9.9.9").send().await?;
    assert_eq!((refused.status().as_u16(), left(&refused)), (429, "0"));
    assert!(field(&refused, "retry-after").parse::<u64>()? > 0);
    assert_eq!(field(&refused, "content-type"), "application/problem+json");
    let problem: serde_json::Value = refused.json().await?;
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(app.reached(), 3, "what is refused does not reach the application");

    assert_eq!(left(&hello(&client(3)).send().await?), "2", "another visitor has limits of its own");
    assert_eq!(left(&hello(&visitor).header("x-api-key", "the-key-of-acme").send().await?), "99");
    assert_eq!(left(&hello(&visitor).bearer_auth("the-key-of-acme").send().await?), "98");
    let unknown = hello(&visitor).bearer_auth("guess").send().await?;
    assert_eq!((unknown.status().as_u16(), field(&unknown, "www-authenticate")), (401, "Bearer"));
    assert_eq!(app.reached(), 6);

    drop(server);
    assert_eq!(hello(&client(4)).send().await?.status().as_u16(), down, "without a Tollgate");
    assert_eq!(app.reached(), 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_lets_pass_and_refuses_as_tollgate_says() -> Result<()> {
    holds(Gateway::nginx, 500).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_lets_everything_pass_without_a_tollgate_if_that_is_wanted() -> Result<()> {
    let ask = "        internal;\n        proxy_pass http://tollgate";
    assert!(NGINX.contains(ask));
    let open = NGINX.replace(ask, &format!("        error_page 500 502 504 = @open;\n{ask}"));
    let open = open.replace("    location / {", "    location @open {\n        return 204;\n    }\n\n    location / {");
    let app = App::start().await?;
    let gateway = Gateway::nginx_from(&open, Behind { tollgate: free_port()?, app: app.port })?;
    assert_eq!(client(2).get(&gateway.url).send().await?.status().as_u16(), 200, "{}", gateway.output()?);
    assert_eq!(app.reached(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_lets_pass_and_refuses_as_tollgate_says() -> Result<()> {
    holds(Gateway::caddy, 502).await
}

#[tokio::test]
async fn nobody_chooses_limits_by_a_forwarding_header() -> Result<()> {
    let failures = spoofing::failures().await?;
    assert!(failures.is_empty(), "of {} ways:\n{}", spoofing::CASES.len(), failures.join("\n"));
    Ok(())
}

#[tokio::test]
async fn any_method_asks_and_a_refusal_comes_as_the_gateway_wants_it() -> Result<()> {
    let (server, _folder) = server(&[])?;
    let client = Client::new();
    let ask = |method: Method, query: &str| client.request(method, format!("{}/v1/auth?{query}", server.url));
    for (method, expected) in [(Method::GET, "2"), (Method::HEAD, "1"), (Method::POST, "0")] {
        let answer = ask(method.clone(), "tier=free").send().await?;
        assert_eq!((answer.status().as_u16(), left(&answer)), (200, expected), "{method}");
        assert!(answer.text().await?.is_empty());
    }
    let with_a_body =
        ask(Method::POST, "cost=1").header("x-api-key", "the-key-of-acme").body(vec![b'x'; 100_000]).send().await?;
    assert_eq!((with_a_body.status().as_u16(), field(&with_a_body, "connection")), (200, "close"), "it is not read");
    for (query, status, meant) in [("tier=free", 429, ""), ("tier=free&deny_status=403", 403, "429")] {
        let answer = ask(Method::DELETE, query).send().await?;
        assert_eq!((answer.status().as_u16(), field(&answer, "tollgate-status")), (status, meant), "{query}");
        assert!(field(&answer, "retry-after").parse::<u64>()? > 0);
        assert_eq!(field(&answer, "content-type"), "application/problem+json");
    }
    let unknown = ask(Method::GET, "tier=free&deny_status=403").header("x-api-key", "guess").send().await?;
    assert_eq!(unknown.status().as_u16(), 401, "a key that is not known is no refusal");
    let costly = ask(Method::GET, "cost=40").header("x-api-key", "the-key-of-acme").send().await?;
    assert_eq!((costly.status().as_u16(), left(&costly)), (200, "59"));
    for query in ["page=2", "cost=0", "cost=2&cost=3", "deny_status=200", "tier=a/b"] {
        assert_eq!(ask(Method::GET, query).send().await?.status().as_u16(), 400, "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn the_route_is_what_the_gateway_says_and_no_client_can_say_another() -> Result<()> {
    let (server, _folder) = server(&[])?;
    let client = Client::new();
    let ask = |fields: &[(&str, &str)]| {
        let asked = client.get(format!("{}/v1/auth?tier=routes", server.url));
        fields.iter().fold(asked, |asked, (name, value)| asked.header(*name, *value))
    };
    for name in ["x-original-uri", "x-forwarded-uri"] {
        let answer = ask(&[(name, "/login?next=/")]).send().await?;
        assert!(field(&answer, "ratelimit").starts_with(r#""mfa""#), "{name}: {:?}", answer.headers());
    }
    assert!(field(&ask(&[]).send().await?, "ratelimit").starts_with(r#""general""#));
    let two = [("x-original-uri", "/login"), ("x-forwarded-uri", "/cheap")];
    assert_eq!(ask(&two).send().await?.status().as_u16(), 400);
    // A gateway without a query of its own would pass on its client's, and the client would choose its tier.
    let leak = ask(&[("x-forwarded-uri", "/?tier=routes")]).send().await?;
    assert_eq!(leak.status().as_u16(), 400);
    assert!(leak.text().await?.contains("the client's query"));
    Ok(())
}

#[tokio::test]
async fn only_a_trusted_gateway_names_tiers_and_vouches_for_addresses() -> Result<()> {
    let (server, _folder) =
        server(&[("TOLLGATE_CALLER_TOKEN", "a-long-enough-token"), ("TOLLGATE_TRUSTED_PROXIES", "127.0.0.7")])?;
    let ask = |from: u8, token: Option<&str>, client_address: &str| -> RequestBuilder {
        let asked =
            client(from).get(format!("{}/v1/auth?tier=free", server.url)).header("x-forwarded-for", client_address);
        token.into_iter().fold(asked, |asked, token| asked.header("tollgate-token", token))
    };
    let status = async |asked: RequestBuilder| anyhow::Ok(asked.send().await?.status().as_u16());
    assert_eq!(status(ask(2, None, "1.1.1.1")).await?, 403, "a stranger");
    assert_eq!(status(ask(2, Some("a-long-enough-tokex"), "1.1.1.1")).await?, 401, "a wrong token");
    assert_eq!(left(&ask(2, Some("a-long-enough-token"), "1.1.1.1").send().await?), "2", "the right token");
    assert_eq!(left(&ask(7, None, "1.1.1.1").send().await?), "1", "a trusted address, and the same client");
    // Keys are their own trust, whoever asks.
    let by_key = client(2).get(format!("{}/v1/auth", server.url)).header("x-api-key", "the-key-of-acme");
    assert_eq!(left(&by_key.send().await?), "99");
    Ok(())
}
