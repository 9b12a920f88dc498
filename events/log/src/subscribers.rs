//! Durable consumers, provisioned for services that need replay: which there are, and making and removing them.
//!
//! It works as the NATS administrator. It refuses to know who may fetch from a consumer: that stands in the server's
//! configuration. A subscriber's name is its consumer's on the stream of every epoch, and of one log alone, so that one
//! right by name reaches that subscriber's events and nobody else's.

mod subjects;

pub use subjects::{SubjectsError, SubscriberSubjects};

use crate::{LogStream, LogStreams, StreamsError, epoch::failed};
use async_nats::jetstream::{
    self,
    consumer::{self, AckPolicy, DeliverPolicy, pull},
    context::{ConsumerInfoErrorKind, ContextBuilder},
    stream::Stream,
};
use futures_util::TryStreamExt as _;
use kisum_events::Log;
use std::time::Duration;

/// How long one question to JetStream may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// An event that was fetched and not acknowledged is given out again after this.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// Events that are given out and not acknowledged, at most. With one, a crash can repeat an event and never reorder two.
const UNACKNOWLEDGED_MAX: i64 = 1;
/// The first server that takes several subjects for one consumer.
const SEVERAL_SUBJECTS: (u64, u64) = (2, 10);

/// Why a consumer was not provisioned.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// JetStream did not answer or refused.
    #[error(transparent)]
    Streams(#[from] StreamsError),
    /// No relay has published the log yet.
    #[error("no stream carries the {0} log: start its relay first")]
    NoStream(Log),
    /// The subscriber has a consumer of the other log.
    #[error("{name} is subscribed to the {log} log already: one name, one log")]
    OtherLog {
        /// The subscriber.
        name: String,
        /// Where its consumer is.
        log: Log,
    },
    /// Its consumer was made for something else. Changing it would skip events without a word.
    #[error("{name} is subscribed to {subjects} on {stream}: remove it first, and it begins anew")]
    OtherSubjects {
        /// The subscriber.
        name: String,
        /// Its stream.
        stream: String,
        /// What it gets.
        subjects: String,
    },
    /// The server cannot.
    #[error("nats-server {0} takes one subject a consumer: say a wider one, or add one subscriber for each")]
    OneSubject(String),
}

/// A subscriber's place on one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Its name.
    pub name: String,
    /// The log it reads.
    pub log: Log,
    /// The stream, `CORE_1`.
    pub stream: String,
    /// The epoch that this stream carries.
    pub epoch: u32,
    /// Whether that epoch is over: nothing comes here any more.
    pub is_retired: bool,
    /// What it gets.
    pub subjects: Vec<String>,
    /// Everything up to here is acknowledged.
    pub acknowledged: u64,
    /// Events that it has not been given yet.
    pub pending: u64,
    /// Events that it was given and has not acknowledged.
    pub unacknowledged: u64,
}

/// The subscribers of both logs.
#[derive(Clone)]
pub struct Subscribers {
    nats: async_nats::Client,
    jetstream: jetstream::Context,
}

impl std::fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscribers").finish_non_exhaustive()
    }
}

impl Subscribers {
    /// The subscribers as an administrator's connection sees them.
    pub fn new(nats: async_nats::Client) -> Self {
        Self { jetstream: ContextBuilder::new().timeout(ANSWER_MAX).build(nats.clone()), nats }
    }

    /// Every consumer that has a name of its own, on every stream of both logs. Those that a follower makes for
    /// itself, and that vanish with it, are left out.
    ///
    /// # Errors
    /// [`StreamsError::JetStream`].
    pub async fn list(&self) -> Result<Vec<Subscriber>, StreamsError> {
        let mut found = Vec::new();
        for log in [Log::Auth, Log::Core] {
            for stream in self.streams(log).list().await? {
                let handle = self.stream(&stream.name).await?;
                let mut consumers = handle.consumers();
                let listing = || format!("listing the consumers of {}", stream.name);
                while let Some(info) = consumers.try_next().await.map_err(|error| failed(listing(), &error))? {
                    if info.config.durable_name.is_some() {
                        found.push(subscriber(log, &stream, &info));
                    }
                }
            }
        }
        found.sort_by(|a, b| (&a.name, a.epoch).cmp(&(&b.name, b.epoch)));
        Ok(found)
    }

    /// Gives a subscriber its consumer on the stream of the log's current epoch, beginning with the first event.
    /// Answers it, and whether it is new.
    ///
    /// # Errors
    /// [`ProvisionError`].
    pub async fn provision(
        &self,
        name: &str,
        subjects: &SubscriberSubjects,
    ) -> Result<(Subscriber, bool), ProvisionError> {
        let log = subjects.log();
        if let Some(other) = self.list().await?.into_iter().find(|known| known.name == name && known.log != log) {
            return Err(ProvisionError::OtherLog { name: other.name, log: other.log });
        }
        let streams = self.streams(log).list().await?;
        let current = streams.into_iter().rfind(|stream| !stream.is_retired).ok_or(ProvisionError::NoStream(log))?;
        let handle = self.stream(&current.name).await?;
        let config = self.config(name, subjects)?;
        let (info, is_new) = match handle.consumer_info(name).await {
            Ok(info) => (info, false),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
                let made = handle.create_consumer(config).await;
                let made = made.map_err(|error| failed(format!("making a consumer on {}", current.name), &error))?;
                (made.cached_info().clone(), true)
            }
            Err(error) => return Err(failed(format!("looking for a consumer on {}", current.name), &error).into()),
        };
        let found = subscriber(log, &current, &info);
        if found.subjects != subjects.all() || info.config.deliver_subject.is_some() {
            let (stream, subjects) = (found.stream, found.subjects.join(" and "));
            return Err(ProvisionError::OtherSubjects { name: found.name, stream, subjects });
        }
        Ok((found, is_new))
    }

    /// Removes a subscriber's consumers from every stream, and with them its place. Answers where it had one.
    ///
    /// # Errors
    /// [`StreamsError::JetStream`].
    pub async fn remove(&self, name: &str) -> Result<Vec<Subscriber>, StreamsError> {
        let mut known = self.list().await?;
        known.retain(|subscriber| subscriber.name == name);
        for Subscriber { stream, .. } in &known {
            let removed = self.stream(stream).await?.delete_consumer(name).await;
            removed.map_err(|error| failed(format!("removing a consumer from {stream}"), &error))?;
        }
        Ok(known)
    }

    fn streams(&self, log: Log) -> LogStreams {
        LogStreams::new(self.nats.clone(), log)
    }

    async fn stream(&self, name: &str) -> Result<Stream, StreamsError> {
        self.jetstream.get_stream(name).await.map_err(|error| failed(format!("reading {name}"), &error))
    }

    fn config(&self, name: &str, subjects: &SubscriberSubjects) -> Result<pull::Config, ProvisionError> {
        let mut config = pull::Config {
            durable_name: Some(name.to_owned()),
            name: Some(name.to_owned()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: UNACKNOWLEDGED_MAX,
            ..pull::Config::default()
        };
        match subjects.filter() {
            [] => {}
            [one] => config.filter_subject.clone_from(one),
            several => {
                let version = self.nats.server_info().version;
                if !takes_several(&version) {
                    return Err(ProvisionError::OneSubject(version));
                }
                config.filter_subjects = several.to_vec();
            }
        }
        Ok(config)
    }
}

fn takes_several(version: &str) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse::<u64>().ok());
    parts.next().zip(parts.next()).is_some_and(|version| version >= SEVERAL_SUBJECTS)
}

fn subscriber(log: Log, stream: &LogStream, info: &consumer::Info) -> Subscriber {
    let consumer::Config { filter_subject, filter_subjects, .. } = &info.config;
    let mut subjects: Vec<String> = std::iter::once(filter_subject).chain(filter_subjects).cloned().collect();
    subjects.retain(|subject| !subject.is_empty());
    if subjects.is_empty() {
        subjects = SubscriberSubjects::everything(log).all().to_vec();
    }
    subjects.sort();
    Subscriber {
        name: info.name.clone(),
        log,
        stream: stream.name.clone(),
        epoch: stream.epoch,
        is_retired: stream.is_retired,
        subjects,
        acknowledged: info.ack_floor.stream_sequence,
        pending: info.num_pending,
        unacknowledged: u64::try_from(info.num_ack_pending).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::takes_several;

    #[test]
    fn a_server_takes_several_subjects_from_2_10_on() {
        assert!(["2.10.0", "2.10.22", "2.11.0-RC.1", "3.0"].into_iter().all(takes_several));
        assert!(!["2.9.10", "2.9", "1.20.0", "", "x"].into_iter().any(takes_several));
    }
}
