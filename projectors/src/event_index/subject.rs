//! Whom an event concerns, as far as it says so itself or its stream has said so before.

use kisum_events::{
    Actor, AnyEvent, CompanyEvent, CompanyId, Envelope, MembershipEvent, SessionEvent, StreamName, UserEvent, UserId,
};

/// What events are looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKey {
    /// The company that the envelope names.
    Company(CompanyId),
    /// A person whom the event is about: theirs is the account, the session or the membership, or it names them.
    Person(UserId),
    /// Who acted.
    Actor(Actor),
}

impl EventKey {
    /// `company`, `person` or `actor`, as stored.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Company(_) => "company",
            Self::Person(_) => "person",
            Self::Actor(_) => "actor",
        }
    }

    /// The key as stored.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Company(id) => id.to_string(),
            Self::Person(id) => id.to_string(),
            Self::Actor(actor) => actor.to_string(),
        }
    }

    /// Whether the envelope alone says that the event is found by this. It never says so of a person.
    pub(super) fn is_on(&self, envelope: &Envelope) -> bool {
        match self {
            Self::Company(id) => envelope.company_id == Some(*id),
            Self::Actor(actor) => envelope.meta.actor == *actor,
            Self::Person(_) => false,
        }
    }
}

/// Whether an event of the stream concerns whomever earlier ones named: what happens to a session or a membership
/// happens to its person. A company's founder is not concerned by all that happens to the company.
pub(super) fn inherits(stream: &StreamName) -> bool {
    matches!(stream.kind(), "session" | "membership")
}

/// The persons that an event itself names, its stream's name included.
pub(super) fn persons_named(stream: &StreamName, event: &AnyEvent) -> impl Iterator<Item = UserId> + use<> {
    stream.person().into_iter().chain(named_in(event))
}

fn named_in(event: &AnyEvent) -> Option<UserId> {
    match event {
        AnyEvent::Session(SessionEvent::Started { user_id, .. } | SessionEvent::Ended { user_id, .. })
        | AnyEvent::Membership(MembershipEvent::Created { user_id, .. }) => Some(*user_id),
        AnyEvent::Company(CompanyEvent::Registered { owner, .. }) => Some(*owner),
        AnyEvent::User(
            UserEvent::Registered { .. }
            | UserEvent::EmailVerified
            | UserEvent::PasswordSet { .. }
            | UserEvent::Suspended
            | UserEvent::Reactivated
            | UserEvent::SessionsEnded
            | UserEvent::SecretIssued { .. }
            | UserEvent::SecretUsed { .. }
            | UserEvent::RegistrationAttempted
            | UserEvent::CompanyRequested { .. }
            | UserEvent::FactorAdded { .. }
            | UserEvent::FactorRemoved { .. }
            | UserEvent::FactorUsed { .. }
            | UserEvent::RecoveryCodesIssued { .. }
            | UserEvent::RecoveryCodeUsed { .. }
            | UserEvent::Erased,
        )
        | AnyEvent::Session(
            SessionEvent::Refreshed { .. }
            | SessionEvent::ReuseDetected { .. }
            | SessionEvent::Kept { .. }
            | SessionEvent::SteppedUp { .. },
        )
        // The superadmins that it lists are memberships; whoever became or ceased to be one has an event of their own.
        | AnyEvent::Company(
            CompanyEvent::Approved
            | CompanyEvent::Rejected { .. }
            | CompanyEvent::Suspended { .. }
            | CompanyEvent::Reactivated
            | CompanyEvent::SuperadminsChanged { .. }
            | CompanyEvent::SeatsChanged { .. }
            | CompanyEvent::PolicySet { .. },
        )
        | AnyEvent::Membership(
            MembershipEvent::TenantRoleChanged { .. }
            | MembershipEvent::Suspended
            | MembershipEvent::Reactivated
            | MembershipEvent::Revoked
            | MembershipEvent::ModuleGranted { .. }
            | MembershipEvent::ModuleRevoked { .. }
            | MembershipEvent::PermissionGranted { .. }
            | MembershipEvent::PermissionRevoked { .. }
            | MembershipEvent::RoleAssigned { .. }
            | MembershipEvent::RoleUnassigned { .. }
            | MembershipEvent::DelegationReceived { .. }
            | MembershipEvent::DelegationGiven { .. }
            | MembershipEvent::DelegationEnded { .. },
        )
        // Whoever is assigned one has an event of their own.
        | AnyEvent::Role(_)
        | AnyEvent::Delegation(_)
        | AnyEvent::Module(_)
        | AnyEvent::Package(_)
        | AnyEvent::Addon(_)
        | AnyEvent::Subscription(_)
        | AnyEvent::Log(_)
        | AnyEvent::Keyring(_)
        // Nobody who has an account, as far as it says; whoever accepts it has a membership from then on.
        | AnyEvent::Invitation(_)
        // Their streams' names say whose they are.
        | AnyEvent::Staff(_)
        | AnyEvent::Signin(_) => None,
    }
}
