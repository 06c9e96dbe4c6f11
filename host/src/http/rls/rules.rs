//! The rules of all domains, and which of them a descriptor meets.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::rule::Rule;
use super::yaml::{self, DescriptorSheet, Sheet};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{KeySpace, Request};
use crate::policy;

/// The limits of all domains, as the files of envoyproxy/ratelimit give them.
///
/// # Example
///
/// ```
/// use std::path::Path;
/// use tollgate::http::rls::DescriptorRules;
///
/// let text = "domain: edge\ndescriptors:\n  - key: remote_address\n    rate_limit: { unit: second, requests_per_unit: 10 }";
/// let rules = DescriptorRules::parse([(Path::new("edge.yaml"), text)])?;
/// assert_eq!(rules.domains().collect::<Vec<_>>(), ["edge"]);
/// # Ok::<(), tollgate::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct DescriptorRules {
    domains: BTreeMap<Box<str>, Node>,
}

/// What may follow.
type Choices = HashMap<Box<str>, Values>;

/// A descriptor of the files: its rule, and what may follow.
#[derive(Debug, Default)]
struct Node {
    rule: Option<Arc<Rule>>,
    below: Choices,
}

/// The descriptors of one key, by their values.
#[derive(Debug, Default)]
struct Values {
    exact: HashMap<Box<str>, Node>,
    /// In the order of the file: the first that matches counts.
    patterns: Vec<(Pattern, Node)>,
    any: Option<Node>,
}

/// A value with `*` in it: what stands between the stars.
#[derive(Debug)]
struct Pattern {
    text: Box<str>,
    parts: Box<[Box<str>]>,
    /// Whether all values that match share a counter.
    shared: bool,
}

/// The rule that a descriptor meets, and the counter that is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) rule: Arc<Rule>,
    /// At most as long as the suffix of a counter's key may be.
    pub(super) key: String,
}

impl DescriptorRules {
    /// Reads files, each with its name.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] and a text that names the file, the line and the way out of every problem: a key that nobody knows, a
    /// limit that cannot be counted, a descriptor or a domain that stands twice, a domain that no tenant may be called.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Result<Self> {
        let mut reader = Reader::default();
        for (path, text) in files {
            reader.file = path.display().to_string();
            match yaml::read(text) {
                Ok(sheet) => reader.domain(&sheet),
                Err(problem) => reader.problem(problem),
            }
        }
        reader.finish()
    }

    /// The domains, in order.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.keys().map(|name| &**name)
    }

    #[cfg(test)]
    pub(super) fn knows(&self, domain: &str, key: &str, value: &str) -> bool {
        let below = |node: &Node| node.below.get(key).is_some_and(|values| values.find(value).is_some());
        self.domains.get(domain).is_some_and(below)
    }

    pub(super) fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains_key(domain)
    }

    /// The rule that a descriptor of `domain` meets, if it meets one.
    ///
    /// On each level an exact value stands before a pattern, and a pattern before a key alone; there is no way back from a choice. A rule is met
    /// where the descriptor ends.
    pub(super) fn meet<'a>(&self, domain: &str, entries: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Met> {
        let mut node = self.domains.get(domain)?;
        let mut counted = Vec::new();
        for (key, value) in entries {
            let values = node.below.get(key)?;
            let (next, value) = values.find(value)?;
            counted.push((key, value));
            node = next;
        }
        let rule = Arc::clone(node.rule.as_ref().filter(|_| !counted.is_empty())?);
        Some(Met { rule, key: counter_key(counted.into_iter()) })
    }
}

impl Values {
    /// What the value leads to, and the value that counts.
    fn find<'a>(&'a self, value: &'a str) -> Option<(&'a Node, &'a str)> {
        if let Some(node) = self.exact.get(value) {
            return Some((node, value));
        }
        match self.patterns.iter().find(|(pattern, _)| pattern.matches(value)) {
            Some((pattern, node)) if pattern.shared => Some((node, &pattern.text)),
            Some((_, node)) => Some((node, value)),
            None => self.any.as_ref().map(|node| (node, value)),
        }
    }
}

impl Pattern {
    fn new(text: &str, shared: bool) -> Self {
        Self { text: text.into(), parts: text.split('*').map(Into::into).collect(), shared }
    }

    /// Whether the parts stand in the value, in their order, the first at its beginning and the last at its end.
    fn matches(&self, value: &str) -> bool {
        let [first, middle @ .., last] = &*self.parts else { return *self.text == *value };
        let Some(mut rest) = value.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last)) else {
            return false;
        };
        middle.iter().all(|part| match rest.split_once(&**part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    }
}

/// The name of a counter: its entries, in a form that no other entries have. A value may be a secret, such as an API key, so its digest stands for
/// it; and the digest of all for what is too long for a key.
pub(super) fn counter_key<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut key = String::new();
    for (name, value) in entries {
        if !key.is_empty() {
            key.push(';');
        }
        escape(&mut key, name);
        key.push('=');
        key.push_str(policy::digest(value.as_bytes()).get(..VALUE_DIGITS).unwrap_or_default());
    }
    if key.len() <= KeySpace::MAX_SUFFIX_BYTES { key } else { digest(&key) }
}

/// So many digits of a digest tell values apart, 128 bits.
const VALUE_DIGITS: usize = 32;

fn escape(key: &mut String, name: &str) {
    for c in name.chars() {
        if c.is_control() || matches!(c, ';' | '=' | '%') {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a text does not fail.
                let _ = write!(key, "%{byte:02X}");
            }
        } else {
            key.push(c);
        }
    }
}

/// Begins with a form that no entries have.
pub(super) fn digest(text: &str) -> String {
    format!("sha256:{}", policy::digest(text.as_bytes()))
}

/// Reads files, and keeps every problem.
#[derive(Default)]
struct Reader {
    file: String,
    rules: DescriptorRules,
    /// Which file a domain stands in.
    files: BTreeMap<Box<str>, String>,
    problems: Vec<String>,
}

impl Reader {
    fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(format!("{}: {}", self.file, problem.into()));
    }

    fn domain(&mut self, sheet: &Sheet) {
        let (domain, line) = (sheet.domain.value.as_str(), sheet.domain.referenced.line());
        if let Err(error) = Request::new(domain, "subject") {
            let problem = error.problem;
            return self.problem(format!("line {line}: the domain `{}` {problem}", domain.escape_debug()));
        }
        if let Some(other) = self.files.insert(domain.into(), self.file.clone()) {
            let file = if other == self.file { "this file" } else { &other };
            return self.problem(format!("line {line}: the domain `{domain}` stands in {file} as well; keep one"));
        }
        let mut root = Node::default();
        let mut path = Vec::new();
        sheet.descriptors.iter().flatten().for_each(|descriptor| self.descriptor(&mut root, descriptor, &mut path));
        self.rules.domains.insert(domain.into(), root);
    }

    fn descriptor<'s>(&mut self, above: &mut Node, sheet: &'s DescriptorSheet, path: &mut Vec<&'s str>) {
        let (key, line) = (sheet.key.value.as_str(), sheet.key.referenced.line());
        let value = sheet.value.as_deref().filter(|value| !value.is_empty());
        let shown = value.map_or_else(|| key.to_owned(), |value| format!("{key}: {value}"));
        let shown = shown.escape_debug();
        if key.is_empty() {
            return self.problem(format!("line {line}: a descriptor has an empty `key`; name it"));
        }
        if sheet.share_threshold && !value.is_some_and(|value| value.contains('*')) {
            self.problem(format!("line {line}: `{shown}` has `share_threshold` and no `*` in its value; leave it out"));
        }
        path.push(key);
        let mut node = Node::default();
        match sheet.rate_limit.as_ref().map(|limit| Rule::read(limit, sheet, path)) {
            Some(Ok(rule)) => node.rule = Some(Arc::new(rule)),
            Some(Err(problem)) => self.problem(format!("line {line}: the limit of `{shown}` {problem}")),
            None => (),
        }
        sheet.descriptors.iter().flatten().for_each(|below| self.descriptor(&mut node, below, path));
        path.pop();
        if !above.below.entry(key.into()).or_default().add(value, node, sheet.share_threshold) {
            self.problem(format!("line {line}: the descriptor `{shown}` stands twice; keep one"));
        }
    }

    fn finish(self) -> Result<DescriptorRules> {
        let message = match self.problems.as_slice() {
            [] => return Ok(self.rules),
            [problem] => format!("failed to read the rate limits of {problem}"),
            problems => {
                let lines: String = problems.iter().map(|problem| format!("\n- {problem}")).collect();
                format!("failed to read the rate limits, which have {} problems:{lines}", problems.len())
            }
        };
        Err(Error::new(ErrorKind::Config, message))
    }
}

impl Values {
    /// Adds a node, unless there is one for this value.
    fn add(&mut self, value: Option<&str>, node: Node, shared: bool) -> bool {
        match value {
            None if self.any.is_some() => return false,
            None => self.any = Some(node),
            Some(text) if text.contains('*') => {
                if self.patterns.iter().any(|(pattern, _)| &*pattern.text == text) {
                    return false;
                }
                self.patterns.push((Pattern::new(text, shared), node));
            }
            Some(text) => return self.exact.insert(text.into(), node).is_none(),
        }
        true
    }
}
