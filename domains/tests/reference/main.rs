//! Companies' administration against a reference model: whatever random people ask for, the rules answer what a naive
//! reading of the contract answers, and leave everybody with the same context.
//!
//! The model (`model/`) knows nothing of the rules' code, and another test holds it against real services over HTTP
//! (`tests/tests/platform/reference.rs`).
#![allow(clippy::indexing_slicing, reason = "a test that looks where nothing is has failed")]

mod model;
mod platform;
mod refusals;
mod told;

use model::Wrong;
use std::{collections::BTreeSet, thread};
use told::{Tally, tell};

/// Of the first story; every further one has the next.
const SEED: u64 = 6;
const STORIES: u64 = 100;
/// Of each story.
const COMMANDS: usize = 1_000;
const THREADS: u64 = 4;
/// So many commands have to show a model that gets one rule wrong.
const NOTICED_WITHIN: usize = 5_000;

#[test]
fn a_hundred_thousand_commands_are_answered_as_the_contract_says() {
    let of_one_thread = |first: u64| {
        let mut tally = Tally::new();
        for seed in (SEED..SEED + STORIES).filter(|seed| seed % THREADS == first) {
            tell(seed, COMMANDS, None, &mut tally).unwrap_or_else(|disagreement| panic!("{disagreement}"));
        }
        tally
    };
    let mut all = Tally::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || of_one_thread(first))).collect();
        for tally in
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        {
            for (answered, times) in tally {
                *all.entry(answered).or_default() += times;
            }
        }
    });
    assert_eq!(all.values().sum::<usize>(), 100_000);
    for ((kind, answer), times) in &all {
        println!("{kind:18} {times:6} {answer}");
    }
    let kinds: BTreeSet<_> = all.keys().map(|(kind, _)| kind).collect();
    assert_eq!(kinds.len(), 27, "every command there is: {kinds:?}");
    for kind in kinds {
        let done = all.get(&(kind.clone(), "done".to_owned())).copied().unwrap_or_default();
        assert!(done >= 20, "{kind} was done {done} times");
    }
    let refusals: BTreeSet<_> = all.keys().map(|(_, answer)| answer.as_str()).filter(|it| *it != "done").collect();
    let named: BTreeSet<_> = REFUSALS.into_iter().collect();
    assert_eq!(refusals, named, "every refusal there is, and no other");
}

/// Every answer but a yes that companies' administration gives to well-formed commands.
const REFUSALS: [&str; 19] = [
    "400 validation_error",
    "401 session_revoked",
    "403 forbidden company_not_active",
    "403 forbidden module_not_owned",
    "403 forbidden not_a_member",
    "403 forbidden not_grantable",
    "403 forbidden role_too_low",
    "403 forbidden suspended",
    "404 not_found",
    "409 conflict already_a_member",
    "409 conflict last_superadmin",
    "409 conflict limit_reached",
    "409 conflict name_taken",
    "409 conflict not_active",
    "409 conflict not_pending",
    "409 conflict not_suspended",
    "409 conflict slug_taken",
    "409 conflict suspended",
    "422 unprocessable",
];

/// How many commands it takes until somebody notices that the model gets a rule wrong.
fn noticed_after(wrong: Wrong) -> Option<usize> {
    let mut before = 0;
    for seed in SEED.. {
        if before >= NOTICED_WITHIN {
            return None;
        }
        match tell(seed, COMMANDS, Some(wrong), &mut Tally::new()) {
            Ok(()) => before += COMMANDS,
            Err(disagreement) => return Some(before + disagreement.told),
        }
    }
    None
}

#[test]
fn a_model_that_gets_a_rule_wrong_is_noticed_and_again_at_the_same_command() {
    for wrong in [
        Wrong::LastSuperadminMayGo,
        Wrong::EqualRanksAreInReach,
        Wrong::PolicyIsNoCeiling,
        Wrong::LostModulesGoOnCounting,
        Wrong::DelegationsOutliveTheirGivers,
        Wrong::DelegationsOutliveTheirTerms,
        Wrong::ReceivedIsPassedOn,
        Wrong::RetiredKeysAreGrantable,
        Wrong::DeletedRolesGoOnGiving,
        Wrong::PendingCompaniesAreOpen,
    ] {
        let noticed = noticed_after(wrong);
        println!("{wrong:?}: {noticed:?}");
        assert!(noticed.is_some_and(|commands| commands <= NOTICED_WITHIN), "{wrong:?}: {noticed:?}");
        assert_eq!(noticed, noticed_after(wrong), "{wrong:?}: the same seed tells the same story");
    }
}
