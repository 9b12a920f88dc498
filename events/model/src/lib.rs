//! The shared vocabulary of the platform: ids, the envelope, every event with its class and effect, and the wire
//! forms that services exchange about access.
//!
//! It owns names and shapes. It refuses to know how anything is stored, sent, decided or resolved: no clock, no
//! randomness, no I/O.

mod access;
mod catalog;
mod company;
mod decode;
mod delegation;
mod envelope;
mod epoch;
mod event;
mod ids;
mod invitation;
mod keyring;
mod keys;
mod membership;
mod position;
mod role;
mod sealed;
mod sequence;
mod session;
mod signin;
mod staff;
mod stream;
mod subject;
mod subscription;
mod time;
mod trace;
mod user;

pub use access::{
    AccessAnswer, AccessContext, AccessOutcome, AccessSubject, ContextMeta, DelegationRights, Denied, Giver, Head,
    Heads,
};
pub use catalog::{AddonEvent, ModuleEvent, PackageEvent};
pub use company::CompanyEvent;
pub use decode::{DecodeError, UpcastError, Upcaster, decode_as};
pub use delegation::{DelegationEndCause, DelegationEvent};
pub use envelope::{Actor, Envelope, Meta, RecordedEvent};
pub use epoch::LogEvent;
pub use event::{Aggregate, AnyEvent, Encoded, Event};
pub use ids::{
    CompanyId, DelegationId, EventId, FactorId, InvitationId, MembershipId, RequestId, RoleId, SecretId, SessionId,
    UserId,
};
pub use invitation::{InvitationEvent, InvitedGrants};
pub use keyring::{KeyringEvent, PublicKey, SigningAlgorithm};
pub use keys::{AddonKey, InvalidKey, KeyId, ModuleKey, PackageKey, PermissionKey, Slug};
pub use membership::{MembershipEvent, TenantRole};
pub use position::{AsOf, Class, Cursor, Effect, Log, Position};
pub use role::RoleEvent;
pub use sealed::Sealed;
pub use sequence::{Sequence, Step, View};
pub use session::{AuthMethod, SessionEndCause, SessionEvent};
pub use signin::{SigninEvent, SigninFailure};
pub use staff::{StaffEvent, StaffRole};
pub use stream::StreamName;
pub use subject::{header, subject_for};
pub use subscription::{EntitlementCause, EntitlementSource, Limits, ModuleEntitlement, SourceKind, SubscriptionEvent};
pub use time::Timestamp;
pub use trace::TraceParent;
pub use user::{FactorKind, FactorMaterial, PasswordCause, SecretPurpose, UserEvent};
