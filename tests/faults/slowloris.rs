//! Row 67: clients that say nothing, or say it byte by byte, or do not listen, while others go on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tollgate_tests::Server;

use crate::trial::Trial;

/// One way to hold a connection.
#[derive(Clone, Copy, Debug)]
struct Attack {
    name: &'static str,
    /// What is said at once.
    begins: &'static str,
    /// What is said again and again, slowly.
    drips: &'static str,
    /// Whether it connects to the listener for commands.
    is_resp: bool,
}

const fn http(name: &'static str, begins: &'static str, drips: &'static str) -> Attack {
    Attack { name, begins, drips, is_resp: false }
}

const ATTACKS: [Attack; 8] = [
    http("silent", "", ""),
    http("silent after an answer", "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", ""),
    http("head by bytes", "GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ", "y"),
    http("head by fields", "GET /livez HTTP/1.1\r\n", "x-slow: y\r\n"),
    http("body by bytes", "POST /v1/check HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n", "y"),
    http("body by chunks", "POST /v1/check HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\ny\r\n"),
    http("body that nobody reads", "POST /v1/auth HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n", "y"),
    Attack { name: "command by bytes", begins: "*2\r\n$4\r\nECHO\r\n$9999\r\n", drips: "y", is_resp: true },
];

/// How many connections there are of each, and of those that do not listen.
const EACH: usize = 63;
const DEAF: usize = 3;
/// How often one that does not listen asks: seldom enough to be no flood.
const ASKS: Duration = Duration::from_millis(12);
const DRIP: Duration = Duration::from_millis(500);
/// Ten seconds, and what five hundred timers on a busy machine take.
const BOUND: Duration = Duration::from_millis(10_500);
const PATIENCE: Duration = Duration::from_secs(40);
/// How long good clients are watched without an attack.
const CALM: Duration = Duration::from_secs(4);
/// Below it, twice as long says nothing.
const UNFELT: Duration = Duration::from_millis(5);

/// Row 67.
pub(crate) fn slow_clients(trial: &mut Trial) -> Result<()> {
    let server = Server::start([("TOLLGATE_RESP_LISTEN", "127.0.0.1:0")])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let before = good(&server, tokio::time::sleep(CALM)).await?;
        let mut closed = Vec::new();
        let under_attack = good(&server, async { closed = attack(&server).await }).await?;
        let after = good(&server, tokio::time::sleep(CALM)).await?;
        let calm = before.max(after);
        let most = 2 * calm.max(UNFELT);
        trial.must(under_attack <= most, || format!("good clients waited {under_attack:?} at p99 instead of {calm:?}"));
        trial.note(format!(
            "{} connections; good clients at p99: {calm:?} in peace, {under_attack:?} meanwhile",
            closed.len()
        ));
        told(trial, &closed);
        Ok(())
    })
}

/// What became of each kind: the longest.
fn told(trial: &mut Trial, closed: &[(&'static str, Option<Duration>)]) {
    // Those that do not listen are found out once all is full that lies between.
    let names = ATTACKS.iter().map(|attack| (attack.name, EACH, BOUND)).chain([("deaf", DEAF, PATIENCE)]);
    for (name, number, bound) in names {
        let all: Vec<Duration> = closed.iter().filter(|(of, _)| *of == name).filter_map(|(_, after)| *after).collect();
        trial.must(all.len() == number, || format!("{name}: {} of {number} were closed", all.len()));
        let longest = all.iter().max().copied().unwrap_or_default();
        trial.must(longest <= bound, || format!("{name}: closed after {longest:?} instead of {bound:?}"));
        trial.note(format!("{name}: closed after {:.1} s", longest.as_secs_f64()));
    }
}

/// How long good clients wait at p99 for as long as something goes on.
async fn good(server: &Server, meanwhile: impl Future<Output = ()>) -> Result<Duration> {
    let mut clients = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for _ in 0..4 {
        let (client, url, stopped) = (Client::new(), format!("{}/v1/check", server.url), stopped.clone());
        clients.spawn(async move {
            let mut took = Vec::new();
            while !*stopped.borrow() {
                let asked = Instant::now();
                client.post(&url).body(r#"{"api_key": "demo-pro"}"#).send().await?.bytes().await?;
                took.push(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(took)
        });
    }
    meanwhile.await;
    stop.send_replace(true);
    let mut took = Vec::new();
    while let Some(client) = clients.join_next().await {
        took.extend(client??);
    }
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().context("good clients asked something")
}

/// After how long each connection was closed; none if it never was.
async fn attack(server: &Server) -> Vec<(&'static str, Option<Duration>)> {
    let mut all = JoinSet::new();
    let address = server.url.trim_start_matches("http://").to_owned();
    let resp = format!("127.0.0.1:{}", server.resp_port().unwrap_or_default());
    for attack in ATTACKS.iter().cycle().take(EACH * ATTACKS.len()).copied() {
        let address = if attack.is_resp { resp.clone() } else { address.clone() };
        all.spawn(async move { (attack.name, over(hold(&address, attack)).await) });
    }
    for _ in 0..DEAF {
        let address = address.clone();
        all.spawn(async move { ("deaf", over(deaf(&address)).await) });
    }
    all.join_all().await
}

async fn over(held: impl Future<Output = Result<Duration>>) -> Option<Duration> {
    tokio::time::timeout(PATIENCE, held).await.ok()?.ok()
}

/// Holds a connection until the server ends it, by closing or by a reset.
async fn hold(address: &str, attack: Attack) -> Result<Duration> {
    let began = Instant::now();
    let stream = TcpStream::connect(address).await?;
    let _ = drip(stream, attack).await;
    Ok(began.elapsed())
}

async fn drip(mut stream: TcpStream, attack: Attack) -> Result<()> {
    stream.write_all(attack.begins.as_bytes()).await?;
    let (mut reading, mut writing) = stream.split();
    let mut space = [0; 1_024];
    loop {
        tokio::select! {
            read = reading.read(&mut space) => if read? == 0 { return Ok(()); },
            () = tokio::time::sleep(DRIP) => writing.write_all(attack.drips.as_bytes()).await?,
        }
    }
}

/// Asks on and on, and never listens.
async fn deaf(address: &str) -> Result<Duration> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 * 1_024)?;
    let mut stream = socket.connect(address.parse()?).await?;
    let question = b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n";
    let began = Instant::now();
    while stream.write_all(&question.repeat(20)).await.is_ok() {
        tokio::time::sleep(ASKS).await;
    }
    Ok(began.elapsed())
}
