//! Rows 9 to 18: the server is there, and the way to it is bad.

use std::time::Duration;

use anyhow::Result;
use tollgate_tests::{FakeServer, Line, Nonsense, Proxy, Way};

use crate::down::url;
use crate::firewall::Firewall;
use crate::load::{Load, Shape};
use crate::log::{Log, Moment};
use crate::noise::{self, micros};
use crate::outage::{self, Outage};
use crate::server::{self, Server};
use crate::trial::{Recovery, Trial};

/// Row 9.
pub(crate) fn half_open(trial: &mut Trial) -> Result<()> {
    let (server, proxy) = server_behind_proxy()?;
    let load = Load::start(&url(&proxy))?;
    // New connections work at once, so the fault ends when the client notices.
    let frozen = load.now();
    proxy.freeze();
    load.recovers(frozen, Duration::from_secs(10));
    let log = outage::end(trial, load)?;
    trial.felt(&log, frozen, log.ended);
    trial.recovered(&log, frozen, Duration::from_secs(1));
    trial.counted(&log, &server)
}

/// Row 10.
pub(crate) fn replies_lost(trial: &mut Trial) -> Result<()> {
    let (server, proxy) = server_behind_proxy()?;
    let outage = Outage::of(Load::start(&url(&proxy))?, 2_000, 1_000);
    let lost = Line { replies: Way::held(), ..Line::default() };
    let after = outage.suffer(trial, || proxy.set(lost), || proxy.heal())?;
    trial.counted(&after.log, &server)
}

/// Row 11.
pub(crate) fn reset_amid_calls(trial: &mut Trial) -> Result<()> {
    let (server, proxy) = server_behind_proxy()?;
    // A call is under way for twice as long.
    let way = Way::slow(Duration::from_millis(4), Duration::ZERO);
    proxy.set(Line { requests: way, replies: way });
    let load = Load::start(&url(&proxy))?;
    let began = load.now();
    let mut last = began;
    for round in 0..10 {
        // One loss is on trial, not a server that half of all calls in a second find gone.
        load.runs(Duration::from_millis(200));
        // Whoever waited for a connection is answered with all others, and then nobody asks for a while.
        load.asks(Duration::from_secs(5));
        // The call is hit on its way to the server in some rounds, and on its way back in others.
        load.runs(Duration::from_micros(600) * round);
        last = load.now();
        proxy.reset();
        load.recovers(last, Duration::from_secs(5));
    }
    let log = outage::end(trial, load)?;
    trial.felt(&log, began, log.ended);
    trial.recovered(&log, last, Duration::from_millis(100));
    trial.counted(&log, &server)
}

/// Row 12.
pub(crate) fn connecting_blackholed(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let mut connection = server.connect()?;
    let outage = Outage::of(Load::start(&server.url())?, 4_000, 500);
    let port = server.port().to_string();
    let wall = std::cell::RefCell::new(None);
    let after = outage.suffer(
        trial,
        || {
            *wall.borrow_mut() = Some(Firewall::drops(&["--dport", &port, "--syn"])?);
            server::run::<()>(&mut connection, &["CLIENT", "KILL", "TYPE", "normal"])
        },
        || drop(wall.take()),
    )?;
    trial.counted(&after.log, &server)
}

/// Row 13.
pub(crate) fn packets_lost(trial: &mut Trial) -> Result<()> {
    const LOSS: [&str; 6] = ["-m", "statistic", "--mode", "random", "--probability", "0.05"];
    let server = Server::start()?;
    let outage = Outage::of(Load::start(&server.url())?, 5_000, 1_000);
    let port = server.port().to_string();
    let walls = std::cell::RefCell::new(Vec::new());
    let after = outage.suffer(
        trial,
        || {
            for side in ["--dport", "--sport"] {
                walls.borrow_mut().push(Firewall::drops(&[&[side, port.as_str()][..], &LOSS].concat())?);
            }
            Ok(())
        },
        || walls.borrow_mut().clear(),
    )?;
    note_share(trial, &after.log, after.began, after.healed);
    trial.counted(&after.log, &server)
}

/// Row 14.
pub(crate) fn latency(trial: &mut Trial) -> Result<()> {
    let (server, proxy) = server_behind_proxy()?;
    let ms = Duration::from_millis;
    let load = Load::start(&url(&proxy))?;
    // Below the deadline nothing is felt but the time.
    proxy.set(Line { requests: Way::slow(ms(5), ms(5)), replies: Way::slow(ms(5), ms(5)) });
    let jittery = load.now();
    load.runs(ms(1_500));
    let calm = load.now();
    proxy.heal();
    // What is still under way arrives.
    load.runs(ms(100));
    let outage = Outage { load, lasts: ms(4_000), recovers_within: ms(1_000) };
    let slow = Line { replies: Way::slow(ms(150), ms(50)), requests: Way::slow(ms(50), ms(0)) };
    let after = outage.suffer(trial, || proxy.set(slow), || proxy.heal())?;
    trial.unfelt(&after.log, jittery, calm);
    sheds(trial, &after.log, Moment(after.began.0 + 1_500_000), after.healed);
    trial.counted(&after.log, &server)
}

/// Row 15.
pub(crate) fn narrow_line(trial: &mut Trial) -> Result<()> {
    let (server, proxy) = server_behind_proxy()?;
    let outage = Outage::of(Load::start(&url(&proxy))?, 4_000, 1_000);
    let narrow = Way { bytes_per_second: Some(8_000), ..Way::default() };
    let line = Line { requests: narrow, replies: narrow };
    let after = outage.suffer(trial, || proxy.set(line), || proxy.heal())?;
    note_share(trial, &after.log, after.began, after.healed);
    trial.counted(&after.log, &server)
}

/// Row 16.
pub(crate) fn cut_within_replies(trial: &mut Trial) -> Result<()> {
    let (server, proxy) = server_behind_proxy()?;
    let load = Load::start(&url(&proxy))?;
    let bytewise = Way { slice: Some(1), ..Way::default() };
    // The server's reading is not on trial, and single bytes of requests would keep a core busy.
    proxy.set(Line { replies: bytewise, ..Line::default() });
    let sliced = load.now();
    load.runs(Duration::from_secs(1));
    let whole = load.now();
    proxy.heal();
    load.runs(Duration::from_millis(100));
    let mut last = whole;
    for bytes in 0..20 {
        last = load.now();
        proxy.cut_after(bytes);
        load.fails(load.faults(), Duration::from_millis(100));
        load.recovers(last, Duration::from_secs(5));
    }
    let log = outage::end(trial, load)?;
    trial.unfelt(&log, sliced, whole);
    trial.felt(&log, whole, log.ended);
    trial.recovered(&log, last, Duration::from_secs(1));
    trial.counted(&log, &server)
}

/// Row 17.
pub(crate) fn nonsense(trial: &mut Trial) -> Result<()> {
    let (server, proxy) = server_behind_proxy()?;
    let load = Load::start(&url(&proxy))?;
    let mut spells = Vec::new();
    for nonsense in Nonsense::ALL {
        let fake = FakeServer::start(nonsense)?;
        let began = load.now();
        proxy.redirect(fake.port());
        proxy.reset();
        load.runs(Duration::from_millis(400));
        proxy.redirect(server.port());
        proxy.reset();
        let healed = load.now();
        load.recovers(healed, Duration::from_secs(5));
        trial.must(fake.asked() > 0, || format!("nobody asked the server that answers {nonsense:?}"));
        spells.push((began, healed));
    }
    let log = outage::end(trial, load)?;
    for (began, healed) in spells {
        trial.felt(&log, began, healed);
        trial.recovered(&log, healed, Duration::from_secs(1));
    }
    trial.counted(&log, &server)
}

/// Row 18, all of it.
pub(crate) fn killed_connections(trial: &mut Trial) -> Result<()> {
    storm(trial, 1_000)
}

/// Row 18, in short.
pub(crate) fn killed_connections_in_short(trial: &mut Trial) -> Result<()> {
    storm(trial, 30)
}

/// So many rounds of killing every connection while a thousand requests are under way.
fn storm(trial: &mut Trial, rounds: usize) -> Result<()> {
    const BOUND: Duration = Duration::from_millis(100);
    // A thousand are under way only if each has time for it.
    let shape = Shape { callers: 1_000, pause: Duration::ZERO, deadline: Duration::from_millis(1_000) };
    let server = Server::start()?;
    let mut connection = server.connect()?;
    let load = Load::at(&server.target()?, shape)?;
    let mut kills = Vec::new();
    for round in 0..rounds {
        server::run::<()>(&mut connection, &["CLIENT", "KILL", "TYPE", "normal"])?;
        kills.push(load.now());
        if !load.recovers(load.now(), Duration::from_secs(5)) {
            trial.failures.push(format!("wedged: after round {round} no policy decided for 5 s"));
            break;
        }
    }
    let log = outage::end(trial, load)?;
    trial.felt(&log, Moment(0), log.ended);
    let recoveries = recoveries(&log, &kills);
    let slow = recoveries.iter().filter(|(took, excused)| *took > micros(BOUND) + excused).count();
    trial.must(slow == 0, || format!("{slow} of {} rounds took longer than {BOUND:?}", recoveries.len()));
    let took_us = recoveries.iter().map(|(took, _)| *took).max().unwrap_or(0);
    trial.recovery = Some(Recovery { took_us, steady_us: took_us, bound_us: micros(BOUND) });
    let over = recoveries.iter().filter(|(took, _)| *took > micros(BOUND)).count();
    trial.note(format!(
        "{} rounds; {over} took longer than {BOUND:?}, {slow} of them by our own doing",
        recoveries.len()
    ));
    trial.counted(&log, &server)
}

/// How long after each kill a policy decided a question asked after it, and for how long the machine meanwhile kept the load waiting.
fn recoveries(log: &Log, kills: &[Moment]) -> Vec<(u64, u64)> {
    let mut first_us = vec![log.ended.0; kills.len()];
    for record in log.records().filter(|record| record.is_by_policy()) {
        let round = kills.partition_point(|kill| kill.0 <= record.began_us);
        if let Some(first) = round.checked_sub(1).and_then(|round| first_us.get_mut(round)) {
            *first = record.ended_us().min(*first);
        }
    }
    let took = |(kill, first): (&Moment, u64)| (first - kill.0, noise::between(&log.stalls, kill.0, first));
    kills.iter().zip(first_us).map(took).collect()
}

fn server_behind_proxy() -> Result<(Server, Proxy)> {
    let server = Server::start()?;
    let proxy = Proxy::start(server.port())?;
    Ok((server, proxy))
}

fn note_share(trial: &mut Trial, log: &Log, from: Moment, to: Moment) {
    let all = log.between(from, to).count();
    let faults = log.between(from, to).filter(|record| !record.is_by_policy()).count();
    trial.note(format!("{faults} of {all} decisions during the fault were made by a rule"));
}

/// Most decisions between the two moments do not even wait for the store.
fn sheds(trial: &mut Trial, log: &Log, from: Moment, to: Moment) {
    let all = log.between(from, to).count();
    let waited = log.between(from, to).filter(|record| record.took_us > micros(log.deadline) / 2).count();
    trial.note(format!("{waited} of {all} decisions waited for a store that was known to be too slow"));
    trial.must(2 * waited < all, || "no breaker opened: decisions wait for a store that is too slow".to_owned());
}
