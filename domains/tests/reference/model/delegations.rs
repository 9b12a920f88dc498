//! Delegations: what one member passes on to another for a time.

use super::{
    Actor, Answer, DAY, Delegation, INVALID, Instant, Key, MemberStatus, NOT_FOUND, NOT_GRANTABLE, ROLE_TOO_LOW, Rank,
    UNPROCESSABLE, World, Wrong, conflict,
};
use std::collections::BTreeSet;

/// "A member gives and receives 20 at a time at most."
const AT_A_TIME: usize = 20;
const DAYS_MAX: Instant = 90;

impl World {
    pub(super) fn delegate(
        &mut self,
        actor: Actor,
        company: usize,
        (to, permissions): (usize, &[Key]),
        (from, until): (Option<Instant>, Instant),
    ) -> Answer {
        // The platform is nobody's member and has nothing of its own to pass on: there is no such route.
        let Some(acting) = self.acting(actor, company)? else { return Err(NOT_FOUND) };
        let target = self.member(company, to)?;
        // *Open*: "on to another member", so that nobody holds by themselves what they can no longer use.
        if to == acting {
            return Err(UNPROCESSABLE);
        }
        if !self.reaches(company, Some(acting), target.rank) {
            return Err(ROLE_TOO_LOW);
        }
        if target.status == MemberStatus::Suspended {
            return Err(conflict("suspended"));
        }
        if permissions.is_empty() {
            return Err(INVALID);
        }
        let valid_from = from.unwrap_or(self.now).max(self.now);
        if until <= valid_from || until > self.now + DAYS_MAX * DAY {
            return Err(UNPROCESSABLE);
        }
        let permissions: BTreeSet<Key> = permissions.iter().copied().collect();
        for key in &permissions {
            self.require_permission(company, Some(acting), key)?;
            // "Superadmins, too, pass on only what they can use themselves."
            if !self.own_at(company, acting, self.now).contains(key) && !self.gets_wrong(Wrong::ReceivedIsPassedOn) {
                return Err(NOT_GRANTABLE);
            }
        }
        let all = self.companies[company].delegations.iter();
        let live = all.filter(|one| !one.ended && one.valid_until > self.now);
        let (given, received) = (live.clone().filter(|one| one.from == acting), live.filter(|one| one.to == to));
        if given.count() >= AT_A_TIME || received.count() >= AT_A_TIME {
            return Err(conflict("limit_reached"));
        }
        let one = Delegation { from: acting, to, permissions, valid_from, valid_until: until, ended: false };
        self.companies[company].delegations.push(one);
        Ok(())
    }

    /// "It is ended by its giver, its receiver, and who administers the receiver." *Open*: what is over is ended again, and
    /// a receiver who is a member no longer is administered as of the rank that they had.
    pub(super) fn end_delegation(&mut self, actor: Actor, company: usize, delegation: usize) -> Answer {
        let Some(acting) = self.acting(actor, company)? else { return Err(NOT_FOUND) };
        let of = &self.companies[company];
        let one = of.delegations.get(delegation).ok_or(NOT_FOUND)?;
        let receiver = &of.members[one.to];
        let administers = of.members[acting].rank >= Rank::Admin && self.reaches(company, Some(acting), receiver.rank);
        if acting != one.from && acting != one.to && !administers {
            return Err(ROLE_TOO_LOW);
        }
        self.companies[company].delegations[delegation].ended = true;
        Ok(())
    }

    /// "When the giver loses something of it, … it ends … and does not come back." *Open*: one whose receiver is a member no
    /// longer is worth nothing, and counts among its giver's until it is over.
    pub(super) fn end_given(&mut self, company: usize, giver: usize, lost: impl Fn(Key) -> bool) {
        if self.gets_wrong(Wrong::DelegationsOutliveTheirGivers) {
            return;
        }
        for one in &mut self.companies[company].delegations {
            if one.from == giver && one.permissions.iter().any(|key| lost(key)) {
                one.ended = true;
            }
        }
    }
}
