//! Guests that use up what they are given: time, stack, memory, the log, what they may keep.

use tollgate::PolicyFaultKind::{Memory, Stack, Time, Trap};
use tollgate::Verdict;

use super::{ASKS_AND_REMEMBERS, Ends, Evil, Form, GUEST, Guest, ROOMY, does};

/// Those that use up what they are given.
pub const EVIL: &[Evil] = &[
    Evil::new("spins", "an endless loop", does("(loop $again (br $again))"), Ends::Fault(Time)),
    Evil::new(
        "spins-in-bulk",
        "an endless loop of bulk instructions",
        Form::Text(Guest {
            evil: "(loop $again (memory.fill (i32.const 65536) (i32.const 1) (i32.const 2000000)) (br $again))",
            ..ROOMY
        }),
        Ends::Fault(Time),
    ),
    Evil::new(
        "spins-in-calls",
        "an endless flood of host calls",
        does("(loop $again (call $write (i32.const 0) (i32.const 0) (i32.const 0)) (br $again))"),
        Ends::Fault(Time),
    ),
    Evil::new(
        "spins-afterwards",
        "spins when it has answered",
        Form::Text(Guest {
            evil: "(global.set $spins (i32.const 1)) (return (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))",
            module: "(global $spins (mut i32) (i32.const 0))",
            after: "(if (global.get $spins) (then (loop $again (br $again))))",
            ..GUEST
        }),
        Ends::Fault(Time),
    ),
    Evil::new(
        "spins-when-given",
        "spins when the host hands over outcomes",
        Form::Text(Guest {
            evil: ASKS_AND_REMEMBERS,
            realloc: "(if (i32.load (i32.const 3000)) (then (loop $again (br $again))))",
            ..GUEST
        }),
        Ends::Fault(Time),
    ),
    Evil::new(
        "recurses",
        "endless recursion",
        Form::Text(Guest {
            evil: "(drop (call $recurse (i64.const 1)))",
            module: "(func $recurse (param i64) (result i64) (i64.add (call $recurse (local.get 0)) (i64.const 1)))",
            ..GUEST
        }),
        Ends::Fault(Stack),
    ),
    Evil::new(
        "hoards-memory",
        "takes memory page by page, and writes into each",
        does(
            "(loop $again (if (i32.ne (local.tee $at (memory.grow (i32.const 1))) (i32.const -1))
               (then (memory.fill (i32.shl (local.get $at) (i32.const 16)) (i32.const 1) (i32.const 65536)) (br $again))))
             (unreachable)",
        ),
        Ends::Fault(Memory),
    ),
    Evil::new(
        "hoards-at-once",
        "takes 4 GB at once, and writes into it",
        does("(drop (memory.grow (i32.const 65000))) (i32.store8 (i32.const 4194304) (i32.const 1))"),
        Ends::Fault(Memory),
    ),
    Evil::new(
        "hoards-tables",
        "takes table elements without end",
        Form::Text(Guest {
            evil: "(loop $again (br_if $again (i32.ne (table.grow $hoard (ref.null func) (i32.const 100)) (i32.const -1))))
                   (unreachable)",
            module: "(table $hoard 1 funcref)",
            ..GUEST
        }),
        Ends::Fault(Memory),
    ),
    Evil::new(
        "hoards-handles",
        "makes 65 resources",
        does(
            "(loop $next (drop (call $token (i32.const 1)))
               (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 65))))",
        ),
        Ends::Fault(Trap),
    ),
    Evil::new("traps", "traps always", does("(unreachable)"), Ends::Fault(Trap)),
    Evil::new(
        "traps-now-and-then",
        "traps every other time",
        does("(if (i32.eq (global.get $calls) (i32.const 2)) (then (unreachable)))"),
        Ends::EverySecond(Trap),
    ),
    Evil::new(
        "divides-by-zero",
        "asks for arithmetic that has no result",
        does("(drop (i32.div_u (i32.const 1) (i32.const 0)))"),
        Ends::Fault(Trap),
    ),
    Evil::new(
        "floods-the-log",
        "writes 200 lines, each with an escape of the terminal",
        does(
            "(i64.store (i32.const 3000) (i64.const 0x0a0d0a4a325b1b61))
             (loop $again (call $write (i32.const 2) (i32.const 3000) (i32.const 8))
               (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 200))))
             (return (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))",
        ),
        Ends::Decides(Verdict::Allow),
    ),
    Evil::new(
        "remembers",
        "denies where it finds what it kept of another tenant",
        Form::Text(Guest {
            evil: "(local.set $at (i32.load (i32.sub (i32.add (local.get $tenant) (local.get $tenant-bytes)) (i32.const 4))))
                   (if (i32.and (i32.ne (global.get $seen) (i32.const 0)) (i32.ne (global.get $seen) (local.get $at)))
                     (then (return (call $verdict (i32.const 2) (i32.const 0) (i32.const 0)))))
                   (global.set $seen (local.get $at))
                   (return (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))",
            module: "(global $seen (mut i32) (i32.const 0))",
            ..GUEST
        }),
        Ends::Decides(Verdict::Allow),
    ),
];
