//! `kisum projections list`: where each projection stands beside its log, and what stopped it.

use super::reach::Reach;
use crate::ambient;
use anyhow::Result;
use kisum_events::{Log, Timestamp};
use kisum_projectors::{Checkpoint, LogPage, Poison, Registered, read_checkpoint};
use serde_json::{Value, json};
use std::{fmt, process::ExitCode};

/// What a projection is to whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It folds its log.
    Live,
    /// It has not folded its epoch's log to the end yet: what its rows lack may well exist.
    StartingOver,
    /// An event stopped it.
    Poisoned,
    /// It never ran.
    NotBegun,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::StartingOver => "starting over",
            Self::Poisoned => "poisoned",
            Self::NotBegun => "not begun",
        }
    }
}

/// One projection beside its log.
#[derive(Debug)]
struct Standing {
    name: &'static str,
    log: Log,
    database: Log,
    epoch: u32,
    position: u64,
    state: State,
    lag_events: u64,
    /// Since the first event that is not applied was recorded.
    lag_seconds: f64,
    poison: Option<Poison>,
}

impl Standing {
    fn of(one: &Registered, stored: Option<Checkpoint>, page: &LogPage, now: Timestamp) -> Self {
        let stored = stored.filter(|stored| stored.cursor.epoch > 0);
        let at = stored.as_ref().map(|stored| stored.cursor).unwrap_or_default();
        let starts_over = stored.as_ref().is_some_and(|stored| stored.starting_over) || at.epoch != page.epoch;
        let poison = stored.as_ref().and_then(|stored| stored.poison.clone());
        let state = match (&stored, &poison) {
            (None, _) => State::NotBegun,
            (Some(_), Some(_)) => State::Poisoned,
            (Some(_), None) if starts_over => State::StartingOver,
            (Some(_), None) => State::Live,
        };
        // Of another epoch nothing counts as applied.
        let applied = if at.epoch == page.epoch { at.position } else { 0 };
        let next = page.events.first();
        Self {
            name: one.name,
            log: one.log,
            database: one.database,
            epoch: at.epoch,
            position: at.position,
            state,
            lag_events: page.position.unwrap_or(0).saturating_sub(applied),
            lag_seconds: next.map_or(0.0, |next| now.since(next.recorded_at).as_secs_f64()),
            poison,
        }
    }

    fn json(&self) -> Value {
        let poison = self.poison.as_ref().map(|poison| json!({ "position": poison.position, "error": poison.error }));
        json!({
            "projection": self.name, "log": self.log, "database": self.database, "epoch": self.epoch,
            "position": self.position, "state": self.state.name(), "lagEvents": self.lag_events,
            "lagSeconds": (self.lag_seconds * 1000.0).round() / 1000.0, "poison": poison,
        })
    }
}

/// A line for people, and one more for what stopped it.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, log, database) = (self.name, self.log.name(), self.database.name());
        let at = format!("{}:{}", self.epoch, self.position);
        let lag = match self.lag_events {
            0 => "nothing".to_owned(),
            events => format!("{events} events, {:.1} s", self.lag_seconds),
        };
        write!(f, "{name:<18} {log:<5} {database:<9} {:<14} {at:<12} {lag}", self.state.name())?;
        match &self.poison {
            Some(poison) => write!(f, "\n  event {} cannot be applied: {}", poison.position, poison.error),
            None => Ok(()),
        }
    }
}

/// Lists them; 1 when an event has stopped one.
pub(super) async fn run(wanted: &[Registered], reach: &Reach, json: bool) -> Result<ExitCode> {
    let mut standings = Vec::with_capacity(wanted.len());
    for one in wanted {
        let mut conn = reach.database(one)?.acquire().await?;
        let stored = read_checkpoint(&mut conn, one.name).await?;
        drop(conn);
        // The checkpoint first: a log only grows, so that what is behind is never said to be less than it was.
        let page = reach.page(one, stored.as_ref().map_or(0, |stored| stored.cursor.position)).await?;
        standings.push(Standing::of(one, stored, &page, ambient::now()));
    }
    if !json {
        println!("{:<18} {:<5} {:<9} {:<14} {:<12} behind by", "projection", "log", "database", "state", "at");
    }
    for standing in &standings {
        if json {
            println!("{}", standing.json());
        } else {
            println!("{standing}");
        }
    }
    let is_poisoned = standings.iter().any(|standing| standing.state == State::Poisoned);
    Ok(if is_poisoned { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, LogPage, Poison, Standing, State, Timestamp};
    use kisum_events::Cursor;
    use kisum_projectors::registry;

    fn standing(stored: Option<Checkpoint>, epoch: u32) -> Standing {
        let page = LogPage { epoch, position: Some(30), events: Vec::new() };
        Standing::of(&registry::ALL[0], stored, &page, Timestamp::from_micros(0))
    }

    fn checkpoint(epoch: u32, position: u64, starting_over: bool, is_poisoned: bool) -> Checkpoint {
        let poison = is_poisoned.then(|| Poison { position: position + 1, error: "no such type".to_owned() });
        let updated_at = Timestamp::from_micros(0);
        Checkpoint { cursor: Cursor { epoch, position }, updated_at, starting_over, poison }
    }

    #[test]
    fn a_projection_is_what_its_readers_must_take_it_for() {
        for (stored, epoch, state, lag) in [
            (None, 1, State::NotBegun, 30),
            (Some(checkpoint(0, 0, false, false)), 1, State::NotBegun, 30),
            (Some(checkpoint(1, 30, false, false)), 1, State::Live, 0),
            (Some(checkpoint(1, 10, true, false)), 1, State::StartingOver, 20),
            (Some(checkpoint(1, 10, false, false)), 2, State::StartingOver, 30),
            (Some(checkpoint(1, 10, false, true)), 1, State::Poisoned, 20),
        ] {
            let found = standing(stored.clone(), epoch);
            assert_eq!((found.state, found.lag_events), (state, lag), "{stored:?} of a log in epoch {epoch}");
        }
    }

    #[test]
    fn what_stopped_it_is_said_with_its_position() {
        let text = standing(Some(checkpoint(1, 10, false, true)), 1).to_string();
        assert!(text.contains("event 11 cannot be applied: no such type"), "{text}");
    }
}
