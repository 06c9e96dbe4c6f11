//! docs/configuration.md tells what the table of variables tells.

use std::fmt::Write as _;

use super::*;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
const BEGIN: &str = "<!-- variables: written by a test from host/src/config/env.rs -->\n";
const END: &str = "<!-- end of variables -->";

fn table() -> String {
    let mut text = String::new();
    for group in env::VARIABLES {
        write!(text, "\n### {}\n\n| variable | form | default | meaning |\n|---|---|---|---|\n", group.title).unwrap();
        for env::Variable { name, form, default, meaning } in group.variables {
            let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
            writeln!(text, "| `{name}` | {form} | {default} | {meaning} |").unwrap();
        }
    }
    text.push('\n');
    text
}

#[test]
#[expect(clippy::disallowed_methods, reason = "asks to write the page, which configures nothing")]
fn the_handbook_lists_every_variable() {
    let page = std::fs::read_to_string(PATH).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (_, tail) = rest.split_once(END).expect("the table has an end");
    let expected = format!("{head}{BEGIN}{}{END}{tail}", table());
    if std::env::var_os("TOLLGATE_WRITE").is_some() {
        std::fs::write(PATH, &expected).unwrap();
    } else {
        assert!(
            page == expected,
            "docs/configuration.md is stale: run `TOLLGATE_WRITE=1 cargo test -p tollgate config::`"
        );
    }
}

#[test]
fn the_handbooks_example_works() {
    let page = std::fs::read_to_string(PATH).unwrap();
    let (_, example) = page.split_once("```toml\n").expect("the page has an example");
    let (example, _) = example.split_once("```").expect("the example has an end");
    let config = load(Some(&example.replace('…', &"0".repeat(64))), "").unwrap();
    assert_eq!(
        (config.tiers.len(), config.tenants["acme"].tier.as_str(), config.keys[0].id.as_str()),
        (1, "free", "acme-web")
    );
}

#[test]
fn every_variable_stands_in_the_table_once() {
    let mut names: Vec<_> = env::variables().map(|variable| variable.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}
