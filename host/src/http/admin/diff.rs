//! What differs between two rosters.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::fleet::RosterDocument;

/// One difference.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Difference {
    /// Where, as a JSON Pointer.
    path: String,
    /// What was there; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// What is there; absent if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
}

/// Every difference, in the order of the paths.
pub(super) fn difference(from: &RosterDocument, to: &RosterDocument) -> Vec<Difference> {
    let value = |roster| serde_json::to_value(roster).expect("rosters have text keys only");
    let mut found = Vec::new();
    compare("", Some(&value(from)), Some(&value(to)), &mut found);
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => objects(path, before, after, found),
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                compare(&format!("{path}/{index}"), before.get(index), after.get(index), found);
            }
        }
        (before, after) => {
            found.push(Difference { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        }
    }
}

fn objects(path: &str, before: &Map<String, Value>, after: &Map<String, Value>, found: &mut Vec<Difference>) {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let step = name.replace('~', "~0").replace('/', "~1");
        compare(&format!("{path}/{step}"), before.get(name), after.get(name), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named_by_where_it_stands() {
        let roster = |text: &str| RosterDocument::parse(text.as_bytes()).unwrap();
        let from = roster(
            r#"{"tiers": {"a/b": {"policy": "tiered", "config": {"limits": [1, 2]}}, "gone": {"policy": "x"}}}"#,
        );
        let to = roster(
            r#"{"tiers": {"a/b": {"policy": "tiered", "config": {"limits": [1, 3, 4]}}}, "default_tier": "a/b"}"#,
        );
        let found = difference(&from, &to);
        let told: Vec<_> = found.iter().map(|found| (found.path.as_str(), &found.before, &found.after)).collect();
        assert_eq!(told[0], ("/default_tier", &None, &Some(json!("a/b"))));
        assert_eq!(told[1], ("/tiers/a~1b/config/limits/1", &Some(json!(2)), &Some(json!(3))));
        assert_eq!(told[2], ("/tiers/a~1b/config/limits/2", &None, &Some(json!(4))));
        assert_eq!((told[3].0, told[3].2, told.len()), ("/tiers/gone", &None, 4));
        assert_eq!(difference(&from, &from), []);
    }
}
