//! The program as Envoy meets it: a listener of its own, files that change, health, a stop.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tollgate_tests::{RedisServer, Server};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";

/// A file of one limit on the key `user`.
fn limit(per_year: u32) -> String {
    format!(
        "domain: edge\ndescriptors:\n  - key: user\n    rate_limit: {{ unit: year, requests_per_unit: {per_year} }}\n"
    )
}

/// The program with the limits in this folder, and where Envoy finds it.
fn start(limits: &Path) -> Result<(Server, String)> {
    start_with(limits, &[])
}

fn start_with(limits: &Path, more: &[(&str, &str)]) -> Result<(Server, String)> {
    let limits = limits.to_str().context("a temporary folder has a plain name")?;
    let variables = [("TOLLGATE_GRPC_LISTEN", "127.0.0.1:0"), ("TOLLGATE_RLS_CONFIG", limits)];
    let server = Server::start(variables.into_iter().chain(more.iter().copied()))?;
    let said = server.said("  envoy     ")?;
    let address = said.split_whitespace().next().context("it says its address")?.to_owned();
    Ok((server, address))
}

async fn channel(address: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect().await?)
}

async fn ask(channel: &Channel, user: &str) -> Result<RateLimitResponse> {
    let entry = Entry { key: "user".to_owned(), value: user.to_owned() };
    let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
    let request = RateLimitRequest { domain: "edge".to_owned(), descriptors: vec![descriptor], hits_addend: 0 };
    Ok(RateLimitServiceClient::new(channel.clone()).should_rate_limit(request).await?.into_inner())
}

/// What the limit on `user` is.
async fn per_year(channel: &Channel) -> Result<u32> {
    let told = ask(channel, "who-looks").await?;
    Ok(told.statuses[0].current_limit.as_ref().context("there is a limit")?.requests_per_unit)
}

async fn until_per_year(channel: &Channel, expected: u32) -> Result<()> {
    let began = Instant::now();
    while per_year(channel).await? != expected {
        ensure!(began.elapsed() < Duration::from_secs(20), "the limit is not {expected}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test]
async fn the_program_decides_for_envoy_and_says_when_it_stops() -> Result<()> {
    let limits = tempfile::tempdir()?;
    fs::write(limits.path().join("edge.yaml"), limit(2))?;
    let (server, address) = start(limits.path())?;
    let channel = channel(&address).await?;
    let codes =
        [ask(&channel, "a").await?, ask(&channel, "a").await?, ask(&channel, "a").await?, ask(&channel, "b").await?];
    assert_eq!(codes.map(|told| told.overall_code), [1, 1, 2, 1]);
    let mut health = HealthClient::new(channel.clone());
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", SERVICE] {
        assert_eq!(health.check(of(service)).await?.into_inner().status, 1, "`{service}` is served");
    }
    assert_eq!(health.check(of("unknown")).await.unwrap_err().code(), Code::NotFound);
    let mut watched = health.watch(of(SERVICE)).await?.into_inner();
    assert_eq!(watched.message().await?.map(|told| told.status), Some(1));
    let began = Instant::now();
    server.signal("TERM")?;
    assert_eq!(watched.message().await?.map(|told| told.status), Some(2), "it is told that nothing is served any more");
    assert_eq!(watched.message().await?, None);
    // The client is to answer meanwhile: a connection is closed after a last ping.
    let (status, output) = tokio::task::spawn_blocking(|| server.wait()).await??;
    assert!(status.success(), "{output}");
    assert!(began.elapsed() < Duration::from_secs(5), "who watches holds no stop up");
    Ok(())
}

#[tokio::test]
async fn limits_that_change_are_in_effect_and_what_is_broken_replaces_nothing() -> Result<()> {
    let limits = tempfile::tempdir()?;
    let file = limits.path().join("edge.yaml");
    fs::write(&file, limit(10))?;
    let (server, address) = start(limits.path())?;
    let channel = channel(&address).await?;
    assert_eq!(ask(&channel, "a").await?.statuses[0].limit_remaining, 9);
    fs::write(&file, limit(5))?;
    until_per_year(&channel, 5).await?;
    assert_eq!(ask(&channel, "a").await?.statuses[0].limit_remaining, 3, "the counter goes on");
    fs::write(&file, limit(7).replace("unit: year", "unit: eon"))?;
    let said = server.said_anywhere("the rate limits of before stay in effect")?;
    assert!(said.contains("edge.yaml: line 3: the limit of `user` has the unit `eon`"), "{said}");
    assert_eq!(per_year(&channel).await?, 5);
    fs::write(limits.path().join("other.yaml"), limit(3))?;
    fs::write(&file, limit(8))?;
    server.said_anywhere("stands in")?;
    assert_eq!(per_year(&channel).await?, 5);
    fs::remove_file(limits.path().join("other.yaml"))?;
    until_per_year(&channel, 8).await
}

/// As Kubernetes changes a ConfigMap: each file is a link through `..data`, and that one is swapped.
#[tokio::test]
async fn a_configmap_that_changes_is_followed() -> Result<()> {
    let limits = tempfile::tempdir()?;
    let inside = |name: &str| limits.path().join(name);
    for (folder, per_year) in [("..1", 4), ("..2", 6)] {
        fs::create_dir(inside(folder))?;
        fs::write(inside(folder).join("edge.yaml"), limit(per_year))?;
    }
    symlink("..1", inside("..data"))?;
    symlink("..data/edge.yaml", inside("edge.yaml"))?;
    fs::write(inside(".hidden.yaml"), "not: read")?;
    fs::write(inside("README.md"), "not read")?;
    let (_server, address) = start(limits.path())?;
    let channel = channel(&address).await?;
    assert_eq!(per_year(&channel).await?, 4);
    // Another size or time tells a change: the two may have been written in one tick of the clock.
    fs::write(inside("..2").join("edge.yaml"), format!("# the second\n{}", limit(6)))?;
    symlink("..2", inside("..data_tmp"))?;
    fs::rename(inside("..data_tmp"), inside("..data"))?;
    until_per_year(&channel, 6).await
}

#[tokio::test]
async fn who_says_nothing_or_nonsense_is_sent_away() -> Result<()> {
    let limits = tempfile::tempdir()?;
    fs::write(limits.path().join("edge.yaml"), limit(2))?;
    let (_server, address) = start(limits.path())?;
    let connect = |first: &[u8]| -> Result<TcpStream> {
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(first)?;
        Ok(stream)
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let began = Instant::now();
    let mut streams = [connect(b"")?, connect(b"PRI * HT")?, connect(preface)?];
    let mut nonsense = connect(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    tokio::task::spawn_blocking(move || -> Result<()> {
        ends(&mut nonsense)?;
        assert!(began.elapsed() < Duration::from_secs(5), "what is no HTTP/2 is sent away at once");
        for stream in &mut streams {
            ends(stream)?;
            let elapsed = began.elapsed();
            assert!((9..20).contains(&elapsed.as_secs()), "a connection without a call stood for {elapsed:?}");
        }
        Ok(())
    })
    .await??;
    let channel = channel(&address).await?;
    assert_eq!(ask(&channel, "a").await?.overall_code, 1);
    Ok(())
}

/// The beginning of a call, and then nothing: by hand, since no client would do that.
#[tokio::test]
async fn a_call_that_does_not_arrive_is_answered_all_the_same() -> Result<()> {
    let limits = tempfile::tempdir()?;
    fs::write(limits.path().join("edge.yaml"), limit(2))?;
    let (_server, address) = start(limits.path())?;
    let path = format!("/{SERVICE}/ShouldRateLimit");
    // POST, http; the others by the numbers of their names, or with their names.
    let mut fields = vec![0x83, 0x86];
    for (name, value) in
        [(&b"\x04"[..], path.as_str()), (b"\x01", "edge"), (b"\x0f\x10", "application/grpc"), (b"\0\x02te", "trailers")]
    {
        fields.extend_from_slice(name);
        fields.push(u8::try_from(value.len())?);
        fields.extend_from_slice(value.as_bytes());
    }
    let mut call = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    call.extend([0, 0, u8::try_from(fields.len())?, HEADERS, END_HEADERS, 0, 0, 0, 1]);
    call.extend(fields);
    let began = Instant::now();
    tokio::task::spawn_blocking(move || -> Result<()> {
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(&call)?;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).context("an answer, before it hangs up")?;
            let mut body = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            stream.read_exact(&mut body)?;
            if (head[3], head[8]) == (HEADERS, 1) {
                return Ok(());
            }
        }
    })
    .await??;
    let elapsed = began.elapsed();
    assert!((9..20).contains(&elapsed.as_secs()), "it was answered after {elapsed:?}");
    Ok(())
}

const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;

/// Reads until the other side hangs up.
fn ends(stream: &mut TcpStream) -> Result<()> {
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(error.into()),
        // Hung up, or thrown out.
        _ => Ok(()),
    }
}

/// A client that has nothing of ours: Debian's Python, with messages made of what reflection tells.
#[tokio::test]
async fn a_client_in_python_finds_the_messages_by_reflection() -> Result<()> {
    let limits = tempfile::tempdir()?;
    fs::write(limits.path().join("edge.yaml"), limit(2))?;
    let (_server, address) = start(limits.path())?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/rls/client.py");
    let way_out = "failed to run /usr/bin/python3: apt-get install python3-grpcio python3-protobuf";
    let done =
        tokio::process::Command::new("/usr/bin/python3").args([script, &address]).output().await.context(way_out)?;
    let (said, complained) = (String::from_utf8(done.stdout)?, String::from_utf8(done.stderr)?);
    assert!(done.status.success(), "{said}{complained}\n(it needs apt-get install python3-grpcio python3-protobuf)");
    assert_eq!(said, include_str!("client.txt"));
    Ok(())
}

/// The key of a counter, a line of the log and a metric tell nobody what a value was: it may be an API key.
#[tokio::test]
async fn two_hosts_count_together_and_a_value_shows_nowhere() -> Result<()> {
    const CANARY: &str = "s3cret-canary";
    let (limits, redis) = (tempfile::tempdir()?, RedisServer::start()?);
    fs::write(limits.path().join("edge.yaml"), limit(3))?;
    let (url, admin) = (redis.url(), ("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"));
    let more = [("REDIS_URL", url.as_str()), ("LOG_LEVEL", "trace"), admin];
    let ((one, address), (_two, other)) = (start_with(limits.path(), &more)?, start_with(limits.path(), &more)?);
    let channels = [channel(&address).await?, channel(&other).await?];
    let mut told = Vec::new();
    for asked in 0..4 {
        told.push(ask(&channels[asked % 2], CANARY).await?.overall_code);
    }
    assert_eq!(told, [1, 1, 1, 2], "the two hosts share a limit of 3");
    let keys: Vec<String> = redis.run(&["KEYS", "*"])?;
    assert!(keys.iter().any(|key| key.starts_with("ratelimit:{edge}:descriptors:user:")), "{keys:?}");
    let token = one.output();
    let token = token.split("TOLLGATE_ADMIN_TOKEN=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let metrics = reqwest::Client::new().get(format!("{}/admin/v1/metrics", one.admin_url()?));
    let metrics = metrics.bearer_auth(token.context("a token was drawn")?).send().await?.text().await?;
    let counted = |outcome: &str, times: u64| {
        format!(r#"tollgate_envoy_descriptors_total{{domain="edge",limit="user",outcome="{outcome}"}} {times}"#)
    };
    assert!(metrics.contains(&counted("ok", 2)), "{metrics}");
    for (place, text) in [("keys", keys.join("\n")), ("metrics", metrics), ("log", one.output())] {
        assert!(!text.contains(CANARY), "a value shows in the {place}: {text}");
    }
    Ok(())
}

#[test]
fn the_limits_that_come_along_are_sound() -> Result<()> {
    let limits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/envoy/limits");
    let (server, _) = start(&limits)?;
    assert!(server.said("  envoy     ")?.ends_with("answers for the domains edge"));
    let page = include_str!("../../../docs/envoy.md");
    let command = "TOLLGATE_GRPC_LISTEN=127.0.0.1:8081 TOLLGATE_RLS_CONFIG=deploy/envoy/limits tollgate serve";
    assert!(page.contains(command), "the page starts the program as it is started here");
    let (_, tier) = page.split_once("```toml\n").context("the page shows a tier")?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(&file, tier.split_once("```").context("the tier has an end")?.0)?;
    let limits = limits.to_str().context("the workspace has a plain name")?;
    let variables = [("TOLLGATE_GRPC_LISTEN", "127.0.0.1:0"), ("TOLLGATE_RLS_CONFIG", limits)];
    let done = tollgate_tests::command(variables)?.args(["config", "check", "--config"]).arg(file.path()).output()?;
    let said = String::from_utf8(done.stdout)?;
    assert!(said.contains("envoy        127.0.0.1:0 for the domains edge"), "{said}{:?}", done.stderr);
    Ok(())
}

#[test]
fn limits_that_cannot_be_read_stop_the_start() -> Result<()> {
    let limits = tempfile::tempdir()?;
    let refuses = |variables: &[(&str, &str)], expected: &str| -> Result<()> {
        let mut command: Command =
            tollgate_tests::command([("TOLLGATE_ADMIN_LISTEN", "off"), ("TOLLGATE_LISTEN", "127.0.0.1:0")])?;
        let done = command.envs(variables.iter().copied()).arg("serve").output()?;
        let said = String::from_utf8(done.stderr)?;
        ensure!(!done.status.success() && said.contains(expected), "{said}");
        Ok(())
    };
    let folder = limits.path().to_str().context("a temporary folder has a plain name")?;
    let listen = ("TOLLGATE_GRPC_LISTEN", "127.0.0.1:0");
    refuses(&[listen], "TOLLGATE_GRPC_LISTEN: there are no limits to answer by: give TOLLGATE_RLS_CONFIG")?;
    refuses(
        &[("TOLLGATE_RLS_CONFIG", folder)],
        "TOLLGATE_RLS_CONFIG: nothing asks for these limits: give TOLLGATE_GRPC_LISTEN",
    )?;
    refuses(&[listen, ("TOLLGATE_RLS_CONFIG", folder)], "no rate limits are in ")?;
    refuses(&[listen, ("TOLLGATE_RLS_CONFIG", "/nowhere.yaml")], "failed to read the rate limits of /nowhere.yaml")?;
    fs::write(limits.path().join("edge.yaml"), "domain: edge\ndescriptors: [{ key: a, rate_limit: { unit: day } }]")?;
    refuses(
        &[listen, ("TOLLGATE_RLS_CONFIG", folder)],
        "edge.yaml: line 2: the limit of `a` has no `requests_per_unit`",
    )
}
