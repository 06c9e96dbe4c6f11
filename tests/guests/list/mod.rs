//! The evil guests: each wrongs the host in one way, and each is contained in a known one.
//!
//! One list for all who try them: the test that asks each once over each kind of store, and `tests/run-guests`, which asks them under load
//! beside a neighbour.

mod answering;
mod charging;
mod guest;
mod loading;
mod running;

use tollgate::{OnFault, PolicyFaultKind, TierPlan, Verdict};

pub use answering::EVIL as ANSWERING;
pub use charging::EVIL as CHARGING;
pub use guest::{Guest, assemble};
pub use loading::{EVIL as LOADING, honest_by_another_name};
pub use running::EVIL as RUNNING;

/// A guest that means harm.
#[derive(Clone, Copy, Debug)]
pub struct Evil {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What it is made of.
    pub form: Form,
    /// How it ends.
    pub ends: Ends,
}

/// What a guest is made of.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// An honest policy with something wrong in it.
    Text(Guest<'static>),
    /// These bytes.
    Bytes(fn() -> Vec<u8>),
}

/// How a guest ends.
#[derive(Clone, Copy, Debug)]
pub enum Ends {
    /// It is refused when it is loaded, with one of these texts: a machine without a pool of instances refuses a few things later.
    Refused(&'static [&'static str]),
    /// It is refused when it is loaded, or takes its time and works.
    Loads,
    /// Each decision is answered by the rule, for this kind of fault.
    Fault(PolicyFaultKind),
    /// Every second decision is.
    EverySecond(PolicyFaultKind),
    /// It decides this, and its evil comes to nothing.
    Decides(Verdict),
    /// Over a store that does not answer, the rule for the store does.
    Waits,
}

impl Evil {
    const fn new(name: &'static str, does: &'static str, form: Form, ends: Ends) -> Self {
        Self { name, does, form, ends }
    }

    /// The bytes of its component, if it is one.
    ///
    /// # Panics
    ///
    /// Panics if its text is none.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self.form {
            Form::Text(guest) => guest.bytes(),
            Form::Bytes(bytes) => bytes(),
        }
    }

    /// A tier that it is to decide, with this rule for its faults.
    ///
    /// # Panics
    ///
    /// Panics if its text is none.
    #[must_use]
    pub fn tier(&self, on_policy_fault: OnFault) -> TierPlan {
        TierPlan { on_policy_fault, ..TierPlan::component(self.name, self.bytes(), "{}") }
    }

    /// Whether it is loaded, and asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !matches!(self.ends, Ends::Refused(_) | Ends::Loads)
    }
}

/// All of them.
pub fn evil() -> impl Iterator<Item = &'static Evil> {
    [RUNNING, ANSWERING, CHARGING, LOADING].into_iter().flatten()
}

/// The one of this name.
///
/// # Panics
///
/// Panics if there is none.
#[must_use]
pub fn named(name: &str) -> &'static Evil {
    evil().find(|evil| evil.name == name).unwrap_or_else(|| panic!("no evil guest is called `{name}`"))
}

/// With room for more than may be copied.
const ROOMY: Guest<'static> = Guest { pages: "32", ..GUEST };
/// Called `evil`, and honest but for what is said besides.
const GUEST: Guest<'static> = Guest { name: "evil", ..Guest::HONEST };
/// Asks what is left, having noted at 3000 that the room the host asks for next is for the outcomes.
const ASKS_AND_REMEMBERS: &str = "(i32.store (i32.const 3000) (i32.const 1))
    (i64.store offset=56 (call $charge (i32.const 0)) (i64.const 0)) (return (call $decided (i32.const 1)))";

/// A guest that does this.
const fn does(evil: &'static str) -> Form {
    Form::Text(Guest { evil, ..GUEST })
}
