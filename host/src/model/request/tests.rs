use super::*;

/// What a table says of a value: none if it is accepted, otherwise a part of the problem.
type Verdict = Option<&'static str>;

fn check(field: &'static str, made: Result<Request<'_>, FieldError>, expected: Verdict, value: &str) {
    match (made, expected) {
        (Ok(_), None) => {}
        (Err(error), Some(problem)) => {
            assert_eq!(error.field, field, "{value:?}");
            assert!(error.problem.contains(problem), "{value:?}: {error}");
        }
        (made, expected) => panic!("{field} {value:?}: expected {expected:?}, got {made:?}"),
    }
}

/// A field with its bounds, in bytes, and how to give it.
fn check_bounds(
    field: &'static str,
    (min, max): (usize, usize),
    give: impl for<'t> Fn(&'t str) -> Result<Request<'t>, FieldError>,
) {
    let too_long = Some("bytes; give at most");
    let empty = if min == 0 { None } else { Some("is empty; give 1 to") };
    let control = Some("holds a control character at byte 1; give printable text");
    let (longest, longer, wide) = ("x".repeat(max), "x".repeat(max + 1), "é".repeat(max / 2 + 1));
    for (value, expected) in [
        ("", empty),
        ("x", None),
        (" a b ", None),
        ("a:b*?[é]", None),
        (&longest, None),
        (&longer, too_long),
        // Bytes count, not characters.
        (&wide, too_long),
        ("a\0", control),
        ("a\nb", control),
        ("a\r", control),
        ("a\x1b[31m", control),
        ("a\x7f", control),
        ("a\u{85}", control),
    ] {
        check(field, give(value), expected, value);
    }
}

fn request<'a>() -> Request<'a> {
    Request::new("acme", "alice").unwrap()
}

#[test]
fn every_text_is_held_to_its_bounds() {
    check_bounds("tenant", (1, 64), |text| Request::new(text, "alice"));
    check_bounds("subject", (1, 128), |text| Request::new("acme", text));
    check_bounds("route", (0, 256), |text| request().with_route(text));
}

#[test]
fn braces_mark_the_tenant_so_it_holds_none() {
    for tenant in ["{", "}", "a{b}c"] {
        let brace = Some("holds a brace; braces mark the tenant in keys");
        check("tenant", Request::new(tenant, "alice"), brace, tenant);
    }
    check("subject", Request::new("acme", "{alice}"), None, "{alice}");
}

#[test]
fn a_tier_is_a_name() {
    let (longest, longer) = ("x".repeat(64), "x".repeat(65));
    let wrong = Some("is not 1 to 64 of A-Z a-z 0-9 . _ -");
    for (tier, expected) in [
        ("Pro-2_b.c", None),
        (&*longest, None),
        (&longer, wrong),
        ("", wrong),
        ("a b", wrong),
        ("a:b", wrong),
        ("é", wrong),
        ("a\n", wrong),
    ] {
        check("tier", request().with_tier(tier), expected, tier);
    }
}

#[test]
fn a_cost_is_one_to_a_billion() {
    let wrong = Some("; give 1 to 1000000000");
    for (cost, expected) in [(0, wrong), (1, None), (1_000_000_000, None), (1_000_000_001, wrong), (u64::MAX, wrong)] {
        check("cost", request().with_cost(cost), expected, &cost.to_string());
    }
}

#[test]
fn attributes_are_few_and_short() {
    for (count, expected) in [(0, None), (16, None), (17, Some("has 17 entries; give at most 16"))] {
        let attributes = vec![("name", "value"); count];
        check("attributes", request().with_attributes(&attributes), expected, &count.to_string());
    }
    // A request that borrows its attributes cannot be returned: only its fate is.
    let give = |name: &str, value: &str| request().with_attributes(&[(name, value)]).map(|_| request());
    check_bounds("attributes", (1, 64), |name| give(name, "value"));
    check_bounds("attributes", (0, 256), |value| give("name", value));
}

#[test]
fn a_problem_never_repeats_the_value() {
    let canary = format!("canary{}", "x".repeat(300));
    for made in [
        Request::new(&canary, "alice"),
        Request::new("acme", &canary),
        Request::new("canary\n", "alice"),
        Request::new("{canary}", "alice"),
        request().with_tier(&canary),
        request().with_route(&canary),
    ] {
        let error = Error::from(made.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Request);
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}
