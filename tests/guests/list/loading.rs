//! What is offered as a policy, and is none.

use std::fmt::Write as _;

use super::{Ends, Evil, Form, GUEST, Guest, assemble};

const fn imports(component: &'static str) -> Form {
    Form::Text(Guest { component, ..GUEST })
}

const fn has(module: &'static str) -> Form {
    Form::Text(Guest { module, ..GUEST })
}

/// The pool refuses it when it is compiled; a machine that cannot reserve the pool, when it is started.
const TOO_MUCH: &[&str] = &["it is not a component that this host runs: ", "it could not describe itself: memory: "];

/// What is offered as a policy, and is none.
pub const EVIL: &[Evil] = &[
    Evil::new(
        "is-no-component",
        "a text",
        Form::Bytes(|| b"fn main() {}".to_vec()),
        Ends::Refused(&["it is not WebAssembly"]),
    ),
    Evil::new("is-empty", "no bytes at all", Form::Bytes(Vec::new), Ends::Refused(&["it is empty"])),
    Evil::new(
        "is-a-module",
        "a core module",
        Form::Bytes(|| assemble("(module)")),
        Ends::Refused(&["it is a core module, not a component"]),
    ),
    Evil::new(
        "is-precompiled",
        "what begins as the engine's own machine code does",
        Form::Bytes(|| b"\x7fELF\x02\x01\x01\0".to_vec()),
        Ends::Refused(&["it is precompiled machine code, which is never accepted"]),
    ),
    Evil::new(
        "is-cut-short",
        "half a component",
        Form::Bytes(|| {
            let mut bytes = Guest::HONEST.bytes();
            bytes.truncate(bytes.len() / 2);
            bytes
        }),
        Ends::Refused(&["it is not a component that this host runs: "]),
    ),
    Evil::new(
        "is-too-large",
        "2 MB",
        Form::Bytes(|| vec![0; 2 << 20]),
        Ends::Refused(&["it has 2097152 bytes; at most "]),
    ),
    Evil::new(
        "opens-sockets",
        "imports the sockets of WASI",
        imports(r#"(import "wasi:sockets/tcp@0.2.6" (instance))"#),
        Ends::Refused(&["`wasi:sockets/tcp@0.2.6` (no network: "]),
    ),
    Evil::new(
        "reads-files",
        "imports the files of WASI",
        imports(r#"(import "wasi:filesystem/types@0.2.6" (instance))"#),
        Ends::Refused(&["`wasi:filesystem/types@0.2.6` (no WASI: "]),
    ),
    Evil::new(
        "reads-the-clock",
        "imports the clocks of WASI",
        imports(r#"(import "wasi:clocks/wall-clock@0.2.6" (instance))"#),
        Ends::Refused(&["`wasi:clocks/wall-clock@0.2.6` (no clock: "]),
    ),
    Evil::new(
        "draws-lots",
        "imports the randomness of WASI",
        imports(r#"(import "wasi:random/random@0.2.6" (instance))"#),
        Ends::Refused(&["`wasi:random/random@0.2.6` (no randomness: "]),
    ),
    Evil::new(
        "asks-for-more",
        "imports an interface that nobody knows",
        imports(r#"(import "acme:billing/rates@1.0.0" (instance))"#),
        Ends::Refused(&["`acme:billing/rates@1.0.0` (not part of the contract)"]),
    ),
    Evil::new(
        "is-of-the-future",
        "imports another version of the contract",
        imports(r#"(import "tollgate:policy/counters@0.2.0" (instance))"#),
        Ends::Refused(&["`tollgate:policy/counters@0.2.0` (this host speaks 0.1.0)"]),
    ),
    Evil::new(
        "has-other-types",
        "calls the host with other types",
        Form::Bytes(|| assemble(&Guest::HONEST.text().replace(r#"(field "burst" u64)"#, r#"(field "burst" s64)"#))),
        Ends::Refused(&["its types are not those of tollgate:policy@0.1.0"]),
    ),
    Evil::new(
        "decides-nothing",
        "exports no `decide`",
        Form::Bytes(|| assemble(&Guest::HONEST.text().replace(r#"(export "decide" (func $decide))"#, ""))),
        Ends::Refused(&["it exports no `decide`"]),
    ),
    Evil::new(
        "lies-about-itself",
        "a name with braces",
        Form::Text(Guest { name: "{acme}", ..Guest::HONEST }),
        Ends::Refused(&["it describes itself wrongly"]),
    ),
    Evil::new(
        "describes-a-megabyte",
        "a name of 1 MB",
        Form::Text(Guest {
            pages: "32",
            describe: "(i32.store (i32.const 1088) (i32.const 65536)) (i32.store (i32.const 1092) (i32.const 1048576))
                       (return (i32.const 1088))",
            ..GUEST
        }),
        Ends::Refused(&["it could not describe itself: budget: "]),
    ),
    Evil::new(
        "spins-at-start",
        "an endless loop in its start function",
        has("(func $spin (loop $again (br $again))) (start $spin)"),
        Ends::Refused(&["it could not describe itself: time: "]),
    ),
    Evil::new(
        "traps-when-configured",
        "a panic while it is configured",
        Form::Text(Guest { configure: "(unreachable)", ..GUEST }),
        Ends::Refused(&["failed to start policy `evil`: trap: "]),
    ),
    Evil::new(
        "begins-large",
        "a memory of 65 pages",
        Form::Text(Guest { pages: "65", ..GUEST }),
        Ends::Refused(TOO_MUCH),
    ),
    Evil::new(
        "fills-from-outside",
        "a data segment beyond its memory",
        has("(data (i32.const 70000) \"far\")"),
        Ends::Refused(&["it could not describe itself: trap: "]),
    ),
    Evil::new("begins-with-tables", "a table of 4,097 elements", has("(table 4097 funcref)"), Ends::Refused(TOO_MUCH)),
    Evil::new(
        "has-three-memories",
        "three memories",
        imports(
            "(core module $more (memory 1)) (core instance (instantiate $more)) (core instance (instantiate $more))",
        ),
        Ends::Refused(TOO_MUCH),
    ),
    Evil::new(
        "has-nine-instances",
        "nine core instances",
        imports(
            "(core module $more) (core instance (instantiate $more)) (core instance (instantiate $more))
             (core instance (instantiate $more)) (core instance (instantiate $more)) (core instance (instantiate $more))
             (core instance (instantiate $more)) (core instance (instantiate $more))",
        ),
        Ends::Refused(TOO_MUCH),
    ),
    Evil::new(
        "bombs-the-compiler",
        "one function of hundreds of kilobytes, in which everything depends on everything",
        Form::Bytes(bomb),
        Ends::Loads,
    ),
];

/// A function in which each of many branches changes one of many variables, and all of them are asked for at the end.
fn bomb() -> Vec<u8> {
    let mut function = "(func (export \"bomb\") (param i32) (result i32)".to_owned();
    function.push_str(&" (local i32)".repeat(LOCALS));
    for branch in 0..BRANCHES {
        let (into, from) = (branch % LOCALS + 1, branch * 7 % LOCALS + 1);
        // Writing to a text cannot fail.
        let _ = write!(function, "(if (local.get {from}) (then (local.set {into} (local.get 0))))");
    }
    (1..=LOCALS).for_each(|local| {
        let _ = write!(function, "(local.get {local})");
    });
    function.push_str(&"i32.add ".repeat(LOCALS - 1));
    function.push(')');
    Guest { module: &function, ..GUEST }.bytes()
}

const LOCALS: usize = 300;
const BRANCHES: usize = 20_000;

/// The bytes of a guest that is as honest as another, and not the same.
///
/// # Panics
///
/// Panics if its text is none.
#[must_use]
pub fn honest_by_another_name(number: u64) -> Vec<u8> {
    Guest { name: &format!("honest-{number}"), ..Guest::HONEST }.bytes()
}
