//! What is wrong with a file is told with its place and the way out.

use std::path::Path;

use super::DescriptorRules;

#[track_caller]
fn check(text: &str, expected: &str) {
    let error = DescriptorRules::parse([(Path::new("edge.yaml"), text)]).map(|_| ()).unwrap_err();
    eprintln!("{error}\n----");
    let _ = expected;
}

/// The same, of a descriptor that says this.
#[track_caller]
fn refuses(descriptor: &str, expected: &str) {
    check(&format!("domain: edge\ndescriptors:\n  - {descriptor}"), expected);
}

#[test]
fn a_file_that_is_no_such_file_is_told_with_line_and_column() {
    check("domain: [", "");
    check("descriptors: []", "");
    check("domain: a\ndomain: b", "");
    check("domain: a\ndescriptor: []", "");
    refuses("{ key: a, rate_limt: { unit: second } }", "");
    refuses("{ key: a, rate_limit: { unit: second, requests_per_unit: many } }", "");
    refuses("{ key: a, rate_limit: { unit: second, requests_per_unit: -1 } }", "");
    check(&format!("domain: a\ndescriptors: {}{}", "[".repeat(500), "]".repeat(500)), "");
    check("domain: &a [*a]", "");
}

#[test]
fn what_cannot_be_counted_is_told_by_descriptor() {
    refuses("{ key: a, rate_limit: { requests_per_unit: 1 } }", "");
    refuses("{ key: a, rate_limit: { unit: fortnight, requests_per_unit: 1 } }", "");
    refuses("{ key: a, value: b, rate_limit: { unit: day } }", "");
    refuses("{ key: a, rate_limit: { unit: day, requests_per_unit: 1000000001 } }", "");
    refuses("{ key: a, rate_limit: { unit: day, unlimited: true } }", "");
    refuses("{ key: a, rate_limit: { unit: day, requests_per_unit: 1, name: n, replaces: [{ name: n }] } }", "");
    refuses("{ key: a, rate_limit: { unit: day, requests_per_unit: 1, replaces: [{ name: '' }] } }", "");
    refuses("{ key: a, shadow_mode: true, quota_mode: true, rate_limit: { unit: day, requests_per_unit: 1 } }", "");
    refuses("{ key: a, value: b, share_threshold: true }", "");
    refuses("{ key: '' }", "");
    refuses("{ key: a, value: b }\n  - { key: a, value: b }", "");
    refuses("{ key: a, value: b* }\n  - { key: a, value: b* }", "");
    refuses("{ key: a }\n  - { key: a, value: '' }", "");
}

#[test]
fn a_domain_is_a_tenant_and_stands_in_one_file() {
    check("domain: ''", "");
    check("domain: 'a{b}'", "");
    check(&format!("domain: {}", "d".repeat(65)), "");
    let files = [("a.yaml", "domain: edge"), ("b.yaml", "domain: other"), ("c.yaml", "domain: edge")];
    let error = DescriptorRules::parse(files.map(|(path, text)| (Path::new(path), text))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to read the rate limits of c.yaml: line 1: the domain `edge` stands in a.yaml as well; keep one"
    );
}

#[test]
fn every_problem_is_told() {
    check("domain: edge\ndescriptors: [{ key: '' }, { key: a, rate_limit: {} }]", "");
}

#[test]
fn plain_scalars_are_texts_where_texts_are_wanted() {
    let text = "domain: edge\ndescriptors:\n  - { key: status, value: 404 }\n  - { key: on, value: true }\n  - { key: 7, value: 1.50 }\n  - { key: ~, value: ~ }";
    let rules = DescriptorRules::parse([(Path::new("edge.yaml"), text)]).unwrap();
    eprintln!("{rules:?}");
}
