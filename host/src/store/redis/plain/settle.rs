//! Giving back what a receipt no longer needs.

use redis::{Pipeline, Value};
use tokio::time::Instant;

use super::Plain;
use super::cell::{Cell, Window};
use crate::model::{Action, Fault, FaultKind, Settled, Settlement};
use crate::store::redis::fault;

impl Plain {
    /// Settles a receipt once: it is remembered first, and given back then. Whoever dies in between leaves it taken until the windows end.
    pub(in crate::store::redis) async fn settle(
        &self,
        settlement: &Settlement,
        until: Instant,
    ) -> Result<Settled, Fault> {
        if settlement.action != Action::Settle {
            let line = self.rights.scripts();
            let message = format!(
                "{}: extending a receipt takes a script, and the user may call none; grant it `{line}`",
                self.name
            );
            return Err(Fault::new(FaultKind::Denied, message));
        }
        if let Some(marker) = &settlement.marker
            && let Some(settled) = self.mark(marker, settlement, until).await?
        {
            return Ok(settled);
        }
        let commands = self.giving_back(settlement);
        if !commands.is_empty() {
            self.run(commands, until).await.map_err(|failure| failure.fault)?;
        }
        Ok(Settled::Done)
    }

    /// Remembers that the receipt is settled; none if it was not before.
    async fn mark(&self, marker: &str, settlement: &Settlement, until: Instant) -> Result<Option<Settled>, Fault> {
        let lives = self.lives();
        let open_us = settlement.until.as_micros();
        let is_late = lives.now_us > open_us;
        let life_ms =
            (open_us.saturating_sub(lives.now_us) + settlement.remembered_us).div_ceil(1_000) + lives.grace_ms;
        let mut commands = Pipeline::new();
        if is_late {
            commands.cmd("GET").arg(marker);
        } else {
            commands.cmd("SET").arg(marker).arg("settled").arg("NX").arg("PX").arg(life_ms);
        }
        let answers = self.run(commands, until).await.map_err(|failure| failure.fault)?;
        match answers.into_iter().next() {
            Some(Value::ServerError(error)) => Err(fault::fault(&self.name, &error.into())),
            Some(Value::Nil) if is_late => Ok(Some(Settled::Late)),
            Some(Value::Okay) => Ok(None),
            _ => Ok(Some(Settled::Already)),
        }
    }

    /// What gives back to the windows that are not over.
    fn giving_back(&self, settlement: &Settlement) -> Pipeline {
        let (lives, mut commands) = (self.lives(), Pipeline::new());
        for held in settlement.held.iter().filter(|held| held.unused > 0) {
            let window = Window::at(held.limit.rule(), held.mark_us).filter(|window| window.start_us == held.mark_us);
            if let Some(window) = window.filter(|window| !window.is_forgotten(lives.now_us)) {
                Cell::new(&held.key, window).give_back(&mut commands, held.unused, lives);
            }
        }
        commands
    }
}
