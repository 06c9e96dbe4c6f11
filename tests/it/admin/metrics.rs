//! What an instance measured.

use super::*;

/// The value of the sample whose name and labels these are parts of.
fn sample(text: &str, parts: &[&str]) -> Option<f64> {
    let line = text.lines().find(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn decisions_are_counted_by_tier_verdict_and_source() -> Result<()> {
    let admin = Admin::start([])?;
    admin.done("PUT", "tiers/gold", &tiered("10/day")).await?;
    for _ in 0..12 {
        admin.decide("acme", "gold").await?;
    }
    let text = String::from_utf8(admin.ask(RITA, "GET", "metrics", &Value::Null).await?.bytes)?;
    let decisions =
        |verdict: &str| sample(&text, &["tollgate_decisions_total{", "tier=\"gold\"", verdict, "source=\"policy\""]);
    assert_eq!(decisions("verdict=\"allow\""), Some(10.0), "{text}");
    assert_eq!(decisions("verdict=\"deny\""), Some(2.0), "{text}");
    assert_eq!(sample(&text, &["tollgate_generation "]), Some(2.0), "{text}");
    assert!(text.contains("# TYPE tollgate_decisions_total counter"), "{text}");
    assert!(!text.contains("acme") && !text.contains("alice"), "nobody is named: {text}");
    Ok(())
}
