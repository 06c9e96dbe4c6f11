//! The operator's commands, against a real server.

use super::*;

fn said(ran: &Output) -> String {
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

#[test]
fn a_policy_goes_from_a_file_to_a_tier_and_back() -> Result<()> {
    let admin = Admin::start([])?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mine.wasm");
    std::fs::write(&file, guest("mine"))?;
    let pushed = admin.run_json(&["policy", "push", file.to_str().unwrap()])?;
    let digest = pushed["digest"].as_str().unwrap();
    assert_eq!((pushed["name"].as_str(), pushed["by"].as_str()), (Some("mine"), Some("ada")));
    assert_eq!(admin.run_json(&["policy", "list"])?["policies"][0]["digest"], digest);

    let active = admin.run_json(&["policy", "activate", &digest[..8], "--tier", "free", "--note", "ticket 17"])?;
    assert_eq!((&active["generation"], &active["note"]), (&json!(2), &json!("ticket 17")));
    let explained = admin.run_json(&["explain", "acme", "alice", "--tier", "free"])?;
    assert_eq!(explained["policy"]["digest"], digest);
    let differences = admin.run_json(&["policy", "diff"])?;
    let paths: Vec<&str> =
        differences["differences"].as_array().unwrap().iter().map(|found| found["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/tiers/free/policy"], "the configuration stays unless another is given");

    let config = tiered("1/day")["config"].to_string();
    admin.run_json(&["policy", "shadow", "built-in:tiered", "--tier", "free", "--configuration", &config])?;
    assert_eq!(admin.run_json(&["fleet", "--shadows"])?["shadows"][0]["tier"], "free");
    admin.run_json(&["policy", "canary", "tiered", "--tier", "free", "--percent", "7", "--configuration", &config])?;
    let roster = admin.run_json(&["roster", "show"])?;
    assert_eq!(roster["roster"]["tiers"]["free"]["trial"]["canary_percent"], 7);
    admin.run_json(&["policy", "activate", "mine@1.0", "--tier", "free"])?;
    assert_eq!(admin.run_json(&["roster", "show"])?["roster"]["tiers"]["free"].get("trial"), None);
    assert_eq!(admin.run_json(&["policy", "rollback"])?["revision"], 3);
    Ok(())
}

#[test]
fn rosters_tenants_and_the_fleet_are_shown_and_changed() -> Result<()> {
    let admin = Admin::start([])?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("roster.json");
    // What is shown for people is what can be proposed.
    let shown = admin.run(RITA, &["roster", "show"])?;
    std::fs::write(&file, &shown.stdout)?;
    let proposed = admin.run_json(&["roster", "propose", file.to_str().unwrap(), "--note", "the same"])?;
    assert_eq!(proposed["revision"], 1, "{proposed}");
    assert_eq!(admin.run_json(&["roster", "activate", "1", "--expect", "1"])?["generation"], 2);
    assert_eq!(admin.run_json(&["roster", "history"])?["revisions"][0]["note"], "the same");

    admin.run_json(&["tenants", "set", "acme corp/é", "--tier", "pro", "--note", "has paid"])?;
    assert_eq!(admin.run_json(&["tenants", "list"])?["tenants"]["acme corp/é"]["tier"], "pro");
    assert_eq!(admin.run_json(&["explain", "acme corp/é", "alice"])?["tier"], "pro");
    admin.run_json(&["tenants", "remove", "acme corp/é"])?;
    let fleet = admin.run_json(&["fleet"])?;
    assert_eq!((&fleet["converged"], &fleet["generation"]), (&json!(true), &json!(4)), "{fleet}");
    let audit = admin.run_json(&["audit", "--count", "2"])?;
    assert_eq!(audit["lines"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[test]
fn people_get_tables_and_no_orders_for_their_terminal() -> Result<()> {
    let admin = Admin::start([])?;
    let listed = admin.run(RITA, &["tenants", "list"])?;
    let printed = String::from_utf8(listed.stdout)?;
    assert!(printed.starts_with("TENANT        TIER   OF ITS OWN\ntenant-basic  basic  -\n"), "{printed}");
    let note = "\u{1b}[31mred";
    admin.run_json(&["tenants", "set", "acme", "--tier", "pro", "--note", note])?;
    let history = String::from_utf8(admin.run(RITA, &["roster", "history"])?.stdout)?;
    assert!(
        history.contains("1 (active)") && history.contains("\\u{1b}[31mred") && !history.contains('\u{1b}'),
        "{history}"
    );
    Ok(())
}

#[test]
fn what_goes_wrong_names_the_way_out_and_has_the_status_2() -> Result<()> {
    let admin = Admin::start([])?;
    let dead = format!("http://127.0.0.1:{}", tollgate_tests::free_port()?);
    let cases: [(&str, &[&str], &str); 8] = [
        (RITA, &["fleet", "--admin", &dead], "is `tollgate serve` running there, with an admin API?"),
        ("", &["fleet"], "no token: set TOLLGATE_ADMIN_TOKEN"),
        ("guess", &["fleet"], "TOLLGATE_ADMIN_TOKEN or --token-file gives the token"),
        (RITA, &["policy", "rollback"], "has the scope `read`, and this wants `operate`"),
        (ADA, &["policy", "rollback"], "nothing was ever activated"),
        (ADA, &["policy", "activate", "nowhere", "--tier", "free"], "`tollgate policy list` shows those there are"),
        (ADA, &["policy", "push", "nowhere.wasm"], "failed to read nowhere.wasm"),
        (ADA, &["tenants", "set", "acme", "--tier", "gold"], "gold"),
    ];
    for (token, words, told) in cases {
        let ran = admin.run(token, &[words, &["--json"]].concat())?;
        assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(2), &b""[..]), "{words:?}: {}", said(&ran));
        assert!(said(&ran).contains(told), "{words:?}: {}", said(&ran));
        assert!(!said(&ran).contains("7f3a"), "{words:?}: {}", said(&ran));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_prints_a_decision_a_line() -> Result<()> {
    use std::io::{BufRead as _, BufReader};
    let admin = Admin::start([])?;
    let variables = [("TOLLGATE_ADMIN_URL", admin.url.as_str()), ("TOLLGATE_ADMIN_TOKEN", RITA)];
    let mut tail = command(variables)?
        .args(["tail", "--tenant", "acme"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    // It says so once it watches.
    let mut told = String::new();
    BufReader::new(tail.stderr.take().context("it is a pipe")?).read_line(&mut told)?;
    assert!(told.contains("Ctrl-C"), "{told}");
    admin.decide("globex", "free").await?;
    admin.decide("acme", "free").await?;
    let mut line = String::new();
    BufReader::new(tail.stdout.take().context("it is a pipe")?).read_line(&mut line)?;
    assert!(line.contains(" allow acme alice free@") && line.contains("second=9 day=999"), "{line}");
    tail.kill()?;
    tail.wait()?;
    Ok(())
}
