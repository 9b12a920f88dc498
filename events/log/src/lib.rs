//! The log: append by group commit, stream states, claims, sealing, reading, following, and the relay to JetStream.
//!
//! It owns positions, versions and epochs. It knows no domain: what an event means, and what a state is the fold of,
//! is given to it through [`kisum_events::Event`] and [`kisum_events::Aggregate`].

mod ambient;
mod append;
mod appender;
mod arrays;
mod backoff;
mod epoch;
mod error;
mod event_log;
#[cfg(not(feature = "failpoints"))]
mod fail_points;
#[cfg(feature = "failpoints")]
pub mod fail_points;
mod follow;
mod head;
mod load;
mod metric_names;
mod read;
mod reads;
pub mod relay;
mod rewrap;
mod seal;
mod subscribers;
mod trace;
mod verify;

pub use append::{AccessWrite, Append, ClaimKey, Receipt};
pub use backoff::Backoff;
pub use epoch::{
    EpochBegun, EpochError, EpochStanding, LogIdentity, LogStream, LogStreams, Published, StreamsError, UnknownEvent,
    begin_epoch,
};
pub use error::{AppendError, LoadError, OpenError, SealError};
pub use event_log::{EventLog, Opened};
pub use follow::{
    Follow, FollowError, FollowStream, FollowStreamError, LogPage, LogSource, PageError, Pages, SourceError,
};
pub use head::{LogHead, read_head, read_head_with_barrier};
pub use load::Loaded;
pub use metric_names::describe_metrics;
pub use read::{read, read_at};
pub use reads::{Group, Reads};
pub use rewrap::Rewrapped;
pub use seal::Sealer;
pub use subscribers::{ProvisionError, SubjectsError, Subscriber, SubscriberSubjects, Subscribers};
pub use trace::Caused;
pub use verify::{Difference, Verified, VerifyError, verify};
