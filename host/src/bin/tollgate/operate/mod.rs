//! The commands of an operator: everything that the admin API does, from a terminal.

pub(super) mod blocks;
mod client;
pub(super) mod decisions;
pub(super) mod fleet;
pub(super) mod keys;
pub(super) mod policies;
mod reference;
pub(super) mod roster;
mod table;
pub(super) mod tenants;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

/// Which server is operated, and by whom.
#[derive(Clone, Debug, Args)]
pub(super) struct Operator {
    /// The admin API to ask, if not TOLLGATE_ADMIN_URL or `http://127.0.0.1:8788`.
    #[arg(long, global = true, value_name = "URL", help_heading = "Operator")]
    admin: Option<String>,
    /// A file with the token for it, instead of TOLLGATE_ADMIN_TOKEN.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Operator")]
    token_file: Option<PathBuf>,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Output {
    /// Prints one JSON object instead of lines for people.
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Prints `value`, or what `told` makes of it for people.
    fn print(self, value: &Value, told: impl FnOnce(&Value) -> String) -> ExitCode {
        if self.json {
            println!("{value}");
        } else {
            println!("{}", told(value).trim_end());
        }
        ExitCode::SUCCESS
    }
}

/// The text at `name` of an answer.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// What an activation answered, in a line.
fn activated(value: &Value) -> String {
    let (generation, revision) = (number(value, "generation"), number(value, "revision"));
    let before = number(value, "before");
    format!(
        "active: revision {revision} as generation {generation} (before: revision {before}); `tollgate fleet` shows who runs it"
    )
}

/// A path of the API, with this last part whatever is in it.
fn path(of: &str, last: &str) -> String {
    format!("{of}/{}", encoded(last))
}

/// A text as it may stand in a path or a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The query that says what for.
fn because(note: Option<&str>) -> String {
    note.map(|note| format!("?note={}", encoded(note))).unwrap_or_default()
}
