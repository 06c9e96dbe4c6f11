//! The figures of the answers.

use std::collections::BTreeMap;

use tollgate::{PolicyFaultKind, Source, Verdict};
use tollgate_tests::noise::{Stall, micros};

use crate::house::{DEADLINE, LIMIT};
use crate::load::{Answer, Who};

/// How long all but one of a hundred took at most, in microseconds, without what the machine kept them waiting.
pub(crate) fn p99_us<'a>(answers: impl Iterator<Item = &'a Answer>, stalls: &[Stall]) -> u64 {
    let own_us = |answer: &Answer| answer.took_us.saturating_sub(answer.kept_us(stalls));
    let mut took_us: Vec<u64> = answers.map(own_us).collect();
    took_us.sort_unstable();
    took_us.get(took_us.len() * 99 / 100).or(took_us.last()).copied().unwrap_or(0)
}

pub(crate) fn is_neighbour(answer: &&Answer) -> bool {
    matches!(answer.who, Who::Neighbour(_))
}

pub(crate) fn is_guest(answer: &&Answer) -> bool {
    answer.who == Who::Guest
}

/// How many of the neighbour's answers are wrong: given by a rule, or an admission too many or too few.
///
/// Where the store hangs, its own rule may answer, and then no admission can be too few. What the machine kept waiting for half of the deadline
/// may have run out of it.
pub(crate) fn wrong(answers: &[Answer], stalls: &[Stall], store_hangs: bool) -> (u64, String) {
    let mut tenants: BTreeMap<u64, Tenant> = BTreeMap::new();
    let (mut wrong, mut first) = (0, String::new());
    for answer in answers {
        let (Who::Neighbour(tenant), Some((source, verdict))) = (answer.who, answer.decided) else { continue };
        let is_late = source == Source::PolicyFault(PolicyFaultKind::Time);
        if is_late && 2 * answer.kept_us(stalls) >= micros(DEADLINE) {
            continue;
        }
        let tenant = tenants.entry(tenant).or_default();
        tenant.asked += 1;
        tenant.admitted += u64::from(verdict == Verdict::Allow && source == Source::Policy);
        let is_right = match source {
            Source::Policy => true,
            Source::Local(_) | Source::StoreFault(_) => store_hangs,
            _ => false,
        };
        wrong += u64::from(!is_right);
        if !is_right && first.is_empty() {
            let kept_us = answer.kept_us(stalls);
            first = format!(", such as {} after {} us, {kept_us} of them the machine's", name(source), answer.took_us);
        }
    }
    (wrong + tenants.values().map(|tenant| tenant.wrong(store_hangs)).sum::<u64>(), first)
}

#[derive(Default)]
struct Tenant {
    asked: u64,
    admitted: u64,
}

impl Tenant {
    fn wrong(&self, store_hangs: bool) -> u64 {
        let due = self.asked.min(LIMIT);
        if store_hangs { self.admitted.saturating_sub(due) } else { self.admitted.abs_diff(due) }
    }
}

/// How many of the guest's decisions came from where.
pub(crate) fn sources(answers: &[Answer]) -> BTreeMap<String, u64> {
    let mut sources = BTreeMap::new();
    for (source, _) in answers.iter().filter(is_guest).filter_map(|answer| answer.decided) {
        *sources.entry(name(source)).or_default() += 1;
    }
    sources
}

/// A source as it is told: `policy`, `policy-fault time`.
pub(crate) fn name(source: Source) -> String {
    source.fault().map_or_else(|| source.name().to_owned(), |fault| format!("{} {fault}", source.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(count: u64, source: Source, verdict: Verdict) -> Vec<Answer> {
        let answer =
            |took_us| Answer { who: Who::Neighbour(1), asked_us: 0, took_us, decided: Some((source, verdict)) };
        (1..=count).map(answer).collect()
    }

    #[test]
    fn one_of_a_hundred_may_take_longer() {
        assert_eq!(p99_us(answers(100, Source::Policy, Verdict::Allow).iter(), &[]), 100);
        assert_eq!(p99_us(answers(200, Source::Policy, Verdict::Allow).iter(), &[]), 199);
        assert_eq!(p99_us([].iter(), &[]), 0);
    }

    #[test]
    fn each_admission_too_many_or_too_few_is_wrong() {
        let admitted = |count| answers(count, Source::Policy, Verdict::Allow);
        assert_eq!(wrong(&admitted(LIMIT), &[], false).0, 0);
        assert_eq!(wrong(&admitted(LIMIT + 3), &[], false).0, 3);
        let refused = answers(2, Source::Policy, Verdict::Deny);
        assert_eq!(wrong(&[admitted(10), refused.clone()].concat(), &[], false).0, 2);
        assert_eq!(wrong(&[admitted(10), refused].concat(), &[], true).0, 0);
    }

    #[test]
    fn an_answer_by_a_rule_is_wrong() {
        let broken = answers(1, Source::PolicyFault(PolicyFaultKind::Overload), Verdict::Deny);
        assert_eq!(wrong(&broken, &[], true).0, 1);
        assert_eq!(wrong(&broken, &[], false).0, 2, "and one was not admitted");
    }
}
