//! Questions from outside: each arrives when it is due, whether those before it have been answered or not.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tollgate::{Request, Source, Verdict};
use tollgate_tests::guests::Evil;
use tollgate_tests::noise::{self, Stall, micros};

use crate::house::{House, LIMIT, plan_anew, plan_with};

/// What a span asks for beside the neighbour.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beside {
    /// An honest guest, asked or loaded as often as the evil one.
    Honest(&'static Evil),
    /// The evil one.
    Evil(&'static Evil),
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Who was asked.
    pub(crate) who: Who,
    /// When, since the load began.
    pub(crate) asked_us: u64,
    /// How long it took.
    pub(crate) took_us: u64,
    /// What it was; none where something was loaded.
    pub(crate) decided: Option<(Source, Verdict)>,
}

impl Answer {
    /// How long the machine kept it waiting.
    pub(crate) fn kept_us(&self, stalls: &[Stall]) -> u64 {
        noise::between(stalls, self.asked_us, self.asked_us + self.took_us)
    }
}

/// Who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The neighbour, for its tenant of this number.
    Neighbour(u64),
    /// The guest, or something was loaded.
    Guest,
}

/// What was loaded, or why not: every such answer in order.
pub(crate) type Loaded = Result<(), String>;

/// The load on one house.
pub(crate) struct Load {
    began: Instant,
    /// How many questions there were for the neighbour, and beside it.
    asked: [u64; 2],
    tell: Sender<(Answer, Option<Loaded>)>,
    told: Receiver<(Answer, Option<Loaded>)>,
}

const NEIGHBOUR_EVERY: Duration = Duration::from_micros(500);
const BURST: u64 = 4;
const BURST_EVERY: Duration = Duration::from_millis(40);
const LOADS_EVERY: Duration = Duration::from_millis(100);
/// A dispatcher that comes later than this leaves out what was due meanwhile.
const TOO_LATE: Duration = Duration::from_millis(5);
/// How many questions the neighbour has for each of its tenants: more than its limit.
const QUESTIONS: u64 = LIMIT + 50;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

impl Load {
    pub(crate) fn new() -> Self {
        let (tell, told) = mpsc::channel();
        Self { began: Instant::now(), asked: [0, 0], tell, told }
    }

    /// When the load began: the moments of its answers count from there.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Asks for so long, and waits for the last answer. Answers all of them, and what was loaded; fewer than it asked for if some never came.
    pub(crate) fn span(&mut self, house: &House, beside: Beside, length: Duration) -> (Vec<Answer>, Vec<Loaded>, u64) {
        let (Beside::Honest(evil) | Beside::Evil(evil)) = beside;
        let (burst, every) = if evil.is_asked() { (BURST, BURST_EVERY) } else { (1, LOADS_EVERY) };
        let began = Instant::now();
        let mut due = [began, began + every / 2];
        let mut under_way = 0;
        while began.elapsed() < length {
            let now = Instant::now();
            for (due, period) in due.iter_mut().zip([NEIGHBOUR_EVERY, every]) {
                if now.saturating_duration_since(*due) > TOO_LATE.max(period) {
                    *due = now;
                }
            }
            if due[0] <= now {
                due[0] += NEIGHBOUR_EVERY;
                self.ask_neighbour(house);
                under_way += 1;
            }
            if due[1] <= now {
                due[1] += every;
                (0..burst).for_each(|_| self.ask_beside(house, beside));
                under_way += burst;
            }
            thread::sleep(due[0].min(due[1]).saturating_duration_since(Instant::now()));
        }
        let (mut answers, mut loaded) = (Vec::new(), Vec::new());
        let give_up = Instant::now() + PATIENCE;
        while under_way > 0 {
            let left = give_up.saturating_duration_since(Instant::now());
            let Ok((answer, what)) = self.told.recv_timeout(left) else { break };
            answers.push(answer);
            loaded.extend(what);
            under_way -= 1;
        }
        (answers, loaded, under_way)
    }

    fn ask_neighbour(&mut self, house: &House) {
        let number = self.asked[0] / QUESTIONS;
        self.asked[0] += 1;
        self.decide(house, Who::Neighbour(number), "neighbour", format!("neighbour-{number}"));
    }

    fn ask_beside(&mut self, house: &House, beside: Beside) {
        let number = self.asked[1];
        self.asked[1] += 1;
        let (tier, evil) = match beside {
            Beside::Honest(evil) => ("honest", evil),
            Beside::Evil(evil) => ("evil", evil),
        };
        if evil.is_asked() {
            return self.decide(house, Who::Guest, tier, format!("guest-{}", number % 4));
        }
        let plan = match beside {
            Beside::Honest(_) => plan_anew(number),
            Beside::Evil(evil) => plan_with(evil.bytes()),
        };
        let (gate, tell, began, asked) = (house.gate.clone(), self.tell.clone(), self.began, Instant::now());
        house.runtime.spawn(async move {
            let loaded = gate.replace(plan).await.map(drop).map_err(|error| format!("{error:#}"));
            let answer = Answer {
                who: Who::Guest,
                asked_us: micros(asked - began),
                took_us: micros(asked.elapsed()),
                decided: None,
            };
            // Nobody listens any more if it came too late.
            let _ = tell.send((answer, Some(loaded)));
        });
    }

    fn decide(&self, house: &House, who: Who, tier: &'static str, tenant: String) {
        let (gate, tell, began, asked) = (house.gate.clone(), self.tell.clone(), self.began, Instant::now());
        house.runtime.spawn(async move {
            let request = Request::new(&tenant, "subject").and_then(|request| request.with_tier(tier));
            let request = request.and_then(|request| request.with_route("/evil"));
            let request = request.expect("the tenant, the tier and the route are in every range");
            let decision = gate.decide(&request).await;
            let answer = Answer {
                who,
                asked_us: micros(asked - began),
                took_us: micros(asked.elapsed()),
                decided: Some((decision.source, decision.verdict)),
            };
            // Nobody listens any more if it came too late.
            let _ = tell.send((answer, None));
        });
    }
}
