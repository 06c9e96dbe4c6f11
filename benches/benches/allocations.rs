//! How often a decision asks the allocator of the host, counted.
#![expect(unsafe_code, reason = "an allocator is unsafe to implement; this one passes everything on")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_benches::{Twin, decide, gate, subjects};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    println!("{:<24}{:>24}", "allocations", "per decision");
    for limits in [1, 3] {
        let gate = gate(limits);
        count(&format!("component, {limits} limits"), |subject| drop(decide(&gate, subject)));
        let twin = Twin::new(limits);
        count(&format!("native twin, {limits} limits"), |subject| drop(twin.decide(subject)));
    }
}

/// Counts over subjects that are known already, so that no counter is made.
fn count(name: &str, decide: impl Fn(&str)) {
    let subjects = subjects();
    subjects.iter().for_each(|subject| decide(subject));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    subjects.iter().for_each(|subject| decide(subject));
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!("{name:<24}{:>24.2}", allocations as f64 / subjects.len() as f64);
}
