//! The gate under test over a store that is waited for.

use anyhow::{Result, bail};
use tollgate::{Request, Source, Tollgate};

use crate::load::Decide;

/// A gate over a store that is waited for.
pub struct Waiting(pub Tollgate);

impl Decide for Waiting {
    async fn decide(&self, subject: &str) -> Result<()> {
        let decision = self.0.decide(&Request::new("acme", subject)?).await;
        if decision.is_allowed() && decision.source == Source::Policy {
            return Ok(());
        }
        bail!("a decision that had to pass did not: {decision:?}")
    }
}

/// A gate that seldom waits, asked by tasks that let others run now and then, as a task does that answers on a socket.
pub struct Seldom(pub Waiting);

impl Decide for Seldom {
    async fn decide(&self, subject: &str) -> Result<()> {
        tokio::task::coop::consume_budget().await;
        self.0.decide(subject).await
    }
}
