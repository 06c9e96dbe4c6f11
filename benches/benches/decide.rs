//! One decision in process: the component, its native twin, and governor, in one run over the same keys.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use governor::{Quota, RateLimiter};
use tollgate_benches::{Twin, decide, gate, subjects};

fn one_decision(criterion: &mut Criterion) {
    let subjects = subjects();
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(1));
    for limits in [1, 3] {
        let gate = gate(limits);
        let mut round = subjects.iter().cycle();
        group.bench_function(format!("component, {limits} limits"), |bencher| {
            bencher.iter(|| black_box(decide(&gate, round.next().expect("a cycle never ends"))));
        });
        let twin = Twin::new(limits);
        let mut round = subjects.iter().cycle();
        group.bench_function(format!("native twin, {limits} limits"), |bencher| {
            bencher.iter(|| black_box(twin.decide(round.next().expect("a cycle never ends"))));
        });
    }
    let governor = RateLimiter::keyed(Quota::per_second(NonZeroU32::MAX));
    let mut round = subjects.iter().cycle();
    group.bench_function("governor, 1 limit", |bencher| {
        bencher.iter(|| black_box(governor.check_key(round.next().expect("a cycle never ends"))));
    });
    group.finish();
}

/// Two threads on one gate: the time per decision of all threads together.
fn two_threads(criterion: &mut Criterion) {
    let subjects = subjects();
    let mut group = criterion.benchmark_group("decide on two threads");
    group.throughput(Throughput::Elements(1));
    let gate = gate(1);
    group.bench_function("component, 1 limits", |bencher| {
        bencher.iter_custom(|rounds| {
            let began = Instant::now();
            std::thread::scope(|scope| {
                for half in subjects.chunks(subjects.len() / 2) {
                    let gate = &gate;
                    scope.spawn(move || {
                        let mut round = half.iter().cycle();
                        for _ in 0..rounds.div_ceil(2) {
                            black_box(decide(gate, round.next().expect("a cycle never ends")));
                        }
                    });
                }
            });
            began.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, one_decision, two_threads);
criterion_main!(benches);
