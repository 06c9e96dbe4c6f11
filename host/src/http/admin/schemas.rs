//! What the OpenAPI document says of records that are made elsewhere. They are never filled: tests compare them with the records themselves.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use utoipa::{OpenApi, ToSchema};

use super::blocks::{BlockBody, BlockView};
use super::decisions::Explanation;
use super::diff::Difference;
use super::fleet::{FleetView, FlipView, FlipsView, InstanceView, ShadowView};
use super::keys::InvalidationBody;
use super::policies::{CasesBody, SignatureBody};
use super::roster::{ActivationBody, ActiveRoster, Proposal, RollbackBody};
use super::tenants::Tenants;
use super::tiers::Tiers;

/// Every schema of the document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tollgate admin API",
        description = "Policies, rosters, tiers, tenants and the fleet. Every route wants a bearer token; a token has the scope `read`, `operate` or `admin`.",
    ),
    components(schemas(
        ActivationBody,
        ActiveRoster,
        BlockBody,
        BlockView,
        Explanation,
        Difference,
        FleetView,
        FlipView,
        FlipsView,
        InvalidationBody,
        InstanceView,
        ShadowView,
        CasesBody,
        SignatureBody,
        Proposal,
        RollbackBody,
        Tenants,
        Tiers,
        Policy,
        GoldenCases,
        Revision,
        Activation,
        Instance,
        InstanceTier,
        AuditLine,
        Roster,
        Tier,
        Trial,
        Tenant,
        Decision,
        LimitState,
        Problem,
    ))
)]
pub(super) struct Schemas;

macro_rules! records {
    ($($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $field:ident: $kind:ty,)* })*) => {
        $($(#[$about])*
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "tells the document what a record looks like")]
        pub(super) struct $name { $($(#[$note])* $field: $kind,)* })*
    };
}

records! {
    /// A policy of the registry.
    Policy {
        /// The SHA-256 of the component.
        digest: String,
        /// The name it gives itself.
        name: String,
        /// The version it gives itself.
        version: String,
        /// Its size.
        bytes: u64,
        /// Who uploaded it.
        by: String,
        /// When.
        at: String,
        /// Its golden cases.
        cases: Option<GoldenCases>,
        /// Its signatures.
        signatures: Option<Vec<String>>,
    }
    /// The golden cases of a policy.
    GoldenCases {
        /// The configuration that they are for, a JSON text.
        config: String,
        /// The cases, as scenario files have them.
        text: String,
    }
    /// A roster that was proposed.
    Revision {
        /// Its number.
        revision: u64,
        /// Who proposed it.
        by: String,
        /// When.
        at: String,
        /// What for.
        note: String,
        /// The roster.
        roster: Roster,
    }
    /// Which revision is active.
    Activation {
        /// Grows with every activation.
        generation: u64,
        /// The revision.
        revision: u64,
        /// The revision that was active before.
        before: u64,
        /// Who activated it.
        by: String,
        /// When.
        at: String,
        /// What for.
        note: String,
        /// Whether the fleet went back by itself; left out if not.
        after_storm: bool,
    }
    /// What an instance runs, by its own word.
    Instance {
        /// Its name.
        instance: String,
        /// The version of the program.
        version: String,
        /// The generation that it runs.
        generation: u64,
        /// The revision that it runs.
        revision: u64,
        /// What each tier runs.
        tiers: Vec<InstanceTier>,
        /// Why it does not run what is active.
        error: Option<String>,
    }
    /// What a tier of an instance runs.
    InstanceTier {
        /// The tier.
        tier: String,
        /// The tenant, if it is one's own tier.
        tenant: Option<String>,
        /// Name and version of the policy.
        policy: String,
        /// Its digest.
        digest: String,
    }
    /// One line of the audit log.
    AuditLine {
        /// When.
        at: String,
        /// Who.
        by: String,
        /// What.
        action: String,
        /// On what.
        what: String,
        /// `done`, or why not.
        result: String,
    }
    /// Every tier and every tenant.
    Roster {
        /// The tiers, by name.
        tiers: BTreeMap<String, Tier>,
        /// The tenants, by name.
        tenants: Option<BTreeMap<String, Tenant>>,
        /// The tier of a tenant that is not listed.
        default_tier: Option<String>,
        /// What answers a request that no tier decides: `allow` or `deny`.
        on_missing_tier: Option<String>,
    }
    /// A tier.
    Tier {
        /// `sha256:` and the digest of a policy of the registry, or the name of one that comes with the host.
        policy: String,
        /// Its configuration: whatever the policy reads.
        #[schema(value_type = Option<Object>)]
        config: (),
        /// `allow`, `deny` or `local`, for all limits, or an object with one for each limit's id, `*` for the others.
        #[schema(value_type = Option<Object>)]
        on_store_fault: (),
        /// `exact` or `leased`, likewise.
        #[schema(value_type = Option<Object>)]
        precision: (),
        /// `keep`, `proportional`, `additive` or `reset`, likewise.
        #[schema(value_type = Option<Object>)]
        on_change: (),
        /// `allow` or `deny`.
        on_policy_fault: Option<String>,
        /// Another version on trial.
        trial: Option<Trial>,
    }
    /// Another version of a tier's policy on trial.
    Trial {
        /// As of a tier.
        policy: String,
        /// Its configuration; the tier's, if none is given.
        #[schema(value_type = Option<Object>)]
        config: (),
        /// For so many of a hundred tenants it decides, 1 to 99; without it, it is a shadow.
        canary_percent: Option<u8>,
    }
    /// A tenant.
    Tenant {
        /// Its tier, which exists.
        tier: String,
        /// What the tier is to be for this tenant alone.
        #[schema(value_type = Option<Tier>)]
        r#override: (),
    }
    /// A decision.
    Decision {
        /// Whether the request may pass, perhaps after a delay.
        allowed: bool,
        /// `allow`, `deny` or `delay`.
        verdict: String,
        /// Why, in the words of the policy.
        reason: String,
        /// Who gave the verdict: `policy`, or the rule for a fault.
        source: String,
        /// The fault, if there was one.
        fault: Option<String>,
        /// How long to wait before going on, if the verdict is `delay`.
        delay_ms: Option<u64>,
        /// Whose request it is.
        tenant: String,
        /// The tier that decided.
        tier: String,
        /// The generation of the roster.
        generation: u64,
        /// The policy that decided, with its digest.
        #[schema(value_type = Option<Object>)]
        policy: (),
        /// The limit that matters most.
        binding: Option<String>,
        /// When it is worth asking again.
        retry_after_ms: Option<u64>,
        /// Every limit that was charged.
        limits: Vec<LimitState>,
        /// What the policy adds.
        attributes: Option<BTreeMap<String, String>>,
    }
    /// A limit, and how it stands.
    LimitState {
        /// Its id.
        id: String,
        /// How it counts.
        algorithm: String,
        /// How much passes per window.
        max: u64,
        /// The window.
        window_ms: u64,
        /// How much a full bucket holds.
        burst: u64,
        /// How much was asked for.
        cost: u64,
        /// `enforce`, `shadow` or `peek`.
        mode: String,
        /// Whether it would let the request pass.
        allowed: bool,
        /// What is left.
        remaining: u64,
        /// When it is as if unused.
        reset_after_ms: u64,
        /// When as much is free as was asked for.
        retry_after_ms: Option<u64>,
    }
    /// What is wrong, as RFC 9457 has it.
    Problem {
        /// `about:blank`.
        r#type: String,
        /// The status in words.
        title: String,
        /// The status.
        status: u16,
        /// What is wrong, and the way out.
        detail: String,
        /// The field that it is about.
        field: Option<String>,
    }
}
