//! What the log bench appends: an event of about 300 bytes on a stream with a state, as a grant would be.

use kisum_events::{Aggregate, CompanyId, Effect, Event};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub(crate) enum Happened {
    #[serde(rename = "bench.happened")]
    Happened { filler: String },
}

impl Event for Happened {
    const TYPES: &'static [&'static str] = &["bench.happened"];
    fn event_type(&self) -> &'static str {
        "bench.happened"
    }
    fn effect(&self) -> Effect {
        Effect::Widens
    }
    fn company(&self) -> Option<CompanyId> {
        None
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) count: u64,
    filler: String,
}

impl Aggregate for Counted {
    type Event = Happened;
    const STATE_SCHEMA: u16 = 1;
    fn evolve(&mut self, event: &Happened, _version: u64) {
        let Happened::Happened { filler } = event;
        self.count = self.count.saturating_add(1);
        self.filler.clone_from(filler);
    }
}

/// About 300 bytes with everything around it.
pub(crate) fn filler() -> String {
    "x".repeat(100)
}
