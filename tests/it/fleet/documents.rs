//! Every place where documents are kept behaves alike.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tollgate::config::RedisTarget;
use tollgate::store::{DocumentDirectory, DocumentMemory, Documents, RedisDocuments};
use tollgate_tests::{RedisCluster, RedisServer, Setting};

use super::within;

const SOON: Duration = Duration::from_secs(5);

async fn redis(target: &RedisTarget) -> Result<RedisDocuments> {
    Ok(RedisDocuments::connect(target, "ratelimit", SOON).await?)
}

/// Two hosts share what `one` and `other` keep.
async fn keep_alike(one: &dyn Documents, other: &dyn Documents) -> Result<()> {
    assert_eq!(one.get("policies", "a").await?, None);
    assert_eq!(one.list("policies").await?, []);
    let binary: Vec<u8> = (0..=255).collect();
    one.put("policies", "a", &binary).await?;
    assert_eq!(other.get("policies", "a").await?.as_deref(), Some(&binary[..]));
    other.put("policies", "b", b"").await?;
    other.put("rosters", "a", b"another").await?;
    let listed = one.list("policies").await?;
    let told: Vec<_> = listed.iter().map(|document| (document.name.as_str(), document.bytes.as_slice())).collect();
    assert_eq!(told, [("a", &binary[..]), ("b", b"")]);
    assert!(listed.iter().all(|document| document.age < Duration::from_secs(60)), "{listed:?}");

    assert!(!one.replace("policies", "a", None, b"new").await?, "something is there");
    assert!(!one.replace("policies", "a", Some(b"other"), b"new").await?, "something else is there");
    assert!(!one.replace("policies", "c", Some(b""), b"new").await?, "nothing is there");
    assert!(!one.replace("policies", "b", None, b"new").await?, "what is empty is there");
    assert!(one.replace("policies", "b", Some(b""), b"new").await?);
    assert!(one.replace("policies", "a", Some(&binary), b"new").await?);
    assert!(other.replace("policies", "c", None, b"newer").await?);
    assert_eq!(one.get("policies", "c").await?.as_deref(), Some(&b"newer"[..]));
    one.remove("policies", "c").await?;
    one.remove("policies", "c").await?;
    assert_eq!(other.get("policies", "c").await?, None);

    for entry in 0..10_u8 {
        one.append("audit", &[b'0' + entry], 4).await?;
    }
    assert_eq!(other.tail("audit", 2).await?, [b"8", b"9"]);
    let kept = other.tail("audit", 100).await?.len();
    assert!((4..=6).contains(&kept), "{kept} of the last four, or a few more");
    for name in ["", ".hidden", "a/b", "../a", "a b", "a\n", &"a".repeat(129)] {
        let refused = one.put("policies", name, b"").await.expect_err(name).to_string();
        assert!(refused.contains("is no name of a document"), "{refused}");
        one.put(name, "a", b"").await.expect_err(name);
    }
    Ok(())
}

/// Of many who replace the same, one does.
async fn one_wins(documents: &Arc<dyn Documents>) -> Result<()> {
    let tries = (0..8_u8).map(|me| {
        let documents = Arc::clone(documents);
        tokio::spawn(async move { documents.replace("state", "active", None, &[me]).await })
    });
    let mut won = 0;
    for each in tries {
        won += u32::from(each.await??);
    }
    assert_eq!(won, 1);
    Ok(())
}

#[tokio::test]
async fn in_memory() -> Result<()> {
    let documents = Arc::new(DocumentMemory::default());
    keep_alike(&*documents, &*documents).await?;
    one_wins(&(documents as Arc<dyn Documents>)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_directory() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let open = || DocumentDirectory::open(folder.path().join("registry"));
    keep_alike(&open()?, &open()?).await?;
    one_wins(&(Arc::new(open()?) as Arc<dyn Documents>)).await?;
    let refused = DocumentDirectory::open("/proc/no").expect_err("nobody can write there").to_string();
    assert!(refused.contains("/proc/no") && refused.contains("give a directory to write to"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_redis() -> Result<()> {
    let server = RedisServer::start()?;
    let target = server.target();
    keep_alike(&redis(&target).await?, &redis(&target).await?).await?;
    one_wins(&(Arc::new(redis(&target).await?) as Arc<dyn Documents>)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_cluster() -> Result<()> {
    let cluster = RedisCluster::start(3, 0)?;
    let target = cluster.target();
    keep_alike(&redis(&target).await?, &redis(&target).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_heard_by_others_also_after_the_server_was_away() -> Result<()> {
    let mut server = RedisServer::start()?;
    let (one, other) = (redis(&server.target()).await?, redis(&server.target()).await?);
    let mut heard = other.changes();
    heard.borrow_and_update();
    one.announce().await?;
    tokio::time::timeout(SOON, heard.changed()).await??;
    server.kill()?;
    one.get("a", "a").await.expect_err("it is gone");
    server.restart()?;
    within(SOON, "it is opened again", async || one.put("a", "a", b"1").await.is_ok()).await;
    // Something may have been missed.
    tokio::time::timeout(SOON, heard.changed()).await??;
    within(SOON, "both are connected again", async || other.get("a", "a").await.is_ok()).await;
    heard.borrow_and_update();
    one.announce().await?;
    tokio::time::timeout(SOON, heard.changed()).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights_is_told_which() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let users = folder.path().join("users.acl");
    std::fs::write(
        &users,
        "user default on nopass ~ratelimit:* resetchannels -@all +@connection +eval +get +set +time +info\n",
    )?;
    let server = RedisServer::start_with(Setting { users: Some(users), ..Setting::default() })?;
    let told = match redis(&server.target()).await {
        Ok(documents) => documents.put("a", "a", b"").await.expect_err("it may not").to_string(),
        Err(error) => error.to_string(),
    };
    assert!(told.contains("grant the user `ACL SETUSER default ~ratelimit:* &* +eval +time +hget +hset"), "{told}");
    Ok(())
}
