//! Guests of a few lines: an honest policy in text, with gaps for what is wrong with it.

use tollgate::{OnFault, TierPlan};

const TEXT: &str = include_str!("../policy.wat");

/// A policy, as what differs from an honest one. The text is in `tests/guests/policy.wat`.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// How it describes itself.
    pub name: &'a str,
    /// The first and the largest size of its memory, in pages of 64 KiB.
    pub pages: &'a str,
    /// What it does when it is asked about a request with a route, before it decides honestly.
    pub evil: &'a str,
    /// What it does first when it describes itself.
    pub describe: &'a str,
    /// What it does first when it is configured; `$text` and `$bytes` are the configuration.
    pub configure: &'a str,
    /// What it does first when the host asks it for memory.
    pub realloc: &'a str,
    /// What it does when the host has read its decision.
    pub after: &'a str,
    /// More fields of its core module.
    pub module: &'a str,
    /// More definitions of its component.
    pub component: &'a str,
}

impl Guest<'_> {
    /// What the others differ from.
    pub const HONEST: Guest<'static> = Guest {
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
    #[must_use]
    pub fn text(&self) -> String {
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
    ///
    /// # Panics
    ///
    /// Panics if its text is none.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        assemble(&self.text())
    }

    /// A tier that it decides, with this rule for its faults.
    ///
    /// # Panics
    ///
    /// Panics if its text is none.
    #[must_use]
    pub fn tier(&self, on_policy_fault: OnFault) -> TierPlan {
        TierPlan { on_policy_fault, ..TierPlan::component(self.name, self.bytes(), "{}") }
    }
}

/// The bytes of a component in text.
///
/// # Panics
///
/// Panics if the text is none, and says where.
#[must_use]
pub fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}
