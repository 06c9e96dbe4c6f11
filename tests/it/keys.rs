//! API keys that a service knows: the program before a real service and a real Redis.

mod book;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Client;
use serde_json::{Value, json};
use tollgate_tests::{RedisServer, Server, command};

use self::book::{Answer, Book};

const SECRET: &str = "a-secret-of-the-fleet-that-is-long-enough";
const TOKEN: &str = "token-of-oscar-7f3a";
/// A key that must be seen nowhere.
const KEY: &str = "canary-key-7f3a";

/// A server that asks `book`.
fn server(book: &Book, more: &[(&str, &str)]) -> Result<Server> {
    let tokens = format!("oscar:operate:{TOKEN},ada:admin:token-of-ada-7f3a");
    let own = [
        ("TOLLGATE_KEY_SOURCE_URL", book.url.as_str()),
        ("TOLLGATE_KEY_SOURCE_TOKEN", "token-of-the-book"),
        ("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"),
        ("TOLLGATE_ADMIN_TOKENS", &tokens),
        ("LOG_LEVEL", "debug"),
    ];
    Server::start(own.into_iter().chain(more.iter().copied()))
}

fn of_fleet(book: &Book, redis: &RedisServer) -> Result<Server> {
    server(book, &[("REDIS_URL", &redis.url()), ("TOLLGATE_KEY_SECRET", SECRET)])
}

/// Status, tier and what is said beside them.
async fn check(server: &Server, key: &str) -> Result<(u16, String, Value, Option<String>)> {
    let question = json!({ "api_key": key }).to_string();
    let sent = Client::new().post(format!("{}/v1/check", server.url)).body(question).send().await?;
    let again = sent.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let (status, body): (_, Value) = (sent.status().as_u16(), sent.json().await?);
    Ok((status, body["tier"].as_str().unwrap_or_default().to_owned(), body, again))
}

async fn tier(server: &Server, key: &str) -> Result<(u16, String)> {
    check(server, key).await.map(|(status, tier, ..)| (status, tier))
}

fn is(status: u16, tier: &str) -> (u16, String) {
    (status, tier.to_owned())
}

/// Waits until a server answers so.
async fn becomes(server: &Server, key: &str, expected: (u16, String)) -> Result<()> {
    let heard = async {
        while tier(server, key).await? != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.context("it is not heard")?
}

/// Everything that Redis holds, by key.
fn held(redis: &RedisServer) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut held = BTreeMap::new();
    let keys: Vec<String> = redis.run(&["KEYS", "*"])?;
    for key in keys {
        let kind: String = redis.run(&["TYPE", &key])?;
        if kind == "string" {
            held.insert(key.clone(), redis.run(&["GET", &key])?);
        }
    }
    Ok(held)
}

fn entry(held: &BTreeMap<String, Vec<u8>>) -> (&String, &Vec<u8>) {
    held.iter().find(|(key, _)| key.contains(":{fleet}:key-")).unwrap()
}

fn invalidate(server: &Server, words: &[&str], input: &str) -> Result<std::process::Output> {
    let url = server.admin_url()?;
    let variables = [("TOLLGATE_ADMIN_URL", url.as_str()), ("TOLLGATE_ADMIN_TOKEN", TOKEN)];
    let mut program = command(variables)?;
    program
        .args(["keys", "invalidate"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = program.spawn()?;
    child.stdin.take().context("it is a pipe")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_share_look_ups_and_tell_no_key() -> Result<()> {
    let (book, redis) = (Book::open().await?, RedisServer::start()?);
    book.write(KEY, Some("pro"));
    let (one, two) = (of_fleet(&book, &redis)?, of_fleet(&book, &redis)?);
    for server in [&one, &two, &one, &two] {
        assert_eq!(tier(server, KEY).await?, is(200, "pro"));
    }
    assert_eq!(book.asked(), 1, "one looked it up, and both know");
    assert_eq!(book.tokens(), ["Bearer token-of-the-book"]);

    let (status, _, problem, _) = check(&one, "nobody-7f3a").await?;
    assert_eq!((status, problem["field"].as_str()), (401, Some("api_key")));

    let held = held(&redis)?;
    let (name, _) = entry(&held);
    let left: i64 = redis.run(&["PTTL", name])?;
    assert!((3_500_000..=3_600_000).contains(&left), "it expires: {left}");
    let digits: String = name.rsplit("key-").next().unwrap().chars().take(8).collect();
    let said = one.output();
    for line in ["[Cache MISS] key:{}", "[Cache SET] key:{} (TTL: 3600s)", "[Cache HIT] key:{}"] {
        let line = line.replace("{}", &digits);
        assert!(said.lines().any(|said| said.ends_with(&line)), "no {line}:\n{said}");
    }
    let everything = format!(
        "{said}{}{}",
        two.output(),
        String::from_utf8_lossy(
            &held.into_iter().flat_map(|(key, value)| [key.into_bytes(), value].concat()).collect::<Vec<_>>()
        )
    );
    for secret in [KEY, &book::digest(KEY), SECRET, "token-of-the-book", "nobody-7f3a"] {
        assert!(!everything.contains(secret), "{secret} is told:\n{everything}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_stops_on_every_server() -> Result<()> {
    let (book, redis) = (Book::open().await?, RedisServer::start()?);
    book.write(KEY, Some("pro"));
    let (one, two) = (of_fleet(&book, &redis)?, of_fleet(&book, &redis)?);
    // The second has no secret in common with the first: it can be told only to forget all.
    let three = server(&book, &[("REDIS_URL", &redis.url())])?;
    let all = [&one, &two, &three];
    for (words, input) in [
        (&["-"][..], format!("{KEY}\n")),
        (&["--tenant", "acme"], String::new()),
        (&["--all", "--json"], String::new()),
    ] {
        book.write(KEY, Some("pro"));
        invalidate(&one, &["--all"], "")?;
        for server in all {
            becomes(server, KEY, is(200, "pro")).await?;
        }
        book.write(KEY, None);
        let ran = invalidate(&one, words, &input)?;
        assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(tier(&one, KEY).await?, is(401, ""), "{words:?}: where it was revoked at once");
        for server in [&two, &three] {
            becomes(server, KEY, is(401, "")).await?;
        }
    }
    assert!(one.output().lines().any(|line| line.ends_with("[Cache INVALIDATE] tenant:acme:*")), "{}", one.output());
    let audit = Client::new().get(format!("{}/admin/v1/audit", one.admin_url()?)).bearer_auth("token-of-ada-7f3a");
    let audit = audit.send().await?.text().await?;
    assert!(audit.contains("keys of tenant acme") && !audit.contains(KEY), "{audit}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_wrote_into_redis_is_not_believed() -> Result<()> {
    let (book, redis) = (Book::open().await?, RedisServer::start()?);
    book.write(KEY, Some("free"));
    assert_eq!(tier(&of_fleet(&book, &redis)?, KEY).await?, is(200, "free"));
    let held = held(&redis)?;
    let (name, genuine) = entry(&held);
    let text = String::from_utf8_lossy(genuine);
    assert!(text.contains("\"free\""), "{text}");
    let at = genuine.windows(6).position(|part| part == b"\"free\"").unwrap();
    let promoted = [&genuine[..at], b"\"pro\"", &genuine[at + 6..]].concat();
    let hex: String = promoted.iter().map(|byte| format!("{byte:02x}")).collect();
    let write =
        "return redis.call('SET', KEYS[1], (ARGV[1]:gsub('..', function(h) return string.char(tonumber(h, 16)) end)))";
    let _: String = redis.run(&["EVAL", write, "1", name, &hex])?;
    let victim = of_fleet(&book, &redis)?;
    assert_eq!(tier(&victim, KEY).await?, is(200, "free"));
    assert!(victim.output().contains("it is not believed"), "{}", victim.output());
    assert_eq!(book.asked(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_service_cannot_say_the_answer_is_503_and_not_a_pass() -> Result<()> {
    let book = Book::open().await?;
    let server = server(&book, &[])?;
    for (number, answer) in [
        Answer::Status(500),
        Answer::Status(403),
        Answer::Redirect,
        Answer::Body("nonsense".to_owned()),
        Answer::Body(json!({ "tenant": "acme", "subject": "a\nb" }).to_string()),
        Answer::Body(json!({ "tenant": "acme", "subject": "x".repeat(20_000) }).to_string()),
        Answer::Silence,
    ]
    .into_iter()
    .enumerate()
    {
        book.answer(Some(answer.clone()));
        let (status, _, problem, again) = check(&server, &format!("key-{number}")).await?;
        assert_eq!((status, again.as_deref()), (503, Some("1")), "{answer:?}: {problem}");
        assert!(problem.get("allowed").is_none(), "{problem}");
    }
    book.answer(None);
    book.write("key-0", Some("pro"));
    becomes(&server, "key-0", is(200, "pro")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_herd_asks_once_and_a_flood_of_bogus_keys_is_bounded() -> Result<()> {
    let book = Book::open().await?;
    book.write(KEY, Some("pro"));
    let server = server(&book, &[("LOG_LEVEL", "info")])?;
    let client = Client::new();
    let ask = |key: String| {
        let request = client.post(format!("{}/v1/check", server.url)).body(json!({ "api_key": key }).to_string());
        async move { anyhow::Ok(request.send().await?.status().as_u16()) }
    };
    let mut herd = tokio::task::JoinSet::new();
    (0..200).for_each(|_| drop(herd.spawn(ask(KEY.to_owned()))));
    while let Some(status) = herd.join_next().await {
        assert_eq!(status??, 200);
    }
    assert_eq!(book.asked(), 1);
    let mut flood = tokio::task::JoinSet::new();
    let began = std::time::Instant::now();
    (0..2_000).for_each(|number| drop(flood.spawn(ask(format!("bogus-{number}")))));
    let mut statuses = BTreeMap::new();
    while let Some(status) = flood.join_next().await {
        *statuses.entry(status??).or_insert(0_usize) += 1;
    }
    let most = 200 + 100 * (1 + began.elapsed().as_secs() as usize);
    assert!(statuses.keys().all(|status| [401, 503].contains(status)), "{statuses:?}");
    assert!(book.asked() <= 1 + most, "asked {} times of at most {most}: {statuses:?}", book.asked());
    assert_eq!(ask(KEY.to_owned()).await?, 200, "whoever is known is served as ever");
    Ok(())
}

#[test]
fn the_handbooks_commands_are_commands() -> Result<()> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/keys.md"))?;
    let (_, block) = page.split_once("```sh\n").context("the page has commands")?;
    let (block, _) = block.split_once("```").context("they end")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let book = runtime.block_on(Book::open())?;
    let server = server(&book, &[])?;
    let program = tollgate_tests::program()?;
    let folder = program.parent().context("it lies in a folder")?.display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH")?);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-euc", block]).env_clear();
    shell.envs([("PATH", path.as_str()), ("KEY", KEY), ("TOLLGATE_ADMIN_URL", &server.admin_url()?)]);
    let ran = shell.env("TOLLGATE_ADMIN_TOKEN", TOKEN).output()?;
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(said.matches("forgotten on that server").count(), 3, "{said}");
    Ok(())
}
