//! A service that knows API keys, over plain HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The service; it ends when dropped.
pub(super) struct Book {
    pub(super) url: String,
    pages: Arc<Pages>,
    answering: JoinHandle<()>,
}

#[derive(Default)]
struct Pages {
    /// Tiers, by the digest of the key.
    tiers: Mutex<BTreeMap<String, String>>,
    answer: Mutex<Option<Answer>>,
    asked: AtomicUsize,
    tokens: Mutex<Vec<String>>,
}

/// What it answers whatever it is asked.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Status(u16),
    /// To itself, where a good answer would be.
    Redirect,
    Body(String),
    Silence,
}

/// The SHA-256 of a key, in hexadecimal.
pub(super) fn digest(key: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(key).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Book {
    pub(super) async fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/keys", listener.local_addr()?);
        let pages = Arc::new(Pages::default());
        let answering = tokio::spawn({
            let pages = Arc::clone(&pages);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let pages = Arc::clone(&pages);
                    // Whoever asks may go away at any moment.
                    tokio::spawn(async move { drop(pages.serve(stream).await) });
                }
            }
        });
        Ok(Self { url, pages, answering })
    }

    /// Gives a key this tier, or none: then nobody knows it.
    pub(super) fn write(&self, key: &str, tier: Option<&str>) {
        let mut tiers = self.pages.tiers.lock().unwrap();
        match tier {
            Some(tier) => drop(tiers.insert(digest(key), tier.to_owned())),
            None => drop(tiers.remove(&digest(key))),
        }
    }

    pub(super) fn answer(&self, answer: Option<Answer>) {
        *self.pages.answer.lock().unwrap() = answer;
    }

    /// How often somebody asked.
    pub(super) fn asked(&self) -> usize {
        self.pages.asked.load(Ordering::Relaxed)
    }

    /// What it was shown as `Authorization`, each once.
    pub(super) fn tokens(&self) -> Vec<String> {
        let mut tokens = self.pages.tokens.lock().unwrap().clone();
        tokens.sort();
        tokens.dedup();
        tokens
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl Pages {
    async fn serve(&self, stream: TcpStream) -> Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut length, mut line) = (0, String::new());
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            loop {
                line.clear();
                stream.read_line(&mut line).await?;
                let Some((name, value)) = line.trim().split_once(": ") else { break };
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse()?,
                    "authorization" => self.tokens.lock().unwrap().push(value.to_owned()),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            let question: Value = serde_json::from_slice(&body)?;
            let asked = question["key_digest"].as_str().context("a digest is asked for")?;
            self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = self.answer.lock().unwrap().clone();
            let (status, head, body) = match answer {
                Some(Answer::Silence) => return std::future::pending().await,
                Some(Answer::Status(status)) => (status, "", String::new()),
                Some(Answer::Redirect) => (307, "location: /elsewhere\r\n", String::new()),
                Some(Answer::Body(body)) => (200, "", body),
                None => match self.tiers.lock().unwrap().get(asked) {
                    Some(tier) => (200, "", json!({ "tenant": "acme", "subject": "key-1", "tier": tier }).to_string()),
                    None => (404, "", String::new()),
                },
            };
            let head = format!("HTTP/1.1 {status} X\r\n{head}content-length: {}\r\n\r\n{body}", body.len());
            stream.get_mut().write_all(head.as_bytes()).await?;
        }
    }
}
