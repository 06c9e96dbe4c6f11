//! What Redis can do for a client that costs nothing, and how much of it a whole decision gets.

use anyhow::Result;

use super::redis::{gate, side};
use crate::gate::Algorithm;
use crate::keys::{Keys, Shape};
use crate::lab::{Lab, Threads};
use crate::load::Load;
use crate::peers::{Command, Raw};
use crate::row::{Group, Metric, Row, Side};

const GCRA: &str = "tollgate, gcra";
const WINDOW: &str = "tollgate, window";
const RAW: [(&str, Command); 4] = [
    ("raw PING", Command::Ping),
    ("raw INCR", Command::Incr),
    ("raw EVALSHA gcra", Command::Script(Algorithm::Gcra)),
    ("raw EVALSHA window", Command::Script(Algorithm::Window)),
];

/// The group of this file.
pub(super) fn group() -> Group {
    let of =
        |name: &str, ours, peers| Row { id: format!("ceiling/{name}"), ours, peers, metric: Metric::Rate, goal: None };
    let rows = vec![
        of("gcra-script", GCRA, &["raw EVALSHA gcra"]),
        of("window-script", WINDOW, &["raw EVALSHA window"]),
        of("incr", WINDOW, &["raw INCR"]),
        of("ping", WINDOW, &["raw PING"]),
    ];
    Group { rows, quick: true, sides: Box::new(sides) }
}

fn sides(lab: &Lab) -> Result<Vec<Side>> {
    lab.clear()?;
    let runtime = lab.runtime(Threads::One);
    let keys = Keys::draw(Shape::Uniform, 100_000);
    let load = Load { in_flight: 256, keys: keys.clone() };
    let mut sides: Vec<Side> = [(GCRA, Algorithm::Gcra), (WINDOW, Algorithm::Window)]
        .map(|(name, algorithm)| side(lab, name, &runtime, &load, gate(lab, algorithm, 1)))
        .into();
    for (name, command) in RAW {
        let (port, keys) = (lab.redis().port(), keys.clone());
        sides.push(lab.side(name, move || {
            let mut raw = Raw::connect(port, command, &keys)?;
            Ok(Box::new(move |time| raw.run(time)))
        }));
    }
    Ok(sides)
}
