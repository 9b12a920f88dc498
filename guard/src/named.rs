//! Whom an access event is about: what of the guard's memory it makes old.
//!
//! It owns reading that out of an envelope. It refuses to judge what the event means: every event drops what it
//! names, whatever its effect (`consistency.md`), and an event that this program does not understand names everybody.

use kisum_events::{
    AccessSubject, AnyEvent, CompanyId, DelegationEvent, Envelope, Giver, MembershipEvent, MembershipId, SessionEvent,
    SessionId, Timestamp, UserId,
};

/// Whom an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Everybody in a company.
    Company(CompanyId),
    /// One membership. An answer "not a member" knows no membership, so the company and, where the event says it,
    /// the person tell whether it is meant.
    Membership {
        /// Which.
        id: MembershipId,
        /// Of which company, where the event says it.
        company: Option<CompanyId>,
        /// Whose, where the event says it.
        user: Option<UserId>,
    },
    /// One person, wherever.
    User(UserId),
    /// A session that is over, and its person: the context names the event that last ended one.
    EndedSession {
        /// Which.
        id: SessionId,
        /// Whose.
        user: UserId,
        /// Its last access token has expired by then.
        until: Timestamp,
    },
    /// Nobody's access: the keys that sign tokens.
    Keys,
    /// Anybody.
    Everybody,
}

impl Named {
    /// Reads an access event.
    pub(crate) fn by(envelope: &Envelope) -> Self {
        Self::read(envelope).unwrap_or(Self::Everybody)
    }

    fn read(envelope: &Envelope) -> Option<Self> {
        let id = envelope.stream.id();
        match envelope.stream.kind() {
            "user" | "staff" => Some(Self::User(id.parse().ok()?)),
            "company" | "subscription" => Some(Self::Company(id.parse().ok()?)),
            "role" => Some(Self::Company(envelope.company_id?)),
            // Whoever receives or loses something by it: what its giver holds it does not change.
            "delegation" => match envelope.decode() {
                Ok(AnyEvent::Delegation(DelegationEvent::Granted { to, .. } | DelegationEvent::Ended { to, .. })) => {
                    Some(Self::Membership { id: to, company: envelope.company_id, user: None })
                }
                _ => Some(Self::Company(envelope.company_id?)),
            },
            "membership" => {
                // Whatever happens to a membership, known or not, concerns it and whoever was not known to have it.
                let user = match envelope.decode() {
                    Ok(AnyEvent::Membership(MembershipEvent::Created { user_id, .. })) => Some(user_id),
                    _ => None,
                };
                Some(Self::Membership { id: id.parse().ok()?, company: envelope.company_id, user })
            }
            "session" => match envelope.decode().ok()? {
                AnyEvent::Session(SessionEvent::Ended { user_id, tokens_until, .. }) => {
                    Some(Self::EndedSession { id: id.parse().ok()?, user: user_id, until: tokens_until })
                }
                _ => None,
            },
            "keyring" => match envelope.decode().ok()? {
                AnyEvent::Keyring(_) => Some(Self::Keys),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether an answer about `subject` is old once this event happened.
    pub(crate) fn concerns(&self, subject: &AccessSubject) -> bool {
        let relies_on = |is_named: &dyn Fn(&Giver) -> bool| subject.relies_on.iter().any(is_named);
        match *self {
            Self::Everybody => true,
            Self::Keys => false,
            Self::Company(company) => subject.company_id == Some(company),
            Self::User(user) => subject.user_id == user || relies_on(&|giver| giver.user_id == user),
            Self::EndedSession { id, user, .. } => subject.session_id == id || subject.user_id == user,
            Self::Membership { id, company, user } => match subject.membership_id {
                Some(membership) => membership == id || relies_on(&|giver| giver.membership_id == id),
                None => {
                    let company_meant = company.is_none_or(|company| subject.company_id.is_none_or(|c| c == company));
                    company_meant && user.is_none_or(|user| subject.user_id == user)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Named;
    use crate::samples::{company, envelope, membership, permission_revoked, role, session, subject, user, wall};
    use kisum_events::{AccessSubject, Giver, Log, StreamName};
    use serde_json::{Value, json};

    fn named(stream: &StreamName, event_type: &str, data: Value) -> Named {
        Named::by(&envelope(Log::Auth, 2, 1, stream, (event_type, None, data)))
    }

    #[test]
    fn an_event_names_what_its_stream_is_about() {
        assert_eq!(named(&StreamName::user(user(1)), "user.suspended", json!({})), Named::User(user(1)));
        let staff = named(&StreamName::staff(user(1)), "staff.role_revoked", json!({ "role": "SUPPORT" }));
        assert_eq!(staff, Named::User(user(1)));
        let suspended = named(&StreamName::company(company(1)), "company.suspended", json!({ "reason": "unpaid" }));
        assert_eq!(suspended, Named::Company(company(1)));
        let data = json!({ "userId": user(1), "cause": "logout", "tokensUntil": wall() });
        let ended = named(&StreamName::session(session(3)), "session.ended", data);
        assert_eq!(ended, Named::EndedSession { id: session(3), user: user(1), until: wall() });
        let data = json!({ "companyId": company(1), "userId": user(1), "tenantRole": "USER", "via": "seed" });
        let created = named(&StreamName::membership(membership(4)), "membership.created", data);
        assert_eq!(created, Named::Membership { id: membership(4), company: None, user: Some(user(1)) });
    }

    #[test]
    fn an_event_of_a_later_program_names_at_least_what_it_may_concern() {
        let mut event = permission_revoked(2, 1, 4, 1);
        event.event_type = "membership.transferred".to_owned();
        let expected = Named::Membership { id: membership(4), company: Some(company(1)), user: None };
        let role = StreamName::role(role(5));
        assert_eq!(Named::by(&event), expected);
        let mut event = envelope(Log::Auth, 2, 1, &role, ("role.frozen", Some(company(1)), json!({})));
        assert_eq!(Named::by(&event), Named::Company(company(1)));
        event.company_id = None;
        assert_eq!(Named::by(&event), Named::Everybody);
        let session_event = named(&StreamName::session(session(3)), "session.narrowed", json!({}));
        assert_eq!(session_event, Named::Everybody);
        let other = named(&StreamName::from_stored("vault-7".to_owned()), "vault.opened", json!({}));
        assert_eq!(other, Named::Everybody);
        let no_id = named(&StreamName::from_stored("user-nobody".to_owned()), "user.suspended", json!({}));
        assert_eq!(no_id, Named::Everybody);
    }

    #[test]
    fn a_key_that_goes_makes_nobody_s_access_old_and_an_unknown_event_of_keys_everybody_s() {
        let removed = named(&StreamName::keyring(), "key.removed", json!({ "kid": "a" }));
        assert_eq!(removed, Named::Keys);
        assert!(!removed.concerns(&subject(1, 1, Some(1))));
        assert_eq!(named(&StreamName::keyring(), "key.suspended", json!({ "kid": "a" })), Named::Everybody);
    }

    #[test]
    fn a_refusal_is_concerned_only_by_its_own_company_and_person() {
        let joined =
            |user_n| Named::Membership { id: membership(9), company: Some(company(1)), user: Some(user(user_n)) };
        assert!(joined(1).concerns(&subject(1, 1, None)));
        assert!(!joined(2).concerns(&subject(1, 1, None)));
        assert!(!joined(1).concerns(&subject(1, 2, None)));
        assert!(!joined(1).concerns(&subject(1, 1, Some(4))));
    }

    #[test]
    fn what_rests_on_another_s_rights_is_concerned_by_whatever_happens_to_them_and_not_by_their_sessions() {
        let giver = Giver { user_id: user(7), membership_id: membership(7) };
        let subject = AccessSubject { relies_on: vec![giver], ..subject(1, 1, Some(4)) };
        let of_giver = Named::Membership { id: membership(7), company: Some(company(1)), user: None };
        assert!(of_giver.concerns(&subject) && Named::User(user(7)).concerns(&subject));
        assert!(!Named::User(user(8)).concerns(&subject));
        let logout = Named::EndedSession { id: session(7), user: user(7), until: wall() };
        assert!(!logout.concerns(&subject));
    }
}
