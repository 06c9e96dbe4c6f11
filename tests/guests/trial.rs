//! One guest being tried: what was seen, and what was not as it must be.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tollgate::{PolicyFaultKind, Request, Source, Verdict};
use tollgate_tests::guests::{Ends, Evil};
use tollgate_tests::noise::{self, Noise, Stall, Threads, micros};

use crate::figures::{is_guest, is_neighbour, name, p99_us, sources, wrong};
use crate::house::{DEADLINE, House};
use crate::load::{Answer, Beside, Load, Loaded};
use crate::log;

/// What a guest has done so far.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// Whether the machine was so busy with other things that this tells little.
    pub(crate) was_disturbed: bool,
    /// Why it is not contained; nothing if it is.
    pub(crate) failures: Vec<String>,
    /// What is worth knowing beside the figures.
    pub(crate) notes: Vec<String>,
    /// How often it was asked, or offered.
    pub(crate) asked: u64,
    /// What contained it, and how often: a source of decisions, or `refused`.
    pub(crate) contained_by: BTreeMap<String, u64>,
    /// How long its slowest decision took, or its loading.
    pub(crate) slowest_us: u64,
    /// How many of its decisions took longer than the deadline and 10 ms, and than what the machine kept them waiting.
    pub(crate) late: u64,
    /// How long all but one of a hundred decisions of the neighbour took at most, beside an honest guest.
    pub(crate) usual_p99_us: u64,
    /// The same beside the evil one.
    pub(crate) p99_us: u64,
    /// How many answers the neighbour had in all, and how many of them were wrong.
    pub(crate) neighbour: u64,
    pub(crate) wrong: u64,
    /// The memory of the process, before it was asked and after.
    pub(crate) rss_kib: [u64; 2],
}

/// How long a guest is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How many spans there are of each kind.
    spans: u32,
    /// How long each is.
    length: Duration,
    /// How long the evil guest has been asked before the neighbour's time counts: in a short span, what it costs to find a policy out would count
    /// for more than one in a hundred.
    lead_in: Duration,
}

impl Effort {
    /// For every change.
    pub(crate) const QUICK: Self =
        Self { spans: 1, length: Duration::from_millis(400), lead_in: Duration::from_millis(100) };
    /// For who wants to know.
    pub(crate) const WHOLE: Self = Self { spans: 3, length: Duration::from_secs(1), lead_in: Duration::ZERO };
}

/// How much longer than its deadline a decision may take.
const GRACE: Duration = Duration::from_millis(10);
/// Under this a p99 is what two cores make of it, and no ratio counts.
const FLOOR_US: u64 = 1_000;
/// What the process may hold more than before: memory that the pool keeps for the instances to come, and the allocator's.
const MEMORY_KIB: u64 = 24 * 1024;
/// The same where the compiler was kept busy: the allocator keeps what it took, and gives it to the next one.
const COMPILER_KIB: u64 = 512 * 1024;
/// How long compiling may take.
const COMPILES_US: u64 = 15_000_000;

/// Tries `guest`.
pub(crate) fn run(guest: &'static Evil, effort: Effort) -> Trial {
    let mut trial = Trial::default();
    if let Err(error) = trial.tries(guest, effort) {
        trial.failures.push(format!("it could not be tried to its end: {error:#}"));
    }
    trial
}

impl Trial {
    fn tries(&mut self, guest: &'static Evil, effort: Effort) -> Result<()> {
        let house = House::for_guest(guest)?;
        let mut load = Load::new();
        // That a bomb keeps the cores busy is its doing, so there the wait of the gate's threads excuses nothing.
        let is_bomb = matches!(guest.ends, Ends::Loads);
        let threads = if is_bomb { Threads::default() } else { house.threads.clone() };
        let noise = Noise::watch(load.began(), threads);
        let written = log::written();
        // Threads, caches and warm instances are there when it counts.
        let mut seen = Seen::default();
        seen.add(span(&mut load, &house, Beside::Honest(guest), effort.length / 2)?);
        let (mut usual, mut evil) = (Seen::default(), Seen::default());
        self.rss_kib[0] = resident_kib()?;
        let mut lead_in = Seen::default();
        lead_in.add(span(&mut load, &house, Beside::Evil(guest), effort.lead_in)?);
        for _ in 0..effort.spans {
            usual.add(span(&mut load, &house, Beside::Honest(guest), effort.length)?);
            evil.add(span(&mut load, &house, Beside::Evil(guest), effort.length)?);
        }
        self.rss_kib[1] = resident_kib()?;
        let stalls = noise.end();
        house.runtime.shutdown_background();
        self.usual_p99_us = p99_us(usual.answers.iter().filter(is_neighbour), &stalls);
        self.p99_us = p99_us(evil.answers.iter().filter(is_neighbour), &stalls);
        seen.answers.extend(lead_in.answers.iter().filter(is_neighbour));
        evil.answers.extend(lead_in.answers.iter().filter(is_guest));
        evil.loaded.append(&mut lead_in.loaded);
        self.judge_machine(&stalls, micros(load.began().elapsed()));
        self.judge_guest(guest, &evil, &stalls);
        self.judge_log(written, effort);
        let all = [seen.answers, usual.answers, evil.answers].concat();
        self.judge_neighbour(&all, &stalls, guest.ends);
        let silent = seen.silent + lead_in.silent + usual.silent + evil.silent;
        self.must(silent == 0, format!("{silent} questions were never answered"));
        Ok(())
    }

    /// Says so if the machine was so busy with other things that the figures tell little.
    fn judge_machine(&mut self, stalls: &[Stall], lasted_us: u64) {
        let share = 100 * noise::between(stalls, 0, lasted_us) / lasted_us.max(1);
        self.was_disturbed = share >= 10;
        if self.was_disturbed {
            self.notes.push(format!(
                "the machine kept the gate's two threads waiting for {share} % of the time: this tells little"
            ));
        }
    }

    fn judge_guest(&mut self, guest: &Evil, evil: &Seen, stalls: &[Stall]) {
        let answers: Vec<&Answer> = evil.answers.iter().filter(is_guest).collect();
        self.asked = answers.len() as u64;
        self.slowest_us = answers.iter().map(|answer| answer.took_us).max().unwrap_or(0);
        self.contained_by = sources(&evil.answers);
        if !guest.is_asked() {
            return self.judge_loading(guest, &evil.loaded);
        }
        let bound_us = micros(DEADLINE + GRACE);
        let is_late = |answer: &&&Answer| answer.took_us > bound_us + answer.kept_us(stalls);
        self.late = answers.iter().filter(is_late).count() as u64;
        self.must(self.late == 0, format!("{} decisions took longer than {:?}", self.late, DEADLINE + GRACE));
        let strange = answers.iter().filter_map(|answer| answer.decided).filter(|decided| !ends_so(guest, *decided));
        let strange: Vec<_> = strange.collect();
        self.must(strange.is_empty(), {
            let first =
                strange.first().map_or(String::new(), |(source, verdict)| format!("{} {verdict:?}", name(*source)));
            format!("{} decisions are not what they must be, such as: {first}", strange.len())
        });
        if let Ends::EverySecond(_) = guest.ends {
            let sound = self.contained_by.get("policy").copied().unwrap_or(0);
            self.must(sound * 3 >= self.asked, format!("it decided only {sound} of {} times", self.asked));
        }
    }

    fn judge_loading(&mut self, guest: &Evil, loaded: &[Loaded]) {
        let refused = loaded.iter().filter(|loaded| loaded.is_err()).count() as u64;
        self.contained_by.insert("refused".to_owned(), refused);
        self.contained_by.insert("loaded".to_owned(), self.asked - refused);
        self.contained_by.retain(|_, times| *times > 0);
        if let Ends::Refused(reasons) = guest.ends {
            self.must(refused == self.asked, format!("it was loaded {} times", self.asked - refused));
            let mut told = loaded.iter().filter_map(|loaded| loaded.as_ref().err());
            let strange = told.find(|told| !reasons.iter().any(|reason| told.contains(reason)));
            self.must(
                strange.is_none(),
                format!("it was refused for another reason: {}", strange.map_or("", |told| told)),
            );
        }
        self.must(self.slowest_us <= COMPILES_US, format!("loading it took {} ms", self.slowest_us / 1_000));
    }

    fn judge_log(&mut self, before: log::Written, effort: Effort) {
        let written = log::written();
        // Each second begins with a new allowance, and an instance more may begin one.
        let seconds = (effort.spans * 3 + 2) * (effort.length.as_secs() as u32 + 1);
        let most = 32 * u64::from(seconds);
        let lines = written.lines - before.lines;
        self.must(lines <= most, format!("{lines} lines of log in {seconds} s"));
        let unescaped = written.unescaped - before.unescaped;
        self.must(unescaped == 0, format!("{unescaped} lines of log hold a control character"));
        if lines > 0 {
            self.notes.push(format!("{lines} lines of log, none with a control character"));
        }
    }

    fn judge_neighbour(&mut self, all: &[Answer], stalls: &[Stall], ends: Ends) {
        let (store_hangs, compiles) = (matches!(ends, Ends::Waits), matches!(ends, Ends::Loads));
        self.neighbour = all.iter().filter(is_neighbour).count() as u64;
        let (wrong, such_as) = wrong(all, stalls, store_hangs);
        self.wrong = wrong;
        self.must(self.wrong == 0, format!("{wrong} answers of the neighbour are wrong{such_as}"));
        let [usual, now] = [self.usual_p99_us, self.p99_us];
        self.must(now <= (2 * usual).max(FLOOR_US), format!("the neighbour's p99 went from {usual} us to {now} us"));
        let [before, after] = self.rss_kib;
        let most = if compiles { COMPILER_KIB } else { MEMORY_KIB };
        self.must(after <= before + most, format!("the process holds {} KiB more", after.saturating_sub(before)));
    }

    fn must(&mut self, holds: bool, why: String) {
        if !holds {
            self.failures.push(why);
        }
    }
}

/// The answers of some spans.
#[derive(Default)]
struct Seen {
    answers: Vec<Answer>,
    loaded: Vec<Loaded>,
    silent: u64,
}

impl Seen {
    fn add(&mut self, (answers, loaded, silent): (Vec<Answer>, Vec<Loaded>, u64)) {
        self.answers.extend(answers);
        self.loaded.extend(loaded);
        self.silent += silent;
    }
}

/// A span of the load. If there is a Redis, it hangs meanwhile.
fn span(load: &mut Load, house: &House, beside: Beside, length: Duration) -> Result<(Vec<Answer>, Vec<Loaded>, u64)> {
    let Some(redis) = &house.redis else { return Ok(load.span(house, beside, length)) };
    redis.stop()?;
    let seen = load.span(house, beside, length);
    redis.cont()?;
    until_served(house)?;
    Ok(seen)
}

/// Waits until the store answers again.
fn until_served(house: &House) -> Result<()> {
    let began = Instant::now();
    let request = Request::new("nobody", "nobody")?.with_tier("honest")?;
    while house.runtime.block_on(house.gate.decide(&request)).source != Source::Policy {
        ensure!(began.elapsed() < Duration::from_secs(10), "the store never answered again");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether a decision is one by which a guest is to end.
fn ends_so(guest: &Evil, (source, verdict): (Source, Verdict)) -> bool {
    match guest.ends {
        Ends::Fault(kind) => is_fault(source, kind) && verdict == Verdict::Deny,
        Ends::EverySecond(kind) => source == Source::Policy || is_fault(source, kind) && verdict == Verdict::Deny,
        Ends::Decides(expected) => source == Source::Policy && verdict == expected,
        Ends::Waits => matches!(source, Source::StoreFault(_)),
        Ends::Refused(_) | Ends::Loads => false,
    }
}

/// Whether it is a fault of this kind, or the rest from asking what uses up its time or memory again and again.
fn is_fault(source: Source, kind: PolicyFaultKind) -> bool {
    let rests = matches!(kind, PolicyFaultKind::Time | PolicyFaultKind::Memory);
    source == Source::PolicyFault(kind) || rests && source == Source::PolicyFault(PolicyFaultKind::Quarantine)
}

/// What this process holds of the machine's memory.
fn resident_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("failed to read the memory of this process")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
