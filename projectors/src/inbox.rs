//! What arrives over the bus and cannot be applied yet: events in disorder, until their predecessors come.

use async_nats::Message;
use futures_util::{FutureExt as _, StreamExt as _, stream::Select};
use kisum_events::{Cursor, Envelope, Log, Position, Sequence, Step, View, header};
use std::collections::BTreeMap;

/// Most events kept while a predecessor is missing; beyond it the log's owner is asked sooner.
const WAITING_MAX: usize = 2_048;
/// Most messages taken at once, so that a commit is not put off by an endless stream.
const DRAIN_MAX: usize = 500;

/// Plain subscriptions to both classes of a log. Two, because the right to subscribe is given by class.
pub(crate) struct Subscription {
    messages: Select<async_nats::Subscriber, async_nats::Subscriber>,
}

impl Subscription {
    /// Subscribes; while the server is away the client subscribes again by itself.
    pub(crate) async fn open(nats: &async_nats::Client, log: Log) -> Result<Self, async_nats::SubscribeError> {
        let access = nats.subscribe(format!("kisum.{log}.v1.access.>")).await?;
        let info = nats.subscribe(format!("kisum.{log}.v1.info.>")).await?;
        Ok(Self { messages: futures_util::stream::select(access, info) })
    }

    /// The next messages: at least one, and whatever else has arrived. Empty when the client is closed.
    pub(crate) async fn next(&mut self) -> Vec<Message> {
        let mut arrived = Vec::new();
        if let Some(message) = self.messages.next().await {
            arrived.push(message);
            while arrived.len() < DRAIN_MAX
                && let Some(Some(message)) = self.messages.next().now_or_never()
            {
                arrived.push(message);
            }
        }
        arrived
    }
}

/// Why the log's owner should be asked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// A message is not an event.
    Unreadable,
    /// An event of a later epoch came.
    Epoch,
    /// Too many events wait for a missing one.
    Full,
}

/// Events that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: BTreeMap<Position, Envelope>,
}

impl Inbox {
    /// Takes a message of a log that is applied up to `at`.
    pub(crate) fn take(&mut self, at: Cursor, message: &Message) -> Result<(), Doubt> {
        let epoch = message.headers.as_ref().and_then(|headers| headers.get(header::EPOCH));
        let epoch = epoch.and_then(|epoch| epoch.as_str().parse().ok()).ok_or(Doubt::Unreadable)?;
        self.take_event(at, epoch, &message.payload)
    }

    /// `epoch` is that of the stream: the one inside the event is older where the log was published anew.
    fn take_event(&mut self, at: Cursor, epoch: u32, body: &[u8]) -> Result<(), Doubt> {
        let event: Envelope = serde_json::from_slice(body).map_err(|_| Doubt::Unreadable)?;
        let place = Cursor { epoch, position: event.position };
        match Sequence::new(View::Everything, at).judge(place, event.previous_access_position) {
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
    pub(crate) fn ready(&mut self, at: Cursor) -> Vec<Envelope> {
        let mut sequence = Sequence::new(View::Everything, at);
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
    pub(crate) fn has_hole(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Forgets everything: it will be read from the log's owner.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Doubt, Inbox, WAITING_MAX};
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
        let mut inbox = Inbox::default();
        for position in [6, 5, 4, 8] {
            assert_eq!(inbox.take_event(AT, 2, &body(position)), Ok(()));
        }
        assert_eq!(positions(&mut inbox), [5, 6]);
        assert!(inbox.has_hole());
    }

    #[test]
    fn what_an_epoch_that_is_over_still_sends_is_not_news() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.take_event(AT, 1, &body(5)), Ok(()));
        assert!(!inbox.has_hole());
    }

    #[test]
    fn the_owner_is_asked_about_a_later_epoch_nonsense_and_a_hole_that_stays() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.take_event(AT, 3, &body(5)), Err(Doubt::Epoch));
        assert_eq!(inbox.take_event(AT, 2, b"\xff"), Err(Doubt::Unreadable));
        let last = 6 + WAITING_MAX as u64;
        let verdicts: Vec<_> = (6..=last).map(|position| inbox.take_event(AT, 2, &body(position))).collect();
        assert_eq!(verdicts.last(), Some(&Err(Doubt::Full)));
        assert_eq!(verdicts.iter().filter(|verdict| verdict.is_err()).count(), 1);
    }
}
