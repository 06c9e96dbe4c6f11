//! Guests of a few lines: an honest policy in text, with gaps for what is wrong with it.

use tollgate::{OnFault, TierPlan};

const TEXT: &str = include_str!("../../guests/policy.wat");

/// A policy, as what differs from an honest one. The text is in `tests/guests/policy.wat`.
#[derive(Clone, Copy)]
pub(super) struct Guest<'a> {
    /// How it describes itself.
    pub(super) name: &'a str,
    /// The first and the largest size of its memory, in pages of 64 KiB.
    pub(super) pages: &'a str,
    /// What it does when it is asked about a request with a route, before it decides honestly.
    pub(super) evil: &'a str,
    /// What it does first when it describes itself.
    pub(super) describe: &'a str,
    /// What it does first when it is configured; `$text` and `$bytes` are the configuration.
    pub(super) configure: &'a str,
    /// What it does first when the host asks it for memory.
    pub(super) realloc: &'a str,
    /// What it does when the host has read its decision.
    pub(super) after: &'a str,
    /// More fields of its core module.
    pub(super) module: &'a str,
    /// More definitions of its component.
    pub(super) component: &'a str,
}

impl Guest<'_> {
    pub(super) const HONEST: Guest<'static> = Guest {
        name: "honest",
        pages: "1",
        evil: "",
        describe: "",
        configure: "",
        realloc: "",
        after: "",
        module: "",
        component: "",
    };

    /// Its text, with every gap filled.
    pub(super) fn text(&self) -> String {
        let gaps = [
            ("{name}", self.name),
            ("{name-bytes}", &self.name.len().to_string()),
            ("{pages}", self.pages),
            ("{evil}", self.evil),
            ("{describe}", self.describe),
            ("{configure}", self.configure),
            ("{realloc}", self.realloc),
            ("{after}", self.after),
            ("{module}", self.module),
            ("{component}", self.component),
        ];
        gaps.iter().fold(TEXT.to_owned(), |text, (gap, filling)| text.replace(gap, filling))
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        assemble(&self.text())
    }

    /// A tier that it decides, with this rule for its faults.
    pub(super) fn tier(&self, on_policy_fault: OnFault) -> TierPlan {
        TierPlan { on_policy_fault, ..TierPlan::component(self.name, self.bytes(), "{}") }
    }
}

/// The bytes of a component in text.
pub(super) fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}
