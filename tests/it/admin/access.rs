//! Who may do what, and how often.

use std::collections::BTreeMap;

use super::*;

/// Every operation, and the scope that it wants.
const OPERATIONS: [(&str, &str, &str); 30] = [
    ("GET", "/admin/v1/openapi.json", "read"),
    ("GET", "/admin/v1/policies", "read"),
    ("GET", "/admin/v1/policies/{digest}", "read"),
    ("GET", "/admin/v1/policies/{digest}/component", "read"),
    ("GET", "/admin/v1/roster", "read"),
    ("GET", "/admin/v1/roster/revisions", "read"),
    ("GET", "/admin/v1/roster/revisions/{revision}", "read"),
    ("GET", "/admin/v1/roster/diff", "read"),
    ("GET", "/admin/v1/tiers", "read"),
    ("GET", "/admin/v1/tenants", "read"),
    ("GET", "/admin/v1/fleet", "read"),
    ("GET", "/admin/v1/shadows", "read"),
    ("GET", "/admin/v1/decisions", "read"),
    ("POST", "/admin/v1/explain", "read"),
    ("POST", "/admin/v1/roster/revisions", "operate"),
    ("POST", "/admin/v1/roster/activate", "operate"),
    ("POST", "/admin/v1/roster/rollback", "operate"),
    ("PUT", "/admin/v1/tiers/{tier}", "operate"),
    ("PUT", "/admin/v1/tenants/{tenant}", "operate"),
    ("DELETE", "/admin/v1/tenants/{tenant}", "operate"),
    ("POST", "/admin/v1/keys/invalidate", "operate"),
    ("GET", "/admin/v1/blocks", "read"),
    ("PUT", "/admin/v1/blocks", "operate"),
    ("DELETE", "/admin/v1/blocks", "operate"),
    ("POST", "/admin/v1/policies", "admin"),
    ("DELETE", "/admin/v1/policies/{digest}", "admin"),
    ("PUT", "/admin/v1/policies/{digest}/cases", "admin"),
    ("POST", "/admin/v1/policies/{digest}/signatures", "admin"),
    ("GET", "/admin/v1/audit", "admin"),
    ("GET", "/admin/v1/metrics", "read"),
];

/// Every operation of the document, with the scope that it says.
fn documented(document: &Value) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let scope = operation["security"][0]["token"][0].as_str().unwrap().to_owned();
            found.insert((method.to_uppercase(), path.clone()), scope);
        }
    }
    found
}

fn sample(path: &str) -> String {
    let filled = path.trim_start_matches("/admin/v1/").replace("{digest}", &"0".repeat(64)).replace("{revision}", "99");
    filled.replace("{tier}", "free").replace("{tenant}", "nobody")
}

#[tokio::test]
async fn every_operation_of_the_document_wants_a_token_of_its_scope() -> Result<()> {
    let admin = Admin::start([])?;
    let document = admin.get("openapi.json").await?;
    assert_eq!(document["openapi"], "3.1.0");
    let expected: BTreeMap<_, _> = OPERATIONS
        .into_iter()
        .map(|(method, path, scope)| ((method.to_owned(), path.to_owned()), scope.to_owned()))
        .collect();
    assert_eq!(documented(&document), expected);
    let mut refused = 0;
    for (method, path, scope) in OPERATIONS {
        let place = sample(path);
        let none = admin.ask("", method, &place, &Value::Null).await?;
        assert_eq!(none.status, 401, "{method} {path}: {}", none.body);
        assert_eq!(none.headers["www-authenticate"], "Bearer");
        assert_eq!(none.headers["content-type"], "application/problem+json");
        for (token, has) in [(RITA, "read"), (OSCAR, "operate"), (ADA, "admin")] {
            let may =
                ["read", "operate", "admin"].iter().skip_while(|other| **other != scope).any(|other| *other == has);
            if may {
                // A tail has no end; that it begins is in its own test.
                let status = if path.ends_with("/decisions") {
                    200
                } else {
                    admin.ask(token, method, &place, &Value::Null).await?.status
                };
                assert!(status != 401 && status != 403, "{method} {path} with {has}: {status}");
            } else {
                refused += 1;
                let reply = admin.ask(token, method, &place, &Value::Null).await?;
                assert_eq!(reply.status, 403, "{method} {path} with {has}: {}", reply.body);
                assert!(reply.body["detail"].as_str().unwrap().contains(&format!("wants `{scope}`")), "{}", reply.body);
            }
        }
    }
    let audit = admin.ask(ADA, "GET", "audit?count=1000", &Value::Null).await?.body;
    let lines: Vec<&Value> = audit
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["result"].as_str().unwrap().contains("has the scope"))
        .collect();
    assert_eq!(lines.len(), refused, "a line for each that was refused");
    let push = lines.iter().find(|line| line["action"] == "policy.push").unwrap();
    assert_eq!((push["by"].as_str(), push["what"].as_str()), (Some("rita"), Some("/admin/v1/policies")));
    Ok(())
}

#[test]
fn the_handbook_lists_every_route() {
    let page = include_str!("../../../docs/admin.md");
    for (method, path, scope) in OPERATIONS {
        let route = format!("`{method} {}", path.trim_start_matches("/admin/v1"));
        // A query may follow.
        let ends = |row: &&str| row.contains(&format!("{route}`")) || row.contains(&format!("{route}?"));
        let row = page.lines().find(ends).unwrap_or_else(|| panic!("docs/admin.md does not tell of {route}"));
        assert!(!row.starts_with('|') || row.contains(&format!("| {scope} |")), "{row}");
    }
}

#[tokio::test]
async fn the_public_listener_has_no_admin_route() -> Result<()> {
    let admin = Admin::start([])?;
    for (method, path, _) in OPERATIONS {
        let url = format!("{}/admin/v1/{}", admin.server.url, sample(path));
        let asked = admin.client.request(Method::from_bytes(method.as_bytes())?, url).bearer_auth(ADA).send().await?;
        assert_eq!(asked.status().as_u16(), 404, "{method} {path}");
    }
    let other = admin.client.post(format!("{}/v1/check", admin.url)).body("{}").send().await?;
    assert_eq!(other.status().as_u16(), 404, "and the admin listener decides nothing");
    Ok(())
}

#[tokio::test]
async fn wrong_tokens_are_counted_by_address_and_calls_by_token() -> Result<()> {
    let admin = Admin::start([])?;
    let mut wrong = 0;
    let refused = loop {
        let reply = admin.ask("guess", "GET", "tiers", &Value::Null).await?;
        if reply.status != 401 {
            break reply;
        }
        wrong += 1;
    };
    // Ten, and what is free again after a while on a busy machine.
    assert!((10..20).contains(&wrong), "{wrong}");
    assert_eq!(refused.status, 429, "{}", refused.body);
    let wait: u64 = refused.headers["retry-after"].to_str()?.parse()?;
    assert!((1..=6).contains(&wait), "{wait}");
    let known = admin.ask(RITA, "GET", "tiers", &Value::Null).await?;
    assert_eq!(known.status, 200, "whoever has a token is not locked out");

    let calls: Vec<_> = (0..400)
        .map(|_| {
            let asked = admin.client.get(format!("{}/admin/v1/shadows", admin.url)).bearer_auth(OSCAR);
            tokio::spawn(async move { anyhow::Ok(asked.send().await?.status().as_u16()) })
        })
        .collect();
    let mut statuses = BTreeMap::new();
    for call in calls {
        *statuses.entry(call.await??).or_insert(0) += 1;
    }
    assert!(statuses[&200] >= 100 && statuses.contains_key(&429) && statuses.len() == 2, "{statuses:?}");
    Ok(())
}

#[tokio::test]
async fn whoever_is_refused_again_and_again_pushes_no_line_out_of_the_audit_log() -> Result<()> {
    let admin = Admin::start([])?;
    let mut refused = 0;
    while admin.ask(RITA, "POST", "roster/rollback", &Value::Null).await?.status == 403 {
        refused += 1;
    }
    assert!((30..40).contains(&refused), "{refused}");
    let audit = admin.ask(ADA, "GET", "audit?count=1000", &Value::Null).await?.body;
    assert_eq!(audit.as_array().map(Vec::len), Some(refused));
    Ok(())
}

#[tokio::test]
async fn no_token_is_logged() -> Result<()> {
    let admin = Admin::start([("LOG_LEVEL", "trace")])?;
    admin.get("fleet").await?;
    admin.ask("canary-7f3a", "GET", "fleet", &Value::Null).await?;
    admin.ask(RITA, "POST", "roster/rollback", &Value::Null).await?;
    admin.server.signal("TERM")?;
    let (status, output) = admin.server.wait()?;
    assert!(status.success() && output.contains("a token that is not known"), "{output}");
    assert!(!output.contains("7f3a"), "{output}");
    Ok(())
}

#[tokio::test]
async fn without_tokens_one_is_drawn_and_printed_once() -> Result<()> {
    let server = Server::start([("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"), ("LOG_LEVEL", "trace")])?;
    let url = server.admin_url()?;
    let token = loop {
        let output = server.output();
        if let Some((_, rest)) = output.split_once("TOLLGATE_ADMIN_TOKEN=").filter(|(_, rest)| rest.contains('\n')) {
            break rest.lines().next().unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    };
    let client = Client::new();
    for (token, status) in [(token.as_str(), 200), ("guess", 401)] {
        let asked = client.get(format!("{url}/admin/v1/audit")).bearer_auth(token).send().await?;
        assert_eq!(asked.status().as_u16(), status);
    }
    server.signal("TERM")?;
    let (_, output) = server.wait()?;
    let lines: Vec<&str> = output.lines().filter(|line| line.contains(&token)).collect();
    assert!(lines.iter().all(|line| line.starts_with("  ")), "it stands in the greeting alone: {lines:?}");
    Ok(())
}

#[tokio::test]
async fn tokens_may_stand_in_a_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tokens");
    std::fs::write(&file, "# who operates\nfay:read:token-of-fay\n\nada:admin:token-of-ada-7f3a\n")?;
    let variables = [("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"), ("TOLLGATE_ADMIN_TOKENS_FILE", file.to_str().unwrap())];
    let server = Server::start(variables)?;
    let url = server.admin_url()?;
    let asked = Client::new().get(format!("{url}/admin/v1/fleet")).bearer_auth("token-of-fay").send().await?;
    assert_eq!(asked.status().as_u16(), 200);
    let both = command(variables)?.env("TOLLGATE_ADMIN_TOKENS", TOKENS).args(["config", "check"]).output()?;
    assert_eq!(both.status.code(), Some(2));
    assert!(String::from_utf8(both.stderr)?.contains("unset one of the two"));
    Ok(())
}
