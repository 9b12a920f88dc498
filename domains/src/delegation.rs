//! A delegation: one member passes on to another what they hold themselves, for a time. Stream `delegation-{id}`.
//!
//! It owns who may pass on what to whom, for how long, and what of it ends with the giver's rights. It refuses to know what
//! it is worth at a moment: that is `holdings`', which asks what the giver holds then.

use crate::{
    authority::{Authority, GrantRefused, Refused},
    holdings::Holdings,
    membership::{Membership, MembershipStatus},
};
use kisum_events::{
    Aggregate, CompanyId, DelegationEndCause, DelegationEvent, DelegationId, MembershipEvent, MembershipId,
    PermissionKey, StreamName, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// Longest time from when it is given until it ends (contract, *Who owns what*).
pub const LASTS_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Permissions of a delegation at most.
pub const PERMISSIONS_MAX: usize = 50;

/// Delegations of a member at most that are not over, of either kind. Access reads every giver of a member.
pub const DELEGATIONS_MAX: usize = 20;

/// Where a delegation stands. Its time may be over all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DelegationStatus {
    /// No delegation by that id.
    #[default]
    Unknown,
    /// It was not ended.
    Given,
    /// It gives nothing, and never will again.
    Ended,
}

/// The state of a delegation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegation {
    /// Where it stands.
    pub status: DelegationStatus,
    /// What was agreed; absent only while unknown.
    pub terms: Option<Terms>,
}

/// What was agreed when it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// In which company.
    pub company_id: CompanyId,
    /// From whose membership.
    pub from: MembershipId,
    /// To whose.
    pub to: MembershipId,
    /// Which permissions.
    pub permissions: BTreeSet<PermissionKey>,
    /// From then on.
    pub valid_from: Timestamp,
    /// Until right before then.
    pub valid_until: Timestamp,
}

impl Aggregate for Delegation {
    type Event = DelegationEvent;
    const STATE_SCHEMA: u16 = 1;

    fn evolve(&mut self, event: &DelegationEvent, _version: u64) {
        match event {
            DelegationEvent::Granted { company_id, from, to, permissions, valid_from, valid_until } => {
                self.status = DelegationStatus::Given;
                self.terms = Some(Terms {
                    company_id: *company_id,
                    from: *from,
                    to: *to,
                    permissions: permissions.iter().cloned().collect(),
                    valid_from: *valid_from,
                    valid_until: *valid_until,
                });
            }
            DelegationEvent::Ended { .. } => self.status = DelegationStatus::Ended,
        }
    }

    fn company(&self, _stream: &StreamName) -> Option<CompanyId> {
        self.terms.as_ref().map(|terms| terms.company_id)
    }
}

/// A member, by membership.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// Which membership.
    pub id: MembershipId,
    /// Its state.
    pub state: &'a Membership,
}

/// What is passed on, and for how long.
#[derive(Clone, Debug)]
pub struct Delegate {
    /// The new delegation.
    pub id: DelegationId,
    /// In which company.
    pub company_id: CompanyId,
    /// Which permissions.
    pub permissions: BTreeSet<PermissionKey>,
    /// From then on; a past instant is now.
    pub valid_from: Timestamp,
    /// Until right before then.
    pub valid_until: Timestamp,
}

/// Why nothing was passed on, or not ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    /// The company has no such member.
    #[error("there is no such member")]
    NotAMember,
    /// The receiver is suspended.
    #[error("the member is not active")]
    NotActive,
    /// Giver and receiver are one.
    #[error("nobody passes anything on to themselves")]
    ToOneself,
    /// Nothing, or too much at once.
    #[error("a delegation has 1 to {PERMISSIONS_MAX} permissions")]
    Permissions,
    /// It would be over before it begins.
    #[error("the delegation would end before it begins")]
    NoTime,
    /// It would last too long.
    #[error("a delegation ends within 90 days")]
    TooLong,
    /// Giver or receiver has too many.
    #[error("a member gives and receives {DELEGATIONS_MAX} delegations at a time at most")]
    TooMany,
    /// There is no such delegation in the company.
    #[error("there is no such delegation")]
    Unknown,
    /// The acting person may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It names what the acting person may not pass on.
    #[error(transparent)]
    Grant(#[from] GrantRefused),
}

/// The events of one decision, by stream. They belong into one append.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// Of the delegation.
    pub delegation: Vec<DelegationEvent>,
    /// Of the giver's membership.
    pub giver: Vec<MembershipEvent>,
    /// Of the receiver's membership.
    pub receiver: Vec<MembershipEvent>,
}

/// Passes permissions on. Whom it reaches and what may be passed on is as for grants, within what the giver can use
/// themselves. Delegations of either whose time is over make room.
///
/// # Errors
/// [`DelegationError`], naming the rule.
pub fn grant(
    authority: &Authority<'_>,
    (giver, receiver): (Party<'_>, Party<'_>),
    command: Delegate,
    now: Timestamp,
) -> Result<Decided, DelegationError> {
    match receiver.state.status {
        MembershipStatus::Unknown | MembershipStatus::Revoked => return Err(DelegationError::NotAMember),
        MembershipStatus::Active | MembershipStatus::Suspended => {}
    }
    if giver.id == receiver.id {
        return Err(DelegationError::ToOneself);
    }
    authority.reaches(receiver.state.company_id, receiver.state.role)?;
    if !receiver.state.is_active() {
        return Err(DelegationError::NotActive);
    }
    if command.permissions.is_empty() || command.permissions.len() > PERMISSIONS_MAX {
        return Err(DelegationError::Permissions);
    }
    let (valid_from, valid_until) = (command.valid_from.max(now), command.valid_until);
    if valid_until <= valid_from {
        return Err(DelegationError::NoTime);
    }
    if valid_until > now.plus(LASTS_MAX) {
        return Err(DelegationError::TooLong);
    }
    for permission in &command.permissions {
        authority.may_delegate(permission)?;
    }
    let from_user = giver.state.user_id.ok_or(DelegationError::NotAMember)?;
    let (mut giver_events, mut receiver_events) = (over_given(giver.state, now), over_received(receiver.state, now));
    let is_full = |held: usize, over: usize| held.saturating_sub(over) >= DELEGATIONS_MAX;
    if is_full(giver.state.given.len(), giver_events.len())
        || is_full(receiver.state.received.len(), receiver_events.len())
    {
        return Err(DelegationError::TooMany);
    }
    let permissions: Vec<_> = command.permissions.into_iter().collect();
    receiver_events.push(received(command.id, (giver.id, from_user), &permissions, (valid_from, valid_until)));
    giver_events.push(MembershipEvent::DelegationGiven {
        delegation_id: command.id,
        to: receiver.id,
        permissions: permissions.clone(),
        valid_from,
        valid_until,
    });
    let granted = DelegationEvent::Granted {
        company_id: command.company_id,
        from: giver.id,
        to: receiver.id,
        permissions,
        valid_from,
        valid_until,
    };
    Ok(Decided { delegation: vec![granted], giver: giver_events, receiver: receiver_events })
}

fn received(
    id: DelegationId,
    (from, from_user): (MembershipId, UserId),
    permissions: &[PermissionKey],
    (valid_from, valid_until): (Timestamp, Timestamp),
) -> MembershipEvent {
    MembershipEvent::DelegationReceived {
        delegation_id: id,
        from,
        from_user,
        permissions: permissions.to_vec(),
        valid_from,
        valid_until,
    }
}

fn over_given(state: &Membership, now: Timestamp) -> Vec<MembershipEvent> {
    let over = state.given.iter().filter(|(_, given)| given.valid_until <= now);
    over.map(|(id, _)| MembershipEvent::DelegationEnded { delegation_id: *id }).collect()
}

fn over_received(state: &Membership, now: Timestamp) -> Vec<MembershipEvent> {
    let over = state.received.iter().filter(|(_, received)| received.valid_until <= now);
    over.map(|(id, _)| MembershipEvent::DelegationEnded { delegation_id: *id }).collect()
}

/// Ends a delegation: its giver may, its receiver, and whoever manages the receiver. Twice is once.
///
/// # Errors
/// [`DelegationError`] when there is none in the acting member's company, or they may not.
pub fn end(
    authority: &Authority<'_>,
    acting: Option<MembershipId>,
    (id, state): (DelegationId, &Delegation),
    (giver, receiver): (Party<'_>, Party<'_>),
) -> Result<Decided, DelegationError> {
    if state.status == DelegationStatus::Unknown {
        return Err(DelegationError::Unknown);
    }
    if acting != Some(giver.id) && acting != Some(receiver.id) {
        authority.manages(receiver.state.company_id, receiver.state.role)?;
    }
    Ok(ended(id, state, (giver, receiver), DelegationEndCause::Ended))
}

/// The end of a delegation, whoever decided it; nothing of it that is so already.
pub fn ended(
    id: DelegationId,
    state: &Delegation,
    (giver, receiver): (Party<'_>, Party<'_>),
    cause: DelegationEndCause,
) -> Decided {
    let of_member =
        |holds: bool| if holds { vec![MembershipEvent::DelegationEnded { delegation_id: id }] } else { vec![] };
    let is_given = state.status == DelegationStatus::Given;
    Decided {
        delegation: if is_given { vec![DelegationEvent::Ended { to: receiver.id, cause }] } else { vec![] },
        giver: of_member(giver.state.given.contains_key(&id)),
        receiver: of_member(receiver.state.received.contains_key(&id)),
    }
}

/// Which of a giver's delegations end with a change of their membership: all of them when they may act no longer or have a
/// lower role, otherwise those of which they lose something by it. What they could not use before it, because a role of
/// theirs does not give it for now, is not lost by whatever else happens to them.
pub fn lost_with(before: &Holdings<'_>, after: &Holdings<'_>) -> BTreeSet<DelegationId> {
    let (was, is) = (before.membership(), after.membership());
    let loses = |permission: &PermissionKey| before.can_use(permission) && !after.can_use(permission);
    let keeps = is.is_active() && is.role >= was.role;
    let lost = was.given.iter().filter(|(_, given)| !keeps || given.permissions.iter().any(loses));
    lost.map(|(id, _)| *id).collect()
}
