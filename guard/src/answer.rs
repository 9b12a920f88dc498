//! Auth's answer about access, once its shape is known to be whole and to be about whom was asked.
//!
//! It owns that check: an answer about somebody else, or about another company, goes no further. It refuses to know
//! how answers are kept.

use crate::{org::XOrg, token::AccessClaims};
use kisum_events::{AccessAnswer, AccessContext, AccessOutcome, AccessSubject, AsOf, Position, Timestamp};
use std::sync::Arc;

/// What a question about access came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is a context.
    Active(Arc<AccessContext>),
    /// The person is no member, or there is no such company.
    NotAMember,
    /// The person or the membership is suspended.
    Suspended,
    /// The company is pending, rejected or suspended.
    CompanyNotActive,
    /// The session is over.
    SessionRevoked,
}

/// What is known of one person in one company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it came to.
    pub verdict: Verdict,
    /// What it was computed from.
    pub as_of: AsOf,
    /// Whom it is about.
    pub subject: AccessSubject,
    /// Highest position among the states that it was resolved from.
    pub access_version: Position,
    /// Position of the company's last `entitlement.changed` that was known.
    pub entitlement_version: Position,
}

/// An answer that contradicts itself or the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not about what was asked")]
pub(crate) struct Mismatch;

impl Answer {
    /// Checks an answer against its question.
    pub(crate) fn read(answer: AccessAnswer, claims: &AccessClaims, org: &XOrg) -> Result<Self, Mismatch> {
        let AccessAnswer { outcome, context, access_version, entitlement_version, as_of, mut subject } = answer;
        let verdict = match (outcome, context) {
            (AccessOutcome::Active, Some(context)) => {
                if context.user_id != claims.sub {
                    return Err(Mismatch);
                }
                subject.company_id = Some(context.company_id);
                subject.membership_id = Some(context.membership_id);
                Verdict::Active(Arc::new(context))
            }
            (AccessOutcome::Active, None) => return Err(Mismatch),
            (AccessOutcome::NotAMember, _) => Verdict::NotAMember,
            (AccessOutcome::Suspended, _) => Verdict::Suspended,
            (AccessOutcome::CompanyNotActive, _) => Verdict::CompanyNotActive,
            (AccessOutcome::SessionRevoked, _) => Verdict::SessionRevoked,
        };
        let other_company = match (org, subject.company_id) {
            (XOrg::Id(asked), Some(given)) => *asked != given,
            _ => false,
        };
        if subject.user_id != claims.sub || other_company {
            return Err(Mismatch);
        }
        Ok(Self { verdict, as_of, subject, access_version, entitlement_version })
    }

    /// The answer as Auth sends it, now that `as_of` is known to be no different.
    pub fn to_wire(&self, as_of: AsOf) -> AccessAnswer {
        let (outcome, context) = match &self.verdict {
            Verdict::Active(context) => (AccessOutcome::Active, Some(context.as_ref().clone())),
            Verdict::NotAMember => (AccessOutcome::NotAMember, None),
            Verdict::Suspended => (AccessOutcome::Suspended, None),
            Verdict::CompanyNotActive => (AccessOutcome::CompanyNotActive, None),
            Verdict::SessionRevoked => (AccessOutcome::SessionRevoked, None),
        };
        let Self { access_version, entitlement_version, .. } = *self;
        let subject = self.subject.clone();
        AccessAnswer { outcome, context, access_version, entitlement_version, as_of, subject }
    }

    /// Whether nothing in it has changed by itself since.
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        match &self.verdict {
            Verdict::Active(context) => context.valid_until.is_none_or(|until| now < until),
            Verdict::NotAMember | Verdict::Suspended | Verdict::CompanyNotActive | Verdict::SessionRevoked => true,
        }
    }
}
