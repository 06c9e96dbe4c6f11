//! Guests that charge what is not theirs, what cannot be, or too much of it.

use tollgate::PolicyFaultKind::{Budget, Nonsense, Trap};
use tollgate::Verdict;

use super::{Ends, Evil, Form, Guest, ROOMY, does};

/// Changes an honest charge, whose address is in `$at`, before it makes it.
macro_rules! charges {
    ($change:literal) => {
        concat!("(local.set $at (call $charge (i32.const 0))) ", $change, " (return (call $decided (i32.const 1)))")
    };
}

/// A charge on a key of these bytes, given as the text of a data segment.
macro_rules! on_key {
    ($text:literal, $bytes:literal) => {
        Form::Text(Guest {
            module: concat!("(data (i32.const 2400) \"", $text, "\")"),
            evil: concat!(
                "(i32.store offset=48 (local.tee $at (call $charge (i32.const 0))) (i32.const 2400))
                 (i32.store offset=52 (local.get $at) (i32.const ",
                $bytes,
                ")) (return (call $decided (i32.const 1)))"
            ),
            ..ROOMY
        })
    };
}

/// Those that charge what is not theirs, what cannot be, or too much of it.
pub const EVIL: &[Evil] = &[
    Evil::new(
        "charges-in-number",
        "a list of 10,000 charges",
        Form::Text(Guest { evil: "(return (call $decided (i32.const 10000)))", ..ROOMY }),
        Ends::Fault(Budget),
    ),
    Evil::new(
        "charges-nine",
        "one charge more than a decision may make",
        does(
            "(loop $next (drop (call $charge (local.get $at)))
               (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 9))))
             (return (call $decided (i32.const 9)))",
        ),
        Ends::Fault(Budget),
    ),
    Evil::new(
        "charges-over-and-over",
        "one call more than a decision may make",
        does(
            "(loop $next (call $charge-all (i32.const 4096) (i32.const 0) (i32.const 1152))
               (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 8))))
             (return (call $decided (i32.const 0)))",
        ),
        Ends::Fault(Budget),
    ),
    Evil::new(
        "charges-against-nothing",
        "a limit of 0",
        does(charges!("(i64.store offset=24 (local.get $at) (i64.const 0))")),
        Ends::Fault(Nonsense),
    ),
    Evil::new(
        "charges-in-no-time",
        "a window of 0",
        does(charges!("(i64.store offset=32 (local.get $at) (i64.const 0))")),
        Ends::Fault(Nonsense),
    ),
    Evil::new(
        "charges-everything",
        "a cost of 2^64 - 1: refused, and nothing is taken",
        does(charges!("(i64.store offset=56 (local.get $at) (i64.const -1))")),
        Ends::Decides(Verdict::Deny),
    ),
    Evil::new("charges-nobody", "an empty key: one like any other", on_key!("", "0"), Ends::Decides(Verdict::Allow)),
    Evil::new(
        "steers",
        "a key that looks like a neighbour's whole key: it stays within its own",
        on_key!("{neighbour}:tiered:hits:f:*", "27"),
        Ends::Decides(Verdict::Allow),
    ),
    Evil::new("breaks-lines", "a key with CR, LF and NUL", on_key!("a\\0d\\0a\\00b", "5"), Ends::Fault(Nonsense)),
    Evil::new("keys-no-text", "a key that is not UTF-8", on_key!("\\fc\\fd\\fe\\ff", "4"), Ends::Fault(Trap)),
    Evil::new("keys-a-megabyte", "a key of 1 MB", on_key!("a", "1048576"), Ends::Fault(Budget)),
    Evil::new("keys-outside", "a key that ends outside of its memory", on_key!("a", "16777216"), Ends::Fault(Trap)),
    Evil::new(
        "names-a-limit-in-braces",
        "a limit whose name is `{*}`",
        does(charges!(
            "(i32.store (i32.const 3000) (i32.const 0x7d2a7b)) (i32.store (local.get $at) (i32.const 3000))
             (i32.store offset=4 (local.get $at) (i32.const 3))"
        )),
        Ends::Fault(Nonsense),
    ),
    Evil::new(
        "counts-by-its-own",
        "an algorithm that does not exist",
        does(charges!("(i32.store8 offset=8 (local.get $at) (i32.const 77))")),
        Ends::Fault(Trap),
    ),
    Evil::new(
        "holds-the-fiber",
        "asks a store that hangs eight times in a row",
        does(
            "(loop $again (drop (call $charge (i32.const 0))) (drop (call $decided (i32.const 1)))
               (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 8))))
             (return (i32.const 1024))",
        ),
        Ends::Waits,
    ),
];
