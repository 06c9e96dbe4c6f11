//! Decisions for onlookers: what would be decided, and what is.

use std::sync::Arc;

use super::{Tollgate, Watching};
use crate::model::{Decision, Request};
use crate::store::Peeking;

impl Tollgate {
    /// What a request would be told now, and by which limits. Nothing is taken and nothing is held.
    ///
    /// Each charge is looked at as if it were the only one. None if no tier decides such a request.
    pub async fn explain(&self, request: &Request<'_>) -> Option<Decision> {
        let roster = self.0.roster.load_full();
        let tier = roster.tier_of(request)?.serving(request.tenant());
        let now = self.0.clock.now();
        let counted = self.0.subjects.within(request, now);
        let subject = self.subject(tier, &counted, now);
        let policy = tier.policy.over(Arc::new(Peeking::into(Arc::clone(&tier.store))));
        Some(self.concluded(&roster, tier, policy.decide(&subject).await))
    }

    /// Hears of every decision from now on.
    #[must_use]
    pub fn watch(&self) -> Watching {
        self.0.watchers.watch()
    }
}
