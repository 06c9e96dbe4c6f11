use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::parse;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sample {
    list: Vec<Inner>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    pair: (i8, f64),
}

#[derive(Debug, Deserialize, PartialEq)]
struct Inner {
    number: u8,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Plain,
    Sized(u32),
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    assert_eq!(parse::<Sample>(text).unwrap_err(), expected, "{text}");
}

#[test]
fn what_serde_derives_is_read() {
    let text = r#" {"list": [{"number": 255, "other": [null, {}]}], "name": "\u00e9\ud83d\ude00\n", "kind": {"sized": 3}, "pair": [-1, 2.5e1]} "#;
    let expected = Sample {
        list: vec![Inner { number: 255 }],
        name: Some("é😀\n".to_owned()),
        kind: Kind::Sized(3),
        pair: (-1, 25.0),
    };
    assert_eq!(parse(text), Ok(expected));
    let plain = Sample { list: Vec::new(), name: None, kind: Kind::Plain, pair: (0, 0.0) };
    assert_eq!(parse(r#"{"list": [], "name": null, "kind": "plain"}"#), Ok(plain));
}

#[test]
fn a_wrong_value_is_found_by_path_line_and_column() {
    refuses(
        "{\n  \"list\": [{\"number\": 1}, {\"number\": \"}\"}]\n}",
        "list[1].number: expected u8, found \"}\" (line 2, column 38)",
    );
    refuses(r#"{"list": [{"number": 256}]}"#, "list[0].number: expected u8, found 256 (line 1, column 22)");
    refuses(r#"{"list": [{"number": 1.0}]}"#, "list[0].number: expected u8, found 1.0 (line 1, column 22)");
    refuses(r#"{"list": [{}]}"#, "list[0]: missing field `number` (line 1, column 11)");
    refuses(r#"{"list": {}}"#, "list: expected a sequence, found an object (line 1, column 10)");
    refuses(r#"{"lst": []}"#, "unknown field `lst`, expected one of `list`, `name`, `kind`, `pair` (line 1, column 9)");
    refuses(r#"{"list": [], "list": []}"#, "duplicate field `list` (line 1, column 1)");
    refuses(
        r#"{"list": [], "kind": "fast"}"#,
        "kind: unknown variant `fast`, expected `plain` or `sized` (line 1, column 22)",
    );
    refuses(r#"{"list": [], "pair": [1, 2, 3]}"#, "pair: expected 2 items, found 3 (line 1, column 22)");
    refuses(
        "{\"list\": [], \"é\": 1}",
        "unknown field `é`, expected one of `list`, `name`, `kind`, `pair` (line 1, column 19)",
    );
}

#[test]
fn a_text_that_is_not_json_is_found_by_line_and_column() {
    refuses("", "expected a value (line 1, column 1)");
    refuses("{\n  \"list\": [],\n}", "expected a name in double quotes (line 3, column 1)");
    refuses("{\"list\": [1 2]}", "expected `,` or `]` (line 1, column 13)");
    refuses("{\"list\" []}", "expected `:` (line 1, column 9)");
    refuses("{} x", "expected nothing after the value (line 1, column 4)");
    refuses("\"a", "expected the text to end with `\"` (line 1, column 3)");
    refuses("\"a\u{1f}\"", "expected the text to end with `\"` (line 1, column 3)");
    refuses("\"\\x\"", "expected one of \" \\ / b f n r t u after `\\` (line 1, column 3)");
    refuses("\"\\ud800x\"", "expected four hexadecimal digits of a character (line 1, column 8)");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse::<serde_json::Value>(&nested(64)).is_ok());
    assert_eq!(
        parse::<serde_json::Value>(&nested(65)).unwrap_err(),
        "expected at most 64 levels of lists and objects (line 1, column 65)"
    );
}

/// What serde_json makes of `text`, or none.
fn oracle<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<u64>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        // Small fractions, which serde_json reads exactly without its slower feature.
        (-1_000_000_i32..1_000_000).prop_map(|value| json!(f64::from(value) / 64.0)),
        any::<String>().prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|list| json!(list)),
            prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|object| json!(object)),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_is_read_as_serde_json_reads_it(value in values()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(parse::<serde_json::Value>(&text), Ok(value.clone()));
        }
    }

    #[test]
    fn texts_that_are_almost_json_are_refused_as_serde_json_refuses_them(
        text in r#"([\[\]{},:"\\0-9.eE+ -]|true|null|\\u[0-9a-fA-F]{4}|"[a-z\\]{0,3}"|[0-9]{1,3}|é){0,12}"#,
    ) {
        prop_assert_eq!(parse::<serde_json::Value>(&text).is_ok(), oracle::<serde_json::Value>(&text).is_some(), "{}", text);
    }

    #[test]
    fn numbers_are_in_range_where_serde_json_says_so(text in "0|-?[1-9][0-9]{0,21}") {
        prop_assert_eq!(parse::<u64>(&text).ok(), oracle::<u64>(&text));
        prop_assert_eq!(parse::<i64>(&text).ok(), oracle::<i64>(&text));
        prop_assert_eq!(parse::<u8>(&text).ok(), oracle::<u8>(&text));
    }
}
