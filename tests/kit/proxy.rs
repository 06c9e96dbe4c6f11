//! A TCP proxy on the loopback that does to the bytes what a bad network does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// A proxy in front of one server, with a thread of its own; gone when dropped.
///
/// Needs no rights and no runtime. What [`set`](Self::set) changes holds for open connections too, from the next byte on.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    accepted: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

/// What the line is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// From the client to the server.
    pub requests: Way,
    /// From the server to the client.
    pub replies: Way,
}

/// What one direction is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// How long every byte takes.
    pub latency: Duration,
    /// How much longer it may take, by chance. The order of the bytes stays.
    pub jitter: Duration,
    /// How many bytes pass in a second; none is as many as come.
    pub bytes_per_second: Option<u32>,
    /// How many bytes leave together at most; none is as many as come.
    pub slice: Option<usize>,
    /// Nothing passes. What came meanwhile passes when this ends, as lost packets do that TCP sends again.
    pub held: bool,
}

impl Way {
    /// A way on which every byte takes `latency`, and by chance up to `jitter` longer.
    #[must_use]
    pub fn slow(latency: Duration, jitter: Duration) -> Self {
        Self { latency, jitter, ..Self::default() }
    }

    /// A way on which nothing passes.
    #[must_use]
    pub fn held() -> Self {
        Self { held: true, ..Self::default() }
    }
}

/// The line, and what befell the connections that came before the one of this number.
#[derive(Clone, Debug, Default)]
struct Weather {
    line: Line,
    upstream: u16,
    frozen: u64,
    reset: u64,
    cut: u64,
    cut_after: usize,
}

impl Proxy {
    /// Stands before the server at `upstream` of the loopback.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub fn start(upstream: u16) -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), upstream)
    }

    /// Stands at `address` before the server at `upstream` of the loopback.
    ///
    /// # Errors
    ///
    /// Fails if the address is taken.
    pub fn start_at(address: SocketAddr, upstream: u16) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("proxy")
            .enable_all()
            .build()
            .context("failed to start the proxy's thread")?;
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (weather, watched) = watch::channel(Weather { upstream, ..Weather::default() });
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&accepted);
        runtime.spawn(async move { accept(listener, watched, counted).await });
        Ok(Self { port, weather, accepted, runtime: Some(runtime) })
    }

    /// Its port on the loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections it has taken so far, also those that it could not pass on.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Makes the line like this.
    pub fn set(&self, line: Line) {
        self.weather.send_modify(|weather| weather.line = line);
    }

    /// Makes the line perfect again. What was frozen stays so.
    pub fn heal(&self) {
        self.set(Line::default());
    }

    /// Leads new connections to another server.
    pub fn redirect(&self, upstream: u16) {
        self.weather.send_modify(|weather| weather.upstream = upstream);
    }

    /// Lets nothing pass any more on the connections that are open, and never tells: half-open, for good.
    pub fn freeze(&self) {
        self.befall(|weather, all| weather.frozen = all);
    }

    /// Ends the connections that are open with RST.
    pub fn reset(&self) {
        self.befall(|weather, all| weather.reset = all);
    }

    /// Ends each connection that is open with RST after the first bytes of what the server says next.
    pub fn cut_after(&self, bytes: usize) {
        self.befall(|weather, all| (weather.cut, weather.cut_after) = (all, bytes));
    }

    fn befall(&self, change: impl FnOnce(&mut Weather, u64)) {
        let all = self.accepted() + 1;
        self.weather.send_modify(|weather| change(weather, all));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: std::net::TcpListener, weather: watch::Receiver<Weather>, accepted: Arc<AtomicU64>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let number = accepted.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::spawn(serve(client, number, weather.clone()));
    }
}

/// Passes on what one connection says, until both sides are done or something befalls it.
async fn serve(client: TcpStream, number: u64, mut weather: watch::Receiver<Weather>) {
    let upstream = weather.borrow().upstream;
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    let requests = Pump { number, weather: weather.clone(), is_reply: false };
    let replies = Pump { number, weather: weather.clone(), is_reply: true };
    let reset = async {
        // An error means that the proxy is gone, and the connection with it.
        let _ = weather.wait_for(|weather| number < weather.reset).await;
        true
    };
    let mut ways = (client_out, server_out);
    let was_cut = tokio::select! {
        was_cut = reset => was_cut,
        both = async { tokio::try_join!(requests.run(client_in, &mut ways.1), replies.run(server_in, &mut ways.0)) } => both.is_err(),
    };
    if was_cut {
        let _ = (ways.0.as_ref().set_zero_linger(), ways.1.as_ref().set_zero_linger());
    }
}

/// One direction of one connection.
struct Pump {
    number: u64,
    weather: watch::Receiver<Weather>,
    is_reply: bool,
}

impl Pump {
    /// Passes everything on. Fails if the connection is to end at once.
    async fn run(self, from: OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
        let (queue, queued) = mpsc::channel(256);
        let reader = Pump { weather: self.weather.clone(), ..self };
        tokio::try_join!(reader.read(from, queue), self.write(queued, to)).map(drop)
    }

    async fn read(mut self, mut from: OwnedReadHalf, queue: mpsc::Sender<(Instant, Vec<u8>)>) -> io::Result<()> {
        let mut chance = Chance(self.number);
        let mut latest = Instant::now();
        loop {
            let mut bytes = vec![0; 16 * 1024];
            let read = from.read(&mut bytes).await?;
            if read == 0 {
                return Ok(());
            }
            bytes.truncate(read);
            let way = self.way();
            latest = latest.max(Instant::now() + way.latency + way.jitter.mul_f64(chance.next()));
            if queue.send((latest, bytes)).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn write(
        mut self,
        mut queued: mpsc::Receiver<(Instant, Vec<u8>)>,
        to: &mut OwnedWriteHalf,
    ) -> io::Result<()> {
        while let Some((due, bytes)) = queued.recv().await {
            sleep_until(due).await;
            let slice = self.way().slice.unwrap_or(bytes.len()).max(1);
            for bytes in bytes.chunks(slice) {
                self.release().await;
                self.cut(bytes, to).await?;
                to.write_all(bytes).await?;
                if let Some(rate) = self.way().bytes_per_second {
                    sleep(Duration::from_secs_f64(bytes.len() as f64 / f64::from(rate))).await;
                }
            }
        }
        to.shutdown().await
    }

    fn way(&mut self) -> Way {
        let line = &self.weather.borrow_and_update().line;
        if self.is_reply { line.replies } else { line.requests }
    }

    /// Waits until something may pass.
    async fn release(&mut self) {
        let (number, is_reply) = (self.number, self.is_reply);
        let open = |weather: &Weather| {
            let way = if is_reply { weather.line.replies } else { weather.line.requests };
            !way.held && number >= weather.frozen
        };
        let _ = self.weather.wait_for(open).await;
    }

    /// Ends the connection within these bytes, if that is what befell it.
    async fn cut(&self, bytes: &[u8], to: &mut OwnedWriteHalf) -> io::Result<()> {
        let (cut, after) = {
            let weather = self.weather.borrow();
            (weather.cut, weather.cut_after)
        };
        if !self.is_reply || self.number >= cut {
            return Ok(());
        }
        to.write_all(bytes.get(..after).unwrap_or(bytes)).await?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// A little chance, the same for each connection of the same number.
struct Chance(u64);

impl Chance {
    /// A number from 0 up to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from((self.0 >> 40) as u32) / f64::from(1_u32 << 24)
    }
}
