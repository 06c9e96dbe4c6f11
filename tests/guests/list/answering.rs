//! Guests that answer what cannot be, or more than is taken.

use tollgate::PolicyFaultKind::{Budget, Error, Nonsense, Trap};

use super::{ASKS_AND_REMEMBERS, Ends, Evil, Form, GUEST, Guest, ROOMY, does};

/// Those that answer what cannot be, or more than is taken.
pub const EVIL: &[Evil] = &[
    Evil::new(
        "answers-a-megabyte",
        "a reason of 1 MB",
        Form::Text(Guest {
            evil: "(return (call $verdict (i32.const 0) (i32.const 65536) (i32.const 1048576)))",
            ..ROOMY
        }),
        Ends::Fault(Budget),
    ),
    Evil::new(
        "answers-200-megabytes",
        "a reason of 200 MB, more than it has",
        Form::Text(Guest {
            evil: "(return (call $verdict (i32.const 0) (i32.const 65536) (i32.const 209715200)))",
            ..ROOMY
        }),
        Ends::Fault(Trap),
    ),
    Evil::new(
        "answers-aliases",
        "8,000 attributes that are the same bytes",
        // 8,000 times the pair at 65536, whose name and value are the same 256 bytes.
        Form::Text(Guest {
            evil: "(loop $next
                     (i32.store (i32.add (i32.const 65536) (local.get $at)) (i32.const 1048576))
                     (i32.store offset=4 (i32.add (i32.const 65536) (local.get $at)) (i32.const 256))
                     (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 128000))))
                   (drop (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))
                   (i32.store (i32.const 1056) (i32.const 65536))
                   (i32.store (i32.const 1060) (i32.const 8000))
                   (return (i32.const 1024))",
            ..ROOMY
        }),
        Ends::Fault(Budget),
    ),
    Evil::new(
        "reasons-at-length",
        "a reason of 600 bytes",
        does("(return (call $verdict (i32.const 0) (i32.const 8192) (i32.const 600)))"),
        Ends::Fault(Nonsense),
    ),
    Evil::new(
        "attributes-in-number",
        "17 attributes",
        does(
            "(drop (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))
             (memory.fill (i32.const 8192) (i32.const 0) (i32.const 272))
             (i32.store (i32.const 1056) (i32.const 8192)) (i32.store (i32.const 1060) (i32.const 17)) (return (i32.const 1024))",
        ),
        Ends::Fault(Nonsense),
    ),
    Evil::new(
        "attributes-at-length",
        "an attribute of 257 bytes",
        does(
            "(drop (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))
             (memory.fill (i32.const 8192) (i32.const 0) (i32.const 16)) (i32.store (i32.const 8204) (i32.const 257))
             (i32.store (i32.const 1056) (i32.const 8192)) (i32.store (i32.const 1060) (i32.const 1)) (return (i32.const 1024))",
        ),
        Ends::Fault(Nonsense),
    ),
    Evil::new(
        "rules-of-the-future",
        "a verdict that only a later version could know",
        does(
            "(drop (call $verdict (i32.const 3) (i32.const 0) (i32.const 0)))
             (i32.store (i32.const 1040) (i32.const 2307)) (i32.store (i32.const 1044) (i32.const 5)) (return (i32.const 1024))",
        ),
        Ends::Fault(Nonsense),
    ),
    Evil::new(
        "delays-for-ages",
        "a delay of 2^63 milliseconds",
        does(
            "(drop (call $verdict (i32.const 1) (i32.const 0) (i32.const 0)))
             (i64.store (i32.const 1040) (i64.const 0x8000000000000000)) (return (i32.const 1024))",
        ),
        Ends::Fault(Nonsense),
    ),
    Evil::new(
        "rules-of-no-version",
        "a verdict that does not exist",
        does("(return (call $verdict (i32.const 9) (i32.const 0) (i32.const 0)))"),
        Ends::Fault(Trap),
    ),
    Evil::new(
        "answers-no-text",
        "a reason that is not UTF-8",
        does(
            "(i32.store (i32.const 3000) (i32.const 0xfffefdfc))
             (return (call $verdict (i32.const 0) (i32.const 3000) (i32.const 4)))",
        ),
        Ends::Fault(Trap),
    ),
    Evil::new(
        "points-outside",
        "a reason that ends outside of its memory",
        does("(return (call $verdict (i32.const 0) (i32.const 65530) (i32.const 100)))"),
        Ends::Fault(Trap),
    ),
    Evil::new(
        "answers-from-outside",
        "an answer that lies outside of its memory",
        does("(return (i32.const -8))"),
        Ends::Fault(Trap),
    ),
    Evil::new("answers-askew", "an answer that is not aligned", does("(return (i32.const 1025))"), Ends::Fault(Trap)),
    Evil::new(
        "takes-elsewhere",
        "room for outcomes outside of its memory",
        Form::Text(Guest {
            evil: ASKS_AND_REMEMBERS,
            realloc: "(if (i32.load (i32.const 3000)) (then (return (i32.const 0x7ffffff0))))",
            ..GUEST
        }),
        Ends::Fault(Trap),
    ),
    Evil::new(
        "gives-up",
        "an error instead of a decision",
        does("(return (call $fail (i32.const 2307) (i32.const 5)))"),
        Ends::Fault(Error),
    ),
];
