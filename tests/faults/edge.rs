//! Rows 65, 68 and 69: clients that lie, that send too much, and that write what a terminal would obey.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tollgate_tests::{Server, spoofing};

use crate::trial::Trial;

/// Row 65.
pub(crate) fn addresses_claimed(trial: &mut Trial) -> Result<()> {
    let failures = Runtime::new()?.block_on(spoofing::failures())?;
    let all = spoofing::CASES.len();
    trial.note(format!("{} of {all} ways changed nothing", all - failures.len()));
    trial.failures.extend(failures);
    Ok(())
}

const MB: usize = 1024 * 1024;

/// Row 68.
pub(crate) fn too_much(trial: &mut Trial) -> Result<()> {
    let server = Server::start([])?;
    let post = |route: &str, fields: &str, body: Vec<u8>| {
        let length = body.len();
        let head = format!("POST {route} HTTP/1.1\r\nhost: x\r\n{fields}content-length: {length}\r\n\r\n");
        [head.into_bytes(), body].concat()
    };
    let get = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n").into_bytes();
    let chunks = "POST /v1/check HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()
        + &format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(80);
    let many: String = (0..150).map(|number| format!("x-{number}: y\r\n")).collect();
    let wide = format!("x-wide: {}\r\n", "y".repeat(600 * 1024));
    let cases = [
        ("a body of 5 MB", 413, post("/v1/check", "", vec![b'x'; 5 * MB])),
        ("a body of 5 MB in chunks", 413, chunks.into_bytes()),
        ("a body of 5 MB that nobody reads", 200, post("/v1/auth?tier=free", "", vec![b'x'; 5 * MB])),
        (
            "a body that says 8 EB",
            413,
            post("/v1/check", "", Vec::new()).replaced("length: 0", "length: 9223372036854775807"),
        ),
        ("150 fields", 431, get("/livez", &many)),
        ("a field of 600 kB", 431, get("/livez", &wide)),
        ("a path of 600 kB", 414, get(&format!("/{}", "y".repeat(600 * 1024)), "")),
        ("40 MB of nothing in gzip", 400, post("/v1/check", "content-encoding: gzip\r\n", bomb()?)),
    ];
    for (what, expected, bytes) in &cases {
        let told = told(&server, bytes)?;
        let status = told.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let holds = status == *expected || (*expected == 414 && status == 431);
        trial.must(holds, || format!("{what}: `{}` instead of {expected}", told.lines().next().unwrap_or_default()));
    }
    crowd(trial, &server, &get("/livez", &wide))?;
    trial.must(told(&server, &get("/livez", ""))?.contains(" 200 "), || "afterwards nobody is answered".to_owned());
    Ok(())
}

/// Two hundred clients at once that each send far too much take little memory.
fn crowd(trial: &mut Trial, server: &Server, bytes: &[u8]) -> Result<()> {
    let before = server.resident_bytes()?;
    let heard = thread::scope(|scope| {
        let clients: Vec<_> = (0..200).map(|_| scope.spawn(|| told(server, bytes))).collect();
        clients.into_iter().filter_map(|client| client.join().ok()?.ok()).filter(|told| told.contains(" 431 ")).count()
    });
    let grown = server.resident_bytes()?.saturating_sub(before) / MB as u64;
    trial.must(heard == 200, || format!("{heard} of 200 clients at once heard that they sent too much"));
    trial.must(grown <= 64, || format!("they took {grown} MB"));
    trial.note(format!("200 fields of 600 kB at once took {grown} MB"));
    Ok(())
}

trait Replaced {
    fn replaced(self, this: &str, by: &str) -> Self;
}

impl Replaced for Vec<u8> {
    fn replaced(self, this: &str, by: &str) -> Self {
        String::from_utf8_lossy(&self).replace(this, by).into_bytes()
    }
}

/// 40 MB of zeros, which are 40 kB in gzip.
fn bomb() -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = gzip.stdin.take().context("its standard input is a pipe")?;
    let writing = thread::spawn(move || (0..40).try_for_each(|_| stdin.write_all(&[0; MB])));
    let bomb = gzip.wait_with_output()?.stdout;
    writing.join().ok().context("the zeros were written")??;
    Ok(bomb)
}

/// What the server says to these bytes until it closes, or falls silent.
fn told(server: &Server, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    stream.set_write_timeout(Some(Duration::from_secs(15)))?;
    // As simple clients do: first say all, then listen. The server need not take all of it.
    let _ = stream.write_all(bytes);
    let mut answer = vec![0; 4 * 1_024];
    let length = stream.read(&mut answer)?;
    answer.truncate(length);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What a log, or the terminal that shows it, would obey if it were written as it is.
const HOSTILE: [&str; 4] = ["\r\nINJECTED", "\u{1b}[31mINJECTED\u{1b}[0m", "\u{9b}31mINJECTED", "\0INJECTED\u{7}\u{8}"];
const TOKEN: &str = "a-token-of-the-operator";

/// Row 69.
pub(crate) fn injections(trial: &mut Trial) -> Result<()> {
    for format in ["text", "json"] {
        let server = Server::start([
            ("LOG_LEVEL", "trace"),
            ("TOLLGATE_LOG_FORMAT", format),
            ("TOLLGATE_RESP_LISTEN", "127.0.0.1:0"),
            ("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"),
            ("TOLLGATE_ADMIN_TOKENS", &format!("watcher:read:{TOKEN}")),
        ])?;
        Runtime::new()?.block_on(async {
            inject(&server).await?;
            let (few, many) = (series(&server, 10).await?, series(&server, 3_000).await?);
            trial.must(many == few, || format!("3,000 tenants, subjects and routes made {many} series out of {few}"));
            trial.note(format!("{many} series of metrics, whoever asks"));
            anyhow::Ok(())
        })?;
        raw(&server)?;
        server.signal("TERM")?;
        let (_, output) = server.wait()?;
        let obeyed = output.lines().filter(|line| line.starts_with("INJECTED")).count();
        trial.must(obeyed == 0, || format!("{format}: {obeyed} lines of the log were written by a client"));
        let control = output.chars().find(|c| c.is_control() && *c != '\n');
        trial.must(control.is_none(), || format!("{format}: the log holds {:?} as it is", control.unwrap_or_default()));
        let lines = output.lines().filter(|line| line.starts_with('{'));
        let broken = lines.filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
        trial.must(broken == 0, || format!("{broken} lines are no JSON"));
        trial.note(format!(
            "{format}: {} lines of log, of which {} name what was sent",
            output.lines().count(),
            output.matches("INJECTED").count()
        ));
    }
    Ok(())
}

/// Every field that a client can fill.
async fn inject(server: &Server) -> Result<()> {
    let client = Client::new();
    for text in HOSTILE {
        for field in ["tenant", "tier", "subject", "route", "api_key", "once", "unknown"] {
            let mut question = BTreeMap::from([("tenant", "acme"), ("tier", "free"), ("subject", "s")]);
            question.insert(field, text);
            client.post(format!("{}/v1/check", server.url)).body(json!(question).to_string()).send().await?;
        }
        let attributes = json!({ "tenant": "acme", "tier": "free", "attributes": { text: text } });
        client.post(format!("{}/v1/check", server.url)).body(attributes.to_string()).send().await?;
        let written: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in ["/", "/v1/auth?tier=", "/v1/auth?tenant=", "/v1/auth?tier=free&tenant=t&", "/v1/auth?deny_status="]
        {
            let asked = client.get(format!("{}{path}{written}", server.url));
            asked.header("x-original-uri", format!("/{written}")).header("x-api-key", &written).send().await?;
        }
        // A tenant without a tier is told to the operator.
        client.get(format!("{}/v1/auth?tenant=nobody%20{}", server.url, "INJECTED")).send().await?;
    }
    Ok(())
}

/// What no library would send.
fn raw(server: &Server) -> Result<()> {
    for text in HOSTILE {
        told(server, format!("GET /{text} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())?;
        told(
            server,
            format!("GET / HTTP/1.1\r\nhost: x\r\nx-original-uri: /{text}\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut stream = TcpStream::connect(("127.0.0.1", server.resp_port()?))?;
        let length = text.len();
        for name in ["CL.THROTTLE", "AUTH", text] {
            let command =
                format!("*5\r\n${}\r\n{name}\r\n", name.len()) + &format!("${length}\r\n{text}\r\n").repeat(4);
            stream.write_all(command.as_bytes())?;
        }
        let mut answer = [0; 1_024];
        let _ = stream.read(&mut answer)?;
    }
    Ok(())
}

/// How many series there are once so many have asked.
async fn series(server: &Server, callers: usize) -> Result<usize> {
    let client = Client::new();
    for number in 0..callers {
        let question = json!({ "tenant": format!("t{number}"), "tier": "free", "subject": format!("s{number}"), "route": format!("/{number}") });
        client.post(format!("{}/v1/check", server.url)).body(question.to_string()).send().await?;
    }
    let url = format!("{}/admin/v1/metrics", server.admin_url()?);
    let metrics = client.get(url).bearer_auth(TOKEN).send().await?.error_for_status()?.text().await?;
    Ok(metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count())
}
