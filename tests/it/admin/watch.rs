//! `tollgate serve --watch`: files in, decisions out.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
    let fresh = folder.join(format!("{name}.fresh"));
    fs::write(&fresh, bytes)?;
    Ok(fs::rename(fresh, folder.join(name))?)
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !done().await? {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_roster_and_the_policies_beside_it_are_reloaded_and_broken_ones_are_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let place = folder.path();
    let roster = |tier: Value| json!({ "tiers": { "gold": tier } }).to_string();
    write(place, "roster.json", roster(tiered("5/day")))?;
    let admin = Admin::start_with(&["--watch", place.to_str().unwrap()], [])?;
    until("the first roster holds", async || Ok(admin.get("roster").await?["revision"] == 1)).await?;
    assert_eq!(left(&admin.decide("acme", "gold").await?), 4);

    write(place, "mine.wasm", guest("mine"))?;
    write(place, "roster.json", roster(json!({ "policy": "mine.wasm" })))?;
    until("the file decides", async || Ok(admin.decide("acme", "gold").await?["policy"]["name"] == "mine")).await?;

    write(place, "mine.wasm", b"broken")?;
    until("that is told", async || Ok(admin.server.output().contains("nothing was reloaded"))).await?;
    assert_eq!(admin.decide("acme", "gold").await?["policy"]["name"], "mine");

    write(place, "mine.wasm", guest("better"))?;
    until("the new file decides", async || Ok(admin.decide("acme", "gold").await?["policy"]["name"] == "better"))
        .await?;
    Ok(())
}

#[tokio::test]
async fn without_a_roster_the_configuration_file_is_watched() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let place = folder.path();
    let text = |limit: &str| {
        format!("[tiers.gold]\npolicy = \"tiered\"\nconfig.limits = [{{ id = \"day\", limit = \"{limit}\" }}]\n")
    };
    write(place, "tollgate.toml", text("5/day"))?;
    let (config, watched) = (place.join("tollgate.toml"), place.to_str().unwrap());
    let admin = Admin::start_with(&["--watch", watched], [("TOLLGATE_CONFIG", config.to_str().unwrap())])?;
    assert_eq!(left(&admin.decide("acme", "gold").await?), 4);
    write(place, "tollgate.toml", text("50/day"))?;
    until("the new limit holds", async || {
        Ok(admin.get("tiers").await?["tiers"]["gold"]["config"]["limits"][0]["limit"] == "50/day")
    })
    .await?;
    assert_eq!(left(&admin.decide("acme", "gold").await?), 48, "what was used stays used");
    Ok(())
}
