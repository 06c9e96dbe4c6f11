//! Asking the admin API.

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use tollgate::config::{Secret, env};
use ureq::Agent;
use ureq::http::{Request, Response, StatusCode};

use super::{Operator, text};

/// A server, and the token that it is shown.
pub(super) struct Client {
    url: String,
    token: Secret,
}

const URL: &str = "http://127.0.0.1:8788";
/// How long an answer may take: a roster is compiled before it is activated.
const PATIENCE: Duration = Duration::from_secs(60);

impl Operator {
    /// The server that the arguments name, or else the environment.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let environment = env::process()?;
        let said = |name| env::value(&environment, name).map(str::to_owned);
        let url = self.admin.clone().or_else(|| said("TOLLGATE_ADMIN_URL")).unwrap_or_else(|| URL.to_owned());
        let token = match &self.token_file {
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?,
            None => said("TOLLGATE_ADMIN_TOKEN").context(
                "no token: set TOLLGATE_ADMIN_TOKEN, or name a file by --token-file; `tollgate serve` prints one if it was given none",
            )?,
        };
        Ok(Client { url: url.trim_end_matches('/').to_owned(), token: Secret::new(token.trim()) })
    }
}

impl Client {
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask("GET", path, "", Vec::new())
    }

    /// Sends `body`, if there is one.
    pub(super) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        match body {
            Some(body) => self.ask(method, path, "application/json", body.to_string().into_bytes()),
            None => self.ask(method, path, "", Vec::new()),
        }
    }

    /// Sends a component.
    pub(super) fn upload(&self, path: &str, component: Vec<u8>) -> anyhow::Result<Value> {
        self.ask("POST", path, "application/wasm", component)
    }

    /// The lines of an answer that has no end.
    pub(super) fn lines(&self, path: &str) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        let mut response = self.response("GET", path, "", Vec::new(), None)?;
        let status = response.status();
        if !status.is_success() {
            let answer = response.body_mut().read_to_string().unwrap_or_default();
            return Err(self.refused(status, &answer));
        }
        Ok(std::io::BufReader::new(response.into_body().into_reader()).lines())
    }

    fn ask(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> anyhow::Result<Value> {
        let mut response = self.response(method, path, kind, body, Some(PATIENCE))?;
        let status = response.status();
        let answer = response.body_mut().with_config().limit(MOST_BYTES).read_to_string();
        let answer = answer.with_context(|| format!("failed to read the answer of {}", self.url))?;
        if !status.is_success() {
            return Err(self.refused(status, &answer));
        }
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&answer).map_err(|_| anyhow!("{} answered no JSON; is that the admin API?", self.url))
    }

    fn response(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: Vec<u8>,
        within: Option<Duration>,
    ) -> anyhow::Result<Response<ureq::Body>> {
        let url = format!("{}/admin/v1/{path}", self.url);
        let settings = Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(false);
        let agent = Agent::new_with_config(settings.timeout_global(within).build());
        let mut request = Request::builder().method(method).uri(&url);
        request = request.header("authorization", format!("Bearer {}", self.token.reveal()));
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let asked = if method == "GET" || method == "DELETE" {
            agent.run(request.body(()).with_context(|| format!("`{url}` cannot be asked"))?)
        } else {
            agent.run(request.body(body).with_context(|| format!("`{url}` cannot be asked"))?)
        };
        let way_out =
            "is `tollgate serve` running there, with an admin API? --admin or TOLLGATE_ADMIN_URL names another place";
        asked.with_context(|| format!("failed to ask {url}; {way_out}"))
    }

    /// What was wrong, and the way out.
    fn refused(&self, status: StatusCode, answer: &str) -> anyhow::Error {
        let problem: Value = serde_json::from_str(answer).unwrap_or_default();
        let detail = match text(&problem, "detail") {
            "" => format!("{} answered {status} and no reason; is that the admin API?", self.url),
            detail => detail.to_owned(),
        };
        let way_out = match status {
            StatusCode::UNAUTHORIZED => "; TOLLGATE_ADMIN_TOKEN or --token-file gives the token",
            StatusCode::FORBIDDEN => "; ask for a token of that scope",
            StatusCode::TOO_MANY_REQUESTS => "; wait a little",
            _ => "",
        };
        anyhow!("{detail}{way_out}")
    }
}

/// The largest answer that is read: a roster of many thousand tenants, and its history.
const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// A JSON text, or `@` and the file that holds it.
pub(super) fn json_or_file(text: &str) -> anyhow::Result<Value> {
    let read;
    let text = match text.strip_prefix('@') {
        Some(file) => {
            read = std::fs::read_to_string(file).with_context(|| format!("failed to read {file}"))?;
            read.as_str()
        }
        None => text,
    };
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => bail!("the configuration is no JSON: {error}; give a JSON text, or `@` and a file with one"),
    }
}
