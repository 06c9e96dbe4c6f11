//! The circuit breaker: whether the store is worth asking.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Fault, FaultKind};

/// Opens after repeated failures, and then answers in the store's place until a probe closes it.
///
/// It opens after [`STREAK`] failures in a row, or when of at least [`LEAST_CALLS`] calls in the second that a failure begins at least half fail.
/// Failures open it only from [`STALL`] on after the first of them: a host that stood still for a moment finds all its calls late at once, and a
/// connection that is lost fails all that were under way on it, and either is over in a moment.
/// A call costs two atomic additions; only a failure takes a lock.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    open: AtomicBool,
    calls: AtomicU64,
    streak: AtomicU32,
    tally: Mutex<Tally>,
}

/// How many failures in a row are borne.
const STREAK: u32 = 5;
/// Of fewer calls, half are no sign.
const LEAST_CALLS: u64 = 8;
const WINDOW: Duration = Duration::from_secs(1);
const STALL: Duration = Duration::from_millis(30);
/// How long after one probe the next begins, at most: so much later than the store it is noticed that the store is back.
const PAUSE: Duration = Duration::from_millis(50);
/// The same where probes pass and calls fail at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What failures are counted by, and what is said while the circuit is open.
#[derive(Debug, Default)]
struct Tally {
    began: Option<Instant>,
    streak_began: Option<Instant>,
    calls_before: u64,
    failures: u64,
    last: Option<Fault>,
    closed: Option<Instant>,
    /// How often in a row it was closed in vain.
    vain: u32,
}

impl Circuit {
    /// The fault to answer with instead of asking, while the circuit is open.
    pub(super) fn fault(&self) -> Option<Fault> {
        if !self.open.load(Ordering::Acquire) {
            return None;
        }
        Some(self.tally().last.clone().unwrap_or_else(|| Fault::new(FaultKind::Unavailable, "not asked")))
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes note of a call that the store answered.
    pub(super) fn note_answer(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.streak.load(Ordering::Relaxed) != 0 {
            self.streak.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note of a call that failed by the store's fault. Whether that opens the circuit: then somebody must [`close`](Self::close) it.
    pub(super) fn note_failure(&self, fault: &Fault) -> bool {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let streak = self.streak.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        let mut tally = self.tally();
        if tally.began.is_none_or(|began| now.duration_since(began) > WINDOW) {
            (tally.began, tally.calls_before, tally.failures) = (Some(now), calls - 1, 0);
        }
        tally.failures += 1;
        if streak == 1 {
            tally.streak_began = Some(now);
        }
        // Another thread may have counted a later call and been here before.
        let calls = calls.saturating_sub(tally.calls_before).max(tally.failures);
        let lasts = |since: Option<Instant>| since.is_some_and(|since| now.duration_since(since) >= STALL);
        let often = calls >= LEAST_CALLS && tally.failures * 2 >= calls && lasts(tally.began);
        let always = streak >= STREAK && lasts(tally.streak_began);
        if self.is_open() || !(often || always) {
            return false;
        }
        let reopened = tally.closed.is_some_and(|closed| now.duration_since(closed) < WINDOW);
        tally.vain = if reopened { tally.vain.saturating_add(1) } else { 0 };
        let message = format!(
            "not asked: the circuit is open since {} of {calls} calls failed, the last: {}",
            tally.failures, fault.message
        );
        tally.last = Some(Fault::new(fault.kind, message));
        self.open.store(true, Ordering::Release);
        true
    }

    /// Takes note of a probe that failed: that is the store's fault now.
    pub(super) fn note_probe(&self, fault: &Fault) {
        let message = format!("not asked: the circuit is open, and a probe failed: {}", fault.message);
        self.tally().last = Some(Fault::new(fault.kind, message));
    }

    /// Lets calls pass again.
    pub(super) fn close(&self) {
        let mut tally = self.tally();
        (tally.began, tally.closed) = (None, Some(Instant::now()));
        self.streak.store(0, Ordering::Relaxed);
        self.open.store(false, Ordering::Release);
    }

    /// How long to wait for the next probe: a little less for some hosts than for others, so that they do not all come at once.
    pub(super) fn pause(&self) -> Duration {
        let longest = PAUSE.saturating_mul(1 << self.tally().vain.min(5)).min(LONGEST_PAUSE);
        let fifth_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX) / 5;
        longest - Duration::from_micros(RandomState::new().hash_one(0) % fifth_us.max(1))
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        // It holds only numbers and a text, each of which is sound by itself.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs calls one after another, `.` for an answer, `x` for a failure, `_` for 300 ms without any. The number of the call that opens the circuit.
    async fn check(calls: &str, opens_at: Option<usize>) {
        let circuit = Circuit::default();
        let fault = Fault::new(FaultKind::Unavailable, "no answer");
        let mut opened = None;
        for (at, call) in calls.chars().filter(|call| !call.is_whitespace()).enumerate() {
            match call {
                'x' if circuit.note_failure(&fault) => opened = opened.or(Some(at + 1)),
                'x' => (),
                '.' => circuit.note_answer(),
                _ => tokio::time::advance(Duration::from_millis(300)).await,
            }
            tokio::time::advance(STALL / 4).await;
        }
        assert_eq!(opened, opens_at, "{calls}");
        assert_eq!(circuit.fault().is_some(), opens_at.is_some(), "{calls}");
    }

    /// Fails until it opens.
    async fn fail(circuit: &Circuit, fault: &Fault) {
        while !circuit.note_failure(fault) {
            tokio::time::advance(STALL / 4).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_five_failures_in_a_row() {
        check("xxxx", None).await;
        check("xxxxx", Some(5)).await;
        check("xxxx.xxx", Some(8)).await;
        check("x____x____x____x____x", Some(21)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_half_of_eight_calls_in_a_second_fail() {
        check("x.x.x.x", None).await;
        check("x.x.x.x.x", Some(9)).await;
        check("x..x..x..x..x..x..", None).await;
        check("x.x.x.____x.x.x.____x.x.x.", None).await;
        // What was answered before the first failure counts for nothing.
        check("........................x.x.x.x.x", Some(33)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_late_all_at_once_are_no_sign() {
        let circuit = Circuit::default();
        let fault = Fault::new(FaultKind::Timeout, "no answer");
        assert!((0..64).all(|_| !circuit.note_failure(&fault)));
        tokio::time::advance(STALL).await;
        assert!(circuit.note_failure(&fault));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_says_what_is_wrong_now() {
        let circuit = Circuit::default();
        fail(&circuit, &Fault::new(FaultKind::Unavailable, "gone")).await;
        circuit.note_probe(&Fault::new(FaultKind::Refused, "LOADING"));
        let fault = circuit.fault().unwrap();
        assert_eq!((fault.kind, fault.message.contains("LOADING")), (FaultKind::Refused, true), "{fault}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_why_and_closes() {
        let circuit = Circuit::default();
        for _ in 0..9 {
            circuit.note_failure(&Fault::new(FaultKind::Refused, "LOADING"));
            tokio::time::advance(STALL / 4).await;
        }
        let fault = circuit.fault().unwrap();
        assert_eq!(fault.kind, FaultKind::Refused);
        assert_eq!(fault.message, "not asked: the circuit is open since 5 of 5 calls failed, the last: LOADING");
        circuit.close();
        assert_eq!(circuit.fault(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_closes_it_in_vain_comes_less_often() {
        let circuit = Circuit::default();
        let fault = Fault::new(FaultKind::Refused, "OOM");
        let mut pauses = Vec::new();
        for _ in 0..6 {
            fail(&circuit, &fault).await;
            pauses.push(circuit.pause());
            circuit.close();
        }
        assert!(pauses[0] <= PAUSE && pauses[0] >= PAUSE * 4 / 5, "{pauses:?}");
        assert!(pauses[5] <= LONGEST_PAUSE && pauses[5] >= LONGEST_PAUSE * 4 / 5, "{pauses:?}");
        tokio::time::advance(WINDOW).await;
        fail(&circuit, &fault).await;
        assert!(circuit.pause() <= PAUSE);
    }
}
