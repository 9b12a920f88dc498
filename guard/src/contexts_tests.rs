//! What the memory of answers must keep, drop and bound.

use super::Contexts;
use crate::{
    named::Named,
    samples::{active, as_of, asked, company, membership, stranger, user},
};
use kisum_events::Giver;
use std::sync::Arc;

const READ: &[&str] = &["finance.bills.read"];

fn filled() -> Contexts {
    let mut contexts = Contexts::new(100);
    for user_n in 1..=3 {
        for company_n in 1..=2 {
            // Membership numbers are those of the person, told apart by company in the tests below.
            contexts.insert(asked(user_n, company_n), Arc::new(active(user_n, company_n, as_of(1, 1), READ)));
        }
    }
    contexts.insert(asked(9, 1), Arc::new(stranger(9, 1, as_of(1, 1))));
    contexts
}

#[test]
fn a_company_s_event_drops_everybody_there_and_nobody_elsewhere() {
    let mut contexts = filled();
    contexts.drop_named(&Named::Company(company(1)));
    assert!([1, 2, 3, 9].iter().all(|user_n| contexts.get(&asked(*user_n, 1)).is_none()));
    assert!([1, 2, 3].iter().all(|user_n| contexts.get(&asked(*user_n, 2)).is_some()));
}

#[test]
fn a_person_s_event_drops_them_wherever_they_are() {
    let mut contexts = filled();
    contexts.drop_named(&Named::User(user(2)));
    assert!(contexts.get(&asked(2, 1)).is_none() && contexts.get(&asked(2, 2)).is_none());
    assert_eq!(contexts.len(), 5);
}

#[test]
fn a_membership_s_event_drops_that_member_and_whoever_was_none() {
    let mut contexts = filled();
    contexts.drop_named(&Named::Membership { id: membership(1), company: Some(company(1)), user: None });
    assert!(contexts.get(&asked(1, 1)).is_none());
    assert!(contexts.get(&asked(9, 1)).is_none());
    assert!(contexts.get(&asked(2, 1)).is_some());
}

#[test]
fn becoming_a_member_drops_the_refusal_of_that_person_only() {
    let mut contexts = filled();
    contexts.insert(asked(8, 1), Arc::new(stranger(8, 1, as_of(1, 1))));
    let created = Named::Membership { id: membership(9), company: Some(company(1)), user: Some(user(9)) };
    contexts.drop_named(&created);
    assert!(contexts.get(&asked(9, 1)).is_none());
    assert!(contexts.get(&asked(8, 1)).is_some());
}

#[test]
fn an_older_answer_never_replaces_a_newer_one() {
    let mut contexts = Contexts::new(10);
    assert!(contexts.insert(asked(1, 1), Arc::new(active(1, 1, as_of(5, 5), &[]))));
    assert!(!contexts.insert(asked(1, 1), Arc::new(active(1, 1, as_of(4, 9), READ))));
    assert!(!contexts.insert(asked(1, 1), Arc::new(active(1, 1, as_of(9, 4), READ))));
    assert_eq!(contexts.get(&asked(1, 1)).unwrap().as_of, as_of(5, 5));
    assert!(contexts.insert(asked(1, 1), Arc::new(active(1, 1, as_of(5, 6), READ))));
}

#[test]
fn the_memory_is_bounded_and_what_is_used_stays() {
    let mut contexts = Contexts::new(10);
    for user_n in 0..1000 {
        contexts.insert(asked(user_n, 1), Arc::new(active(user_n, 1, as_of(1, 1), READ)));
        assert!(contexts.len() <= 10 && contexts.order.len() <= 21);
        assert!(contexts.get(&asked(0, 1)).is_some(), "{user_n}");
    }
    contexts.drop_named(&Named::Everybody);
    assert_eq!(contexts.len(), 0);
    assert!(contexts.by_user.0.is_empty() && contexts.by_company.0.is_empty());
}

#[test]
fn dropped_entries_leave_nothing_in_the_indexes() {
    let mut contexts = filled();
    contexts.drop_named(&Named::Company(company(1)));
    contexts.drop_named(&Named::Company(company(2)));
    assert!(contexts.by_user.0.is_empty() && contexts.by_company.0.is_empty());
    assert!(contexts.by_membership.0.is_empty() && contexts.strangers.0.is_empty());
}

#[test]
fn what_rests_on_another_s_rights_is_dropped_with_theirs_and_leaves_no_trace() {
    let mut contexts = filled();
    let giver = Giver { user_id: user(2), membership_id: membership(8) };
    let with_giver = || {
        let mut answer = active(7, 1, as_of(1, 1), READ);
        answer.subject.relies_on.push(giver);
        Arc::new(answer)
    };
    let of_giver = Named::Membership { id: membership(8), company: Some(company(1)), user: None };
    for named in [of_giver, Named::User(user(2))] {
        contexts.insert(asked(7, 1), with_giver());
        contexts.drop_named(&named);
        assert!(contexts.get(&asked(7, 1)).is_none(), "{named:?}");
    }
    contexts.insert(asked(7, 1), with_giver());
    contexts.drop_named(&Named::Membership { id: membership(7), company: Some(company(1)), user: None });
    assert!(contexts.get(&asked(7, 1)).is_none());
    assert!(contexts.by_membership.of(membership(8)).is_empty(), "the index forgets with the entry");
}
