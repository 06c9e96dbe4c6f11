//! From text to scenario.

use std::time::Duration;

use super::super::duration;
use super::{Expected, RetryAfter, Scenario, Step, Verdict};

/// The tenant of a subject that names none.
const DEFAULT_TENANT: &str = "acme";

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// Fails with the number of the line that cannot be read and what is accepted there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut policy = None;
        let mut config: Option<String> = None;
        let mut steps: Vec<Step> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('@') {
                let step = step(number, line).map_err(|problem| format!("line {number}: {problem}"))?;
                if steps.last().is_some_and(|earlier| earlier.at > step.at) {
                    return Err(format!("line {number}: `{}` is before the step above", step.text));
                }
                steps.push(step);
            } else if !steps.is_empty() {
                return Err(format!(
                    "line {number}: `{line}` is not a step; a step begins with a time, such as `@3s alice -> allow`"
                ));
            } else if let Some(config) = &mut config {
                config.push('\n');
                config.push_str(line);
            } else {
                match line.split_once(' ') {
                    Some(("policy", name)) => policy = Some(name.trim().to_owned()),
                    Some(("config", json)) => config = Some(json.trim().to_owned()),
                    _ => return Err(format!("line {number}: `{line}` is not `policy NAME`, `config JSON` or a step")),
                }
            }
        }
        let policy = policy.ok_or("no line says `policy NAME`")?;
        if steps.is_empty() {
            return Err("there is no step; write one such as `@0s alice -> allow`".to_owned());
        }
        Ok(Self { policy, config, steps })
    }
}

fn step(line: usize, text: &str) -> Result<Step, String> {
    let text = text.split_once(" # ").map_or(text, |(step, _)| step).trim();
    let (request, expected) =
        text.split_once("->").ok_or_else(|| format!("`{text}` has no `-> allow` or `-> deny`"))?;
    let request = request.trim();
    let mut words = request.split_ascii_whitespace();
    let time = words.next().unwrap_or_default();
    let at = time.strip_prefix('@').and_then(duration::parse);
    let at = at.ok_or_else(|| format!("`{time}` is not a time since the beginning, such as `@0s` or `@1m30s`"))?;
    let who = words.next().ok_or_else(|| format!("`{request}` names no subject"))?;
    let (subject, tenant) = who.rsplit_once('@').unwrap_or((who, DEFAULT_TENANT));
    let mut words = words.peekable();
    let route = words.next_if(|word| !is_number(word)).unwrap_or_default();
    let cost = match words.next() {
        None => 1,
        Some(word) => word.parse().map_err(|_| format!("`{word}` is not a cost"))?,
    };
    if let Some(word) = words.next() {
        return Err(format!(
            "`{word}` is too much; a step is `@TIME SUBJECT ROUTE COST -> EXPECTED`, route and cost may be left out"
        ));
    }
    Ok(Step {
        line,
        text: request.to_owned(),
        at,
        tenant: tenant.to_owned(),
        subject: subject.to_owned(),
        route: route.to_owned(),
        cost,
        expected: expected_of(expected.trim())?,
    })
}

fn expected_of(text: &str) -> Result<Expected, String> {
    let mut words = text.split_ascii_whitespace().peekable();
    let (verdict, retry_after) = match words.next() {
        Some("allow") => (Verdict::Allow, None),
        Some("delay") => (
            Verdict::Delay(
                words
                    .next()
                    .and_then(duration::parse)
                    .ok_or_else(|| format!("`{text}` does not say how long the delay is, as in `delay 2s`"))?,
            ),
            None,
        ),
        Some("deny") => (Verdict::Deny, words.next_if(|word| *word != "remaining").map(wait).transpose()?),
        _ => return Err(format!("`{text}` is none of `allow`, `delay` and `deny`")),
    };
    let mut expected = Expected { verdict, retry_after, least_remaining: None, remaining: Vec::new() };
    if let Some(word) = words.next_if(|word| *word != "remaining") {
        return Err(format!("`{word}` is not `remaining`, which is all that may follow"));
    }
    for word in words.skip(1) {
        let problem = || format!("`{word}` is neither a number nor `LIMIT=NUMBER`");
        match word.split_once('=') {
            Some((id, number)) => expected.remaining.push((id.to_owned(), number.parse().map_err(|_| problem())?)),
            None => expected.least_remaining = Some(word.parse().map_err(|_| problem())?),
        }
    }
    Ok(expected)
}

fn wait(word: &str) -> Result<RetryAfter, String> {
    match word {
        "never" => Ok(RetryAfter::Never),
        _ => duration::parse(word)
            .filter(|wait| *wait > Duration::ZERO)
            .map(RetryAfter::After)
            .ok_or_else(|| format!("`{word}` is not a wait, such as `7s`, `1m30s` or `never`")),
    }
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}
