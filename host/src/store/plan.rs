//! A list of charges as the arithmetic takes it.

use crate::counter::Item;
use crate::model::{Charge, Fault, FaultKind};

/// The distinct counters of a list, and its charges on them.
pub(super) struct Plan<'a> {
    /// The keys; a charge's slot is an index here.
    pub(super) keys: Vec<&'a str>,
    /// The charges, in order.
    pub(super) items: Vec<Item>,
}

impl<'a> Plan<'a> {
    /// Finds the charges that share a counter. Compares each with each, since lists are short.
    ///
    /// # Errors
    ///
    /// Fails with [`FaultKind::Invalid`] if one counter would be counted by two algorithms.
    pub(super) fn new(charges: &'a [Charge]) -> Result<Self, Fault> {
        let mut plan = Self { keys: Vec::with_capacity(charges.len()), items: Vec::with_capacity(charges.len()) };
        for charge in charges {
            let slot = plan.slot(charge)?;
            plan.items.push(item(charge, slot));
        }
        Ok(plan)
    }

    fn slot(&mut self, charge: &'a Charge) -> Result<usize, Fault> {
        let Some(slot) = self.keys.iter().position(|key| *key == charge.key) else {
            self.keys.push(&charge.key);
            return Ok(self.keys.len() - 1);
        };
        let algorithm = charge.limit.algorithm();
        match self.items.iter().find(|item| item.slot == slot).map(|item| item.rule.algorithm) {
            Some(other) if other.key_tag() != algorithm.key_tag() => Err(Fault::new(
                FaultKind::Invalid,
                format!(
                    "one list charges `{}` as {other} and as {algorithm}; give each algorithm a key of its own",
                    charge.key.escape_debug()
                ),
            )),
            _ => Ok(slot),
        }
    }
}

/// A charge on the counter of this slot.
pub(super) fn item(charge: &Charge, slot: usize) -> Item {
    Item { rule: *charge.limit.rule(), cost: charge.cost, mode: charge.mode, slot, holder: charge.holder }
}
