//! What arrives over the bus, and waits there while an event before it is missing.

use async_nats::{Message, Subscriber, connection::State};
use futures_util::{
    FutureExt as _, StreamExt as _,
    stream::{SelectAll, select_all},
};
use kisum_events::{Class, Cursor, Envelope, Log, Position, Sequence, Step, View, header};
use std::{collections::BTreeMap, future::pending, time::Duration};

/// Most events kept while a predecessor is missing; beyond it pages are asked for at once.
const WAITING_MAX: usize = 2_048;
/// Most messages taken at once, so that a commit is not put off by an endless stream.
const DRAIN_MAX: usize = 500;
/// Subscribing only hands a line to the client; one that is that busy is tried again with the next page.
const SUBSCRIBE_MAX: Duration = Duration::from_millis(100);

/// A connection to the bus, and the plain subscriptions over it. One subscription per class, because the right to
/// subscribe is given by class.
#[derive(Debug)]
pub(super) struct Bus {
    nats: async_nats::Client,
    messages: Option<SelectAll<Subscriber>>,
}

impl Bus {
    pub(super) const fn new(nats: async_nats::Client) -> Self {
        Self { nats, messages: None }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.messages.is_some() && self.nats.connection_state() == State::Connected
    }

    /// Subscribes, unless it has; while the server is away the client subscribes again by itself. Without the bus
    /// pages go on, so what is wrong is only said.
    pub(super) async fn subscribe(&mut self, log: Log, class: Option<Class>) {
        if self.messages.is_some() {
            return;
        }
        let classes: &[Class] = match class {
            Some(Class::Access) => &[Class::Access],
            // Positions alone tell what an event of class info follows on.
            Some(Class::Info) | None => &[Class::Access, Class::Info],
        };
        let nats = &self.nats;
        let subscribing = async {
            let mut messages = Vec::new();
            for class in classes {
                messages.push(nats.subscribe(format!("kisum.{log}.v1.{}.>", class.name())).await?);
            }
            Ok::<_, async_nats::SubscribeError>(messages)
        };
        match tokio::time::timeout(SUBSCRIBE_MAX, subscribing).await {
            Ok(Ok(messages)) => self.messages = Some(select_all(messages)),
            Ok(Err(error)) => tracing::warn!(event = "follow.bus_unavailable", log = log.name(), %error),
            Err(_) => tracing::warn!(event = "follow.bus_unavailable", log = log.name(), error = "the client is busy"),
        }
    }

    /// The client has ended the subscriptions.
    pub(super) fn ended(&mut self) {
        self.messages = None;
    }
}

/// The next messages: at least one, and whatever else has arrived. Empty when the client is closed; never without a
/// bus.
pub(super) async fn arrived(bus: &mut Option<Bus>) -> Vec<Message> {
    let Some(Bus { messages: Some(messages), .. }) = bus else { return pending().await };
    let mut arrived = Vec::new();
    if let Some(message) = messages.next().await {
        arrived.push(message);
        while arrived.len() < DRAIN_MAX
            && let Some(Some(message)) = messages.next().now_or_never()
        {
            arrived.push(message);
        }
    }
    arrived
}

/// Why a page should be asked for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// A message is not an event.
    Unreadable,
    /// An event of a later epoch came.
    Epoch,
    /// Too many events wait for a missing one.
    Full,
}

/// Events that wait for their turn.
#[derive(Debug)]
pub(super) struct Inbox {
    view: View,
    waiting: BTreeMap<Position, Envelope>,
}

impl Inbox {
    pub(super) const fn new(view: View) -> Self {
        Self { view, waiting: BTreeMap::new() }
    }

    /// Takes a message of a log that is applied up to `at`.
    pub(super) fn take(&mut self, at: Cursor, message: &Message) -> Result<(), Doubt> {
        let epoch = message.headers.as_ref().and_then(|headers| headers.get(header::EPOCH));
        let epoch = epoch.and_then(|epoch| epoch.as_str().parse().ok()).ok_or(Doubt::Unreadable)?;
        self.take_event(at, epoch, &message.payload)
    }

    /// `epoch` is that of the stream: the one inside the event is older where the log was published anew.
    fn take_event(&mut self, at: Cursor, epoch: u32, body: &[u8]) -> Result<(), Doubt> {
        let event: Envelope = serde_json::from_slice(body).map_err(|_| Doubt::Unreadable)?;
        let place = Cursor { epoch, position: event.position };
        match Sequence::new(self.view, at).judge(place, event.previous_access_position) {
            Step::Old => Ok(()),
            // What a relay of an epoch that is over still sends is not news.
            Step::OtherEpoch if epoch < at.epoch => Ok(()),
            Step::OtherEpoch => Err(Doubt::Epoch),
            Step::Apply | Step::Hole { .. } => {
                self.waiting.insert(event.position, event);
                if self.waiting.len() > WAITING_MAX { Err(Doubt::Full) } else { Ok(()) }
            }
        }
    }

    /// The events that follow directly on `at`.
    pub(super) fn ready(&mut self, at: Cursor) -> Vec<Envelope> {
        let mut sequence = Sequence::new(self.view, at);
        let mut ready = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            // INVARIANT: whatever waits is of the epoch of `at`; a later epoch makes the follower forget it all.
            let place = Cursor { epoch: at.epoch, position: *first.key() };
            match sequence.judge(place, first.get().previous_access_position) {
                Step::Apply => {
                    sequence.applied(place.position);
                    ready.push(first.remove());
                }
                Step::Old | Step::OtherEpoch => drop(first.remove()),
                Step::Hole { .. } => break,
            }
        }
        ready
    }

    /// Whether an event waits for one that has not come.
    pub(super) fn has_hole(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Forgets everything: it will be read from pages.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Doubt, Inbox, View, WAITING_MAX};
    use kisum_events::Cursor;

    const AT: Cursor = Cursor { epoch: 2, position: 4 };

    /// An event of epoch 1, whatever stream carries it.
    fn body(position: u64) -> Vec<u8> {
        let event = serde_json::json!({
            "id": uuid::Uuid::nil(), "log": "core", "epoch": 1, "position": position,
            "previousAccessPosition": 0, "stream": "module-finance", "version": 1, "type": "module.defined",
            "schema": 1, "effect": "none", "recordedAt": "2026-01-01T00:00:00Z",
            "data": { "key": "finance", "name": "Finance" },
            "meta": { "actor": "system", "requestId": uuid::Uuid::nil() },
        });
        event.to_string().into_bytes()
    }

    fn positions(inbox: &mut Inbox) -> Vec<u64> {
        inbox.ready(AT).iter().map(|event| event.position).collect()
    }

    #[test]
    fn events_in_disorder_are_given_back_in_order() {
        let mut inbox = Inbox::new(View::Everything);
        for position in [6, 5, 4, 8] {
            assert_eq!(inbox.take_event(AT, 2, &body(position)), Ok(()));
        }
        assert_eq!(positions(&mut inbox), [5, 6]);
        assert!(inbox.has_hole());
    }

    #[test]
    fn what_an_epoch_that_is_over_still_sends_is_not_news() {
        let mut inbox = Inbox::new(View::Everything);
        assert_eq!(inbox.take_event(AT, 1, &body(5)), Ok(()));
        assert!(!inbox.has_hole());
    }

    #[test]
    fn pages_are_asked_for_about_a_later_epoch_nonsense_and_a_hole_that_stays() {
        let mut inbox = Inbox::new(View::Everything);
        assert_eq!(inbox.take_event(AT, 3, &body(5)), Err(Doubt::Epoch));
        assert_eq!(inbox.take_event(AT, 2, b"\xff"), Err(Doubt::Unreadable));
        let last = 6 + WAITING_MAX as u64;
        let verdicts: Vec<_> = (6..=last).map(|position| inbox.take_event(AT, 2, &body(position))).collect();
        assert_eq!(verdicts.last(), Some(&Err(Doubt::Full)));
        assert_eq!(verdicts.iter().filter(|verdict| verdict.is_err()).count(), 1);
    }
}
