//! Subjects and headers on the bus (contract, *NATS*).

use crate::{CompanyId, Effect, Log};

/// `kisum.{log}.v1.{class}.{company|_}.{event type}`; the type keeps its dot, so it fills two tokens.
pub fn subject_for(log: Log, effect: Effect, company: Option<CompanyId>, event_type: &str) -> String {
    let class = effect.class().name();
    match company {
        Some(company) => format!("kisum.{log}.v1.{class}.{company}.{event_type}"),
        None => format!("kisum.{log}.v1.{class}._.{event_type}"),
    }
}

/// Header names of a published event.
pub mod header {
    /// The event's id.
    pub const EVENT_ID: &str = "Kisum-Event-Id";
    /// Its position, which is also the stream's sequence.
    pub const POSITION: &str = "Kisum-Position";
    /// Its epoch number.
    pub const EPOCH: &str = "Kisum-Epoch";
    /// Position of the access event before it in the same log, 0 when there is none.
    pub const PREVIOUS_ACCESS_POSITION: &str = "Kisum-Previous-Access-Position";
    /// `narrows`, `widens` or `none`.
    pub const EFFECT: &str = "Kisum-Effect";
    /// The step of a trace that wrote the event, where it is known (W3C Trace Context).
    pub const TRACEPARENT: &str = crate::TraceParent::HEADER;
}
