//! The admin API as operators meet it: real HTTP, real tokens, the real program.

mod access;
mod commands;
mod metrics;
mod operate;
mod registry;
mod reload;
mod signing;
mod tail;
mod watch;

use std::process::Output;

use anyhow::{Context as _, Result};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tollgate_tests::{Server, command};

const TOKENS: &str = "rita:read:token-of-rita-7f3a,oscar:operate:token-of-oscar-7f3a,ada:admin:token-of-ada-7f3a";
const RITA: &str = "token-of-rita-7f3a";
const OSCAR: &str = "token-of-oscar-7f3a";
const ADA: &str = "token-of-ada-7f3a";

/// A server with an admin API.
struct Admin {
    server: Server,
    url: String,
    client: Client,
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
    body: Value,
}

impl Admin {
    fn start<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        Self::start_with(&[], variables)
    }

    fn start_with<'a>(arguments: &[&str], variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let own = [("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"), ("TOLLGATE_ADMIN_TOKENS", TOKENS)];
        let server = Server::start_with(arguments, own.into_iter().chain(variables))?;
        let url = server.admin_url()?;
        Ok(Self { server, url, client: Client::new() })
    }

    async fn send(&self, token: &str, method: &str, path: &str, kind: &str, body: Vec<u8>) -> Result<Reply> {
        let method = Method::from_bytes(method.as_bytes())?;
        let mut request = self.client.request(method, format!("{}/admin/v1/{path}", self.url));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let sent = request.header("content-type", kind).body(body).send().await?;
        let (status, headers) = (sent.status().as_u16(), sent.headers().clone());
        let bytes = sent.bytes().await?.to_vec();
        Ok(Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default(), bytes })
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Reply> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(token, method, path, "application/json", body).await
    }

    /// What is there, for whoever may read.
    async fn get(&self, path: &str) -> Result<Value> {
        let reply = self.ask(RITA, "GET", path, &Value::Null).await?;
        anyhow::ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.body);
        Ok(reply.body)
    }

    async fn push(&self, component: Vec<u8>) -> Result<Reply> {
        self.send(ADA, "POST", "policies", "application/wasm", component).await
    }

    /// What an operator does, which works.
    async fn done(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let reply = self.ask(OSCAR, method, path, body).await?;
        anyhow::ensure!((200..300).contains(&reply.status), "{method} {path}: {} {}", reply.status, reply.body);
        Ok(reply.body)
    }

    /// A decision of the public listener.
    async fn decide(&self, tenant: &str, tier: &str) -> Result<Value> {
        let question = json!({ "tenant": tenant, "tier": tier, "subject": "alice" });
        let sent = self.client.post(format!("{}/v1/check", self.server.url)).body(question.to_string()).send().await?;
        Ok(serde_json::from_str(&sent.text().await?)?)
    }

    /// Runs the program as an operator does, against this server.
    fn run(&self, token: &str, words: &[&str]) -> Result<Output> {
        let variables = [("TOLLGATE_ADMIN_URL", self.url.as_str()), ("TOLLGATE_ADMIN_TOKEN", token)];
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty());
        Ok(command(variables)?.args(words).output()?)
    }

    /// What it prints in JSON.
    fn run_json(&self, words: &[&str]) -> Result<Value> {
        let ran = self.run(ADA, &[words, &["--json"]].concat())?;
        anyhow::ensure!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
        serde_json::from_slice(&ran.stdout).with_context(|| format!("{words:?}"))
    }
}

/// An honest policy of this name: 1000 a minute of the limit `limit`.
fn guest(name: &str) -> Vec<u8> {
    let mut text = include_str!("../guests/policy.wat")
        .replace("{name}", name)
        .replace("{name-bytes}", &name.len().to_string())
        .replace("{pages}", "1");
    for gap in ["{evil}", "{describe}", "{configure}", "{realloc}", "{after}", "{module}", "{component}"] {
        text = text.replace(gap, "");
    }
    wat::parse_str(text).unwrap()
}

fn tiered(limit: &str) -> Value {
    json!({ "policy": "tiered", "config": { "limits": [{ "id": "day", "limit": limit }] } })
}

/// What is left of the first limit of a decision.
fn left(decision: &Value) -> u64 {
    decision["limits"][0]["remaining"].as_u64().unwrap()
}
