//! Delegations, as `companies/delegations.rs` gives and ends them.

use super::{Platform, Stream, key};
use crate::{
    model::{Actor, Answer, Key},
    refusals,
};
use kisum_domains::{
    Delegation, Membership,
    delegation::{self, Decided, Delegate, Party},
};
use kisum_events::{DelegationEndCause, DelegationId, MembershipEvent, MembershipId, Timestamp};

/// What ends with a change of a giver's membership.
#[derive(Default)]
pub(super) struct Ends {
    /// What is written to the giver besides.
    pub(super) of_giver: Vec<MembershipEvent>,
    /// By place of the delegation, with the place of its receiver.
    others: Vec<(usize, usize, Decided)>,
}

impl Platform {
    pub(super) fn delegate(
        &mut self,
        actor: Actor,
        (company, to): (usize, usize),
        permissions: &[Key],
        (valid_from, valid_until): (Option<Timestamp>, Timestamp),
    ) -> Answer {
        let grounds = self.grounds(actor, company)?;
        let from = grounds.acting.ok_or(refusals::NOT_FOUND)?;
        let (home, to) = self.member_loaded(company, to).ok_or(refusals::NOT_FOUND)?;
        if home != company {
            return Err(refusals::NOT_FOUND);
        }
        let mut stream = Stream::<DelegationId, Delegation>::new(self.new_id());
        let command = Delegate {
            id: stream.id,
            company_id: self.firms[company].company.id,
            permissions: permissions.iter().map(|text| key(text)).collect(),
            valid_from: valid_from.unwrap_or(self.now),
            valid_until,
        };
        let members = &self.firms[company].members;
        let parties = (party(&members[from]), party(&members[to]));
        let decided = delegation::grant(&self.authority(&grounds, company), parties, command, self.now);
        let decided = decided.map_err(refusals::of_delegation)?;
        stream.write(&decided.delegation);
        let firm = &mut self.firms[company];
        firm.members[from].write(&decided.giver);
        firm.members[to].write(&decided.receiver);
        firm.delegations.push(stream);
        Ok(())
    }

    pub(super) fn end_delegation(&mut self, actor: Actor, company: usize, place: usize) -> Answer {
        let grounds = self.grounds(actor, company)?;
        let found = self.firms[company].delegations.get(place).or_else(|| {
            let place = place - self.firms[company].delegations.len();
            self.firms.get(usize::from(company == 0))?.delegations.get(place)
        });
        let delegation = found.ok_or(refusals::NOT_FOUND)?;
        let terms = delegation.state.terms.as_ref().filter(|it| it.company_id == self.firms[company].company.id);
        let terms = terms.ok_or(refusals::NOT_FOUND)?;
        let (from, to) = (self.place_of(company, terms.from), self.place_of(company, terms.to));
        let members = &self.firms[company].members;
        let acting = grounds.acting.map(|acting| members[acting].id);
        let parties = (party(&members[from]), party(&members[to]));
        let authority = self.authority(&grounds, company);
        let decided = delegation::end(&authority, acting, (delegation.id, &delegation.state), parties);
        let decided = decided.map_err(refusals::of_delegation)?;
        let firm = &mut self.firms[company];
        firm.members[from].write(&decided.giver);
        firm.members[to].write(&decided.receiver);
        firm.delegations[place].write(&decided.delegation);
        Ok(())
    }

    /// As `companies/delegations.rs` does in the append of every change of a membership.
    pub(super) fn end_given(
        &self,
        company: usize,
        giver: &Stream<MembershipId, Membership>,
        events: &[MembershipEvent],
    ) -> Ends {
        let mut ends = Ends::default();
        if giver.state.given.is_empty() {
            return ends;
        }
        let mut after = giver.clone();
        after.write(events);
        let firm = &self.firms[company];
        let lost = delegation::lost_with(&firm.holdings(&giver.state), &firm.holdings(&after.state));
        for (id, given) in giver.state.given.iter().filter(|(id, _)| lost.contains(id)) {
            let place = firm.delegations.iter().position(|one| one.id == *id).unwrap_or_else(|| panic!("{id} is lost"));
            let to = self.place_of(company, given.to);
            let parties = (party(giver), party(&firm.members[to]));
            let cause = DelegationEndCause::GiverNarrowed;
            let decided = delegation::ended(*id, &firm.delegations[place].state, parties, cause);
            if after.state.given.contains_key(id) {
                ends.of_giver.extend(decided.giver.iter().cloned());
            }
            ends.others.push((place, to, decided));
        }
        ends
    }

    pub(super) fn write_ends(&mut self, company: usize, ends: Ends) {
        let firm = &mut self.firms[company];
        for (place, to, decided) in ends.others {
            firm.members[to].write(&decided.receiver);
            firm.delegations[place].write(&decided.delegation);
        }
    }

    fn place_of(&self, company: usize, id: MembershipId) -> usize {
        let place = self.firms[company].members.iter().position(|member| member.id == id);
        place.unwrap_or_else(|| panic!("the company has no member {id}"))
    }
}

fn party(member: &Stream<MembershipId, Membership>) -> Party<'_> {
    Party { id: member.id, state: &member.state }
}
