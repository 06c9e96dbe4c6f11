//! What is wrong with a file is told with its place and the way out.

use std::path::Path;

use super::DescriptorRules;

#[track_caller]
fn check(text: &str, expected: &str) {
    let error = DescriptorRules::parse([(Path::new("edge.yaml"), text)]).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string().strip_prefix("failed to read the rate limits"), Some(expected), "{text}");
}

/// The same, of a descriptor that says this.
#[track_caller]
fn refuses(descriptor: &str, expected: &str) {
    check(&format!("domain: edge\ndescriptors:\n  - {descriptor}"), expected);
}

#[test]
fn a_file_that_is_no_such_file_is_told_with_line_and_column() {
    check("domain: [", " of edge.yaml: expected string scalar at line 1, column 9");
    check("descriptors: []", " of edge.yaml: missing field `domain` at line 1, column 1");
    check("domain: a\ndomain: b", " of edge.yaml: `domain` stands twice; keep one (line 2, column 1)");
    check(
        "domain: a\ndescriptor: []",
        " of edge.yaml: unknown field `descriptor`, expected one of domain, descriptors at line 2, column 1",
    );
    refuses(
        "{ key: a, rate_limt: { unit: second } }",
        " of edge.yaml: unknown field `rate_limt`, expected one of key, value, rate_limit, descriptors, shadow_mode, quota_mode, share_threshold, detailed_metric, value_to_metric, metadata at line 3, column 15",
    );
    refuses(
        "{ key: a, rate_limit: { unit: second, requests_per_unit: many } }",
        " of edge.yaml: `requests_per_unit` is not a whole number from 0 to 1000000000 at line 3, column 62",
    );
    refuses(
        "{ key: a, rate_limit: { unit: second, requests_per_unit: -1 } }",
        " of edge.yaml: `requests_per_unit` is not a whole number from 0 to 1000000000 at line 3, column 62",
    );
    check(
        &format!("domain: a\ndescriptors: {}{}", "[".repeat(500), "]".repeat(500)),
        " of edge.yaml: recursion limit exceeded at line 2, column 269",
    );
    check("domain: &a [*a]", " of edge.yaml: expected string scalar at line 1, column 12");
}

#[test]
fn what_cannot_be_counted_is_told_by_descriptor() {
    refuses(
        "{ key: a, rate_limit: { requests_per_unit: 1 } }",
        " of edge.yaml: line 3: the limit of `a` has no `unit`; give second, minute, hour, day, week, month or year, or `unlimited: true`",
    );
    refuses(
        "{ key: a, rate_limit: { unit: fortnight, requests_per_unit: 1 } }",
        " of edge.yaml: line 3: the limit of `a` has the unit `fortnight`; give second, minute, hour, day, week, month or year",
    );
    refuses(
        "{ key: a, value: b, rate_limit: { unit: day } }",
        " of edge.yaml: line 3: the limit of `a: b` has no `requests_per_unit`; give a number, 0 to refuse everything",
    );
    refuses(
        "{ key: a, rate_limit: { unit: day, requests_per_unit: 1000000001 } }",
        " of edge.yaml: line 3: the limit of `a` has 1000000001 `requests_per_unit`; give at most 1000000000, or `unlimited: true`",
    );
    refuses(
        "{ key: a, rate_limit: { unit: day, unlimited: true } }",
        " of edge.yaml: line 3: the limit of `a` has `unlimited` and a `unit`; keep one",
    );
    refuses(
        "{ key: a, rate_limit: { unit: day, requests_per_unit: 1, name: n, replaces: [{ name: n }] } }",
        " of edge.yaml: line 3: the limit of `a` `replaces` itself, `n`; name another",
    );
    refuses(
        "{ key: a, rate_limit: { unit: day, requests_per_unit: 1, replaces: [{ name: '' }] } }",
        " of edge.yaml: line 3: the limit of `a` `replaces` a rule without a name; give the `name` of another",
    );
    refuses(
        "{ key: a, shadow_mode: true, quota_mode: true, rate_limit: { unit: day, requests_per_unit: 1 } }",
        " of edge.yaml: line 3: the limit of `a` has both `shadow_mode` and `quota_mode`; keep one",
    );
    refuses(
        "{ key: a, value: b, share_threshold: true }",
        " of edge.yaml: line 3: `a: b` has `share_threshold` and no `*` in its value; leave it out",
    );
    refuses("{ key: '' }", " of edge.yaml: line 3: a descriptor has an empty `key`; name it");
    refuses(
        "{ key: a, value: b }\n  - { key: a, value: b }",
        " of edge.yaml: line 4: the descriptor `a: b` stands twice; keep one",
    );
    refuses(
        "{ key: a, value: b* }\n  - { key: a, value: b* }",
        " of edge.yaml: line 4: the descriptor `a: b*` stands twice; keep one",
    );
    refuses(
        "{ key: a }\n  - { key: a, value: '' }",
        " of edge.yaml: line 4: the descriptor `a` stands twice; keep one",
    );
}

#[test]
fn a_domain_is_a_tenant_and_stands_in_one_file() {
    check("domain: ''", " of edge.yaml: line 1: the domain `` is empty; give 1 to 64 bytes");
    check("domain: 'a{b}'", " of edge.yaml: line 1: the domain `a{b}` holds a brace; braces mark the tenant in keys");
    check(
        &format!("domain: {}", "d".repeat(65)),
        " of edge.yaml: line 1: the domain `ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd` has 65 bytes; give at most 64",
    );
    let files = [("a.yaml", "domain: edge"), ("b.yaml", "domain: other"), ("c.yaml", "domain: edge")];
    let error = DescriptorRules::parse(files.map(|(path, text)| (Path::new(path), text))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to read the rate limits of c.yaml: line 1: the domain `edge` stands in a.yaml as well; keep one"
    );
}

#[test]
fn every_problem_is_told() {
    check(
        "domain: edge\ndescriptors: [{ key: '' }, { key: a, rate_limit: {} }]",
        ", which have 2 problems:\n- edge.yaml: line 2: a descriptor has an empty `key`; name it\n- edge.yaml: line 2: the limit of `a` has no `unit`; give second, minute, hour, day, week, month or year, or `unlimited: true`",
    );
}

#[test]
fn plain_scalars_are_texts_where_texts_are_wanted() {
    let text = "domain: edge\ndescriptors:\n  - { key: status, value: 404 }\n  - { key: on, value: true }\n  - { key: 7, value: 1.50 }\n  - { key: n, value: ~ }";
    let rules = DescriptorRules::parse([(Path::new("edge.yaml"), text)]).unwrap();
    for (key, value) in [("status", "404"), ("on", "true"), ("7", "1.50")] {
        assert!(rules.knows("edge", key, value), "{key}: {value}");
    }
    assert!(rules.knows("edge", "n", "anything"));
    check("domain: ~", " of edge.yaml: a text is missing (line 1, column 9)");
}
