//! A flood of subjects makes no flood of counters.

use std::num::NonZeroUsize;

use anyhow::Result;
use tollgate::{Request, TierPlan, Tollgate};

#[tokio::test]
async fn new_subjects_beyond_the_budget_share_one_counter() -> Result<()> {
    let gate = Tollgate::builder()
        .tier("free", TierPlan::built_in("tiered", r#"{"limits": [{"id": "day", "limit": "2/day"}]}"#))
        .default_tier("free")
        .subjects_per_tenant(NonZeroUsize::new(2).expect("it is not zero"))
        .build()
        .await?;
    let allowed = async |tenant: &str, subject: &str| -> Result<bool> {
        Ok(gate.decide(&Request::new(tenant, subject)?).await.is_allowed())
    };
    assert!(allowed("acme", "alice").await? && allowed("acme", "bob").await?);
    assert!(allowed("acme", "new-1").await? && allowed("acme", "new-2").await?);
    assert!(!allowed("acme", "new-3").await?, "all that are new have two together");
    assert!(allowed("acme", "alice").await?, "who is known has two alone");
    assert!(!allowed("acme", "alice").await?);
    assert!(allowed("globex", "new-3").await?, "another tenant has a budget of its own");
    Ok(())
}
