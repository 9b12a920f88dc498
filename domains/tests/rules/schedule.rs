//! What an entitlement schedule means at an instant.

use crate::given::{at, key, keys};
use kisum_domains::schedule;
use kisum_events::{EntitlementSource, Limits, ModuleEntitlement, SourceKind};

/// `module` within `[from, until)`, from the add-on of that name, with so many seats.
fn entry(module: &str, from: u64, until: Option<u64>, seats: i64) -> ModuleEntitlement {
    ModuleEntitlement {
        module: key(module),
        source: EntitlementSource { kind: SourceKind::Addon, id: format!("{module}-{seats}") },
        from: at(from),
        until: until.map(at),
        limits: Limits::from([("seats".to_owned(), seats)]),
    }
}

#[test]
fn a_module_is_owned_from_its_first_instant_up_to_and_not_including_its_last() {
    let schedule = [entry("finance", 10, Some(20), 1)];
    assert_eq!(schedule::owned(&schedule, at(9)), keys(&[]));
    assert_eq!(schedule::owned(&schedule, at(10)), keys(&["finance"]));
    assert_eq!(schedule::owned(&schedule, at(19)), keys(&["finance"]));
    assert_eq!(schedule::owned(&schedule, at(20)), keys(&[]));
}

#[test]
fn the_largest_limit_of_what_runs_counts() {
    let schedule = [entry("basic", 0, None, 5), entry("finance", 0, Some(20), 9), entry("ai", 30, None, 50)];
    assert_eq!(schedule::limits(&schedule, at(10)), Limits::from([("seats".to_owned(), 9)]));
    assert_eq!(schedule::limits(&schedule, at(25)), Limits::from([("seats".to_owned(), 5)]));
    assert_eq!(schedule::limits(&[], at(25)), Limits::new());
}

#[test]
fn basic_alone_opens_the_core_app() {
    assert!(schedule::basic_active(&[entry("basic", 0, Some(20), 5)], at(19)));
    assert!(!schedule::basic_active(&[entry("basic", 0, Some(20), 5)], at(20)));
    assert!(!schedule::basic_active(&[entry("finance", 0, None, 5)], at(0)));
}

#[test]
fn the_next_change_is_the_first_start_or_end_that_makes_a_difference() {
    let schedule = [entry("basic", 0, None, 5), entry("finance", 0, Some(20), 5), entry("ai", 30, None, 5)];
    assert_eq!(schedule::next_change(&schedule, at(0)), Some(at(20)));
    assert_eq!(schedule::next_change(&schedule, at(20)), Some(at(30)));
    assert_eq!(schedule::next_change(&schedule, at(30)), None);
}

#[test]
fn a_purchase_that_takes_over_without_a_gap_changes_nothing() {
    let mut second = entry("finance", 20, None, 5);
    second.source.id = "another".into();
    let schedule = [entry("finance", 0, Some(20), 5), second];
    assert_eq!(schedule::next_change(&schedule, at(0)), None);
}

#[test]
fn a_limit_that_changes_is_a_change() {
    let schedule = [entry("finance", 0, Some(20), 5), entry("finance", 10, None, 9)];
    assert_eq!(schedule::next_change(&schedule, at(0)), Some(at(10)));
    assert_eq!(schedule::next_change(&schedule, at(10)), None);
}
