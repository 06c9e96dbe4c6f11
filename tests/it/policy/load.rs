//! Components that are no policies, and what whoever wrote them is told.

use tollgate::policy::{Component, Engine, Policy, Setting};
use tollgate::{Error, ErrorKind};
use tollgate_tests::guests::{Guest, assemble};

const SPIN: &str = "(loop $again (br $again))";

/// Why `bytes` are refused, with the causes.
async fn refused(bytes: impl Into<Vec<u8>>) -> String {
    let error = started(bytes).await.expect_err("it is no policy");
    assert_eq!(error.kind(), ErrorKind::Policy);
    format!("{error:#}")
}

async fn started(bytes: impl Into<Vec<u8>>) -> Result<Policy, Error> {
    let engine = Engine::new()?;
    let component = Component::load(&engine, "mine", bytes).await?;
    Policy::new(&component, "{}", Setting::in_memory()).await
}

#[track_caller]
fn says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{error}` does not say `{part}`");
    }
}

/// The honest policy with one part of its text replaced.
fn altered(part: &str, by: &str) -> Vec<u8> {
    let honest = Guest::HONEST.text();
    assert!(honest.contains(part), "no `{part}` in the text");
    assemble(&honest.replace(part, by))
}

#[tokio::test]
async fn an_honest_policy_is_loaded() {
    let policy = started(Guest::HONEST.bytes()).await.unwrap();
    assert_eq!((policy.id().name.as_str(), policy.id().version.as_str()), ("honest", "1.0"));
}

#[tokio::test]
async fn what_is_no_component_is_refused_by_name() {
    let honest = Guest::HONEST.bytes();
    let module = wat::parse_str("(module)").unwrap();
    let truncated = &honest[..honest.len() / 2];
    let cases: [(&[u8], &str); 6] = [
        (b"", "form`: it is empty"),
        (b"fn main() {}", "form`: it is not WebAssembly; give the .wasm component that `tollgate policy build` writes"),
        (&module, "form`: it is a core module, not a component; `tollgate policy build` makes components"),
        (
            b"\x7fELF\x02\x01\x01\0",
            "form`: it is precompiled machine code, which is never accepted; give the .wasm component",
        ),
        (truncated, "form`: it is not a component that this host runs: "),
        (&vec![0; 2 << 20], "size`: it has 2097152 bytes; at most 1048576"),
    ];
    for (bytes, problem) in cases {
        says(&refused(bytes).await, &[&format!("failed to load policy `mine` at `{problem}")]);
    }
}

#[tokio::test]
async fn every_refused_import_is_listed_with_its_reason() {
    let component = r#"
        (import "wasi:sockets/tcp@0.2.6" (instance))
        (import "wasi:clocks/wall-clock@0.2.6" (instance))
        (import "acme:billing/rates@1.0.0" (instance))
        (import "tollgate:policy/counters@0.2.0" (instance))
        (import "tollgate:policy/secrets@0.1.0" (instance))
        (import "now" (func))"#;
    let error = refused(Guest { component, ..Guest::HONEST }.bytes()).await;
    let reasons = [
        "`wasi:sockets/tcp@0.2.6` (no network: ",
        "`wasi:clocks/wall-clock@0.2.6` (no clock: the time comes with the request)",
        "`acme:billing/rates@1.0.0` (not part of the contract)",
        "`tollgate:policy/counters@0.2.0` (this host speaks 0.1.0)",
        "`tollgate:policy/secrets@0.1.0` (no such interface in the contract)",
        "`now` (not part of the contract)",
        "Rebuild it for wasm32-unknown-unknown, as `tollgate policy build` does",
    ];
    says(&error, &reasons);
    assert!(!error.contains("counters@0.1.0"), "{error}");
}

#[tokio::test]
async fn what_is_told_of_refused_imports_has_a_bound() {
    let many: String = (0..5_000).map(|number| format!("(import \"{}{number}\" (func))", "a".repeat(100))).collect();
    let error = refused(Guest { component: &many, ..Guest::HONEST }.bytes()).await;
    assert!(error.len() < 8_000 && error.contains(" and 4968 more. Rebuild it"), "{} bytes", error.len());
    let long = format!("(import \"{}\" (func))", "a".repeat(90_000));
    let error = refused(Guest { component: &long, ..Guest::HONEST }.bytes()).await;
    assert!(error.len() < 1_000, "{} bytes", error.len());
    let exports = format!(r#"(export "{0}" (func $describe)) (export "{0}" (func $describe))"#, "a".repeat(90_000));
    let export = r#"(export "describe" (func $describe))"#;
    let error = refused(altered(export, &format!("{export} {exports}"))).await;
    assert!(
        error.len() < 5_000 && error.contains("it is not a component that this host runs: "),
        "{} bytes",
        error.len()
    );
}

#[tokio::test]
async fn a_refused_import_cannot_write_on_the_terminal() {
    let component = r#"(import "url=<a\1b[2J>" (func))"#;
    says(
        &refused(Guest { component, ..Guest::HONEST }.bytes()).await,
        &[r"`url=<a\u{1b}[2J>` (not part of the contract)"],
    );
}

#[tokio::test]
async fn an_error_of_the_engine_cannot_write_on_the_terminal() {
    // A name that no export may have.
    let export = r#"(export "describe" (func $describe))"#;
    let error = refused(altered(export, &format!(r#"{export} (export "a\1b[2J" (func $describe))"#))).await;
    says(&error, &["it is not a component that this host runs: ", r"\u{1b}[2J"]);
}

#[tokio::test]
async fn an_import_of_another_type_is_refused() {
    let bytes = altered(r#"(field "burst" u64)"#, r#"(field "burst" s64)"#);
    let problem =
        "its types are not those of tollgate:policy@0.1.0; build it against this version's `tollgate-guest`: ";
    says(&refused(bytes).await, &[problem]);
}

#[tokio::test]
async fn a_missing_export_is_named() {
    for export in ["describe", "configure", "decide"] {
        let bytes = altered(&format!("(export \"{export}\" (func ${export}))"), "");
        let problem = format!(
            "it exports no `{export}`; a policy exports describe, configure and decide (tollgate_guest::export!)"
        );
        says(&refused(bytes).await, &[&problem]);
    }
}

#[tokio::test]
async fn an_export_of_another_type_is_named() {
    for (export, other) in [("describe", "decide"), ("configure", "describe"), ("decide", "describe")] {
        let honest = format!("(export \"{export}\" (func ${export}))");
        let bytes = altered(&honest, &honest.replace(&format!("${export}"), &format!("${other}")));
        let engine = Engine::new().unwrap();
        // Before anyone configures it.
        let error = Component::load(&engine, "mine", bytes).await.unwrap_err();
        says(&error.to_string(), &[&format!("its `{export}` is not that of tollgate:policy@0.1.0: ")]);
    }
}

#[tokio::test]
async fn a_bad_description_is_refused() {
    let problem = "it describes itself wrongly: its name must be 1 to 64 of A-Z a-z 0-9 . _ -, its version at most 256 bytes \
                   without control characters";
    let long = "x".repeat(65);
    for name in ["", "two words", "{acme}", &long] {
        says(&refused(Guest { name, ..Guest::HONEST }.bytes()).await, &[problem]);
    }
    says(&refused(altered("\"honest\"", r#""h\1bnest""#)).await, &[problem]);
    says(&refused(altered("\"1.0limitkey\"", r#""\1b.0limitkey""#)).await, &[problem]);
}

#[tokio::test]
async fn what_spins_before_it_decides_is_refused() {
    let start = "(func $spin (loop $again (br $again))) (start $spin)";
    for guest in [
        Guest { describe: SPIN, ..Guest::HONEST },
        Guest { configure: SPIN, ..Guest::HONEST },
        Guest { module: start, ..Guest::HONEST },
    ] {
        says(&refused(guest.bytes()).await, &["time: wasm trap: interrupt"]);
    }
}

#[tokio::test]
async fn what_traps_before_it_decides_is_refused() {
    let segment = "(data (i32.const 70000) \"far\")";
    for guest in [
        Guest { describe: "(unreachable)", ..Guest::HONEST },
        Guest { configure: "(unreachable)", ..Guest::HONEST },
        Guest { module: segment, ..Guest::HONEST },
    ] {
        says(&refused(guest.bytes()).await, &["policy `", "trap: wasm trap: "]);
    }
}

#[tokio::test]
async fn what_starts_over_its_bounds_is_refused() {
    let memories =
        "(core module $more (memory 1)) (core instance (instantiate $more)) (core instance (instantiate $more))";
    let tables = "(table 1 funcref)".repeat(5);
    let instances = format!("(core module $more) {}", "(core instance (instantiate $more))".repeat(7));
    for guest in [
        Guest { pages: "65", ..Guest::HONEST },
        Guest { component: memories, ..Guest::HONEST },
        Guest { module: "(table 4097 funcref)", ..Guest::HONEST },
        Guest { module: &tables, ..Guest::HONEST },
        Guest { component: &instances, ..Guest::HONEST },
    ] {
        let error = refused(guest.bytes()).await;
        // The pool refuses it when it is compiled; a machine that cannot reserve the pool, when it is started.
        let pool = error.contains("it is not a component that this host runs: ") && error.contains("pool");
        assert!(pool || error.contains("it could not describe itself: memory: "), "{error}");
    }
    // Two memories may stand, and share one bound.
    let second = "(core module $more (memory 40)) (core instance (instantiate $more))";
    says(&refused(Guest { pages: "40", component: second, ..Guest::HONEST }.bytes()).await, &["memory: "]);
}

#[tokio::test]
async fn what_starts_just_within_its_bounds_is_loaded() {
    let second = "(core module $more (memory 1)) (core instance (instantiate $more))";
    let tables = "(table 1024 funcref)".repeat(4);
    let instances = format!("(core module $more) {}", "(core instance (instantiate $more))".repeat(6));
    for guest in [
        Guest { pages: "64", ..Guest::HONEST },
        Guest { pages: "63", component: second, ..Guest::HONEST },
        Guest { module: &tables, ..Guest::HONEST },
        Guest { component: &instances, ..Guest::HONEST },
    ] {
        started(guest.bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn problems_with_a_configuration_cannot_write_on_the_terminal() {
    let configure =
        "(i32.store (i32.const 3000) (i32.const 0x4a325b1b)) (return (call $problem (i32.const 3000) (i32.const 4)))";
    says(
        &refused(Guest { configure, ..Guest::HONEST }.bytes()).await,
        &[r"failed to configure policy `honest`: \u{1b}[2J"],
    );
}

#[tokio::test]
async fn a_description_of_a_megabyte_is_not_copied() {
    let describe = "(i32.store (i32.const 1088) (i32.const 65536)) (i32.store (i32.const 1092) (i32.const 1048576)) (return (i32.const 1088))";
    says(
        &refused(Guest { pages: "32", describe, ..Guest::HONEST }.bytes()).await,
        &["it could not describe itself: budget: "],
    );
}
