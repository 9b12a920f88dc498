//! Schedules under any sequence of purchases.

use crate::story::{SECONDS, any_limits, any_module, at, company, event, key};
use kisum_domains::{
    schedule,
    subscription::{self, AddonOffer, Change, PackageOffer, Subscription, Term},
};
use kisum_events::{Aggregate, Limits, ModuleEntitlement, ModuleKey, SubscriptionEvent};
use proptest::{collection::vec, option, prelude::*};

/// What is asked for; instants count from the moment of asking.
#[derive(Clone, Debug)]
enum Wish {
    Plan { name: ModuleKey, modules: Vec<ModuleKey>, limits: Limits, from: u64, lasts: Option<u64> },
    Cancel { at: u64 },
    Attach { name: ModuleKey, modules: Vec<ModuleKey>, limits: Limits, from: u64, lasts: Option<u64> },
    Detach { name: ModuleKey, at: u64 },
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let offer = || (any_module(), vec(any_module(), 1..3), any_limits(), 0..SECONDS, option::of(1..SECONDS));
    prop_oneof![
        offer().prop_map(|(name, modules, limits, from, lasts)| Wish::Plan { name, modules, limits, from, lasts }),
        offer().prop_map(|(name, modules, limits, from, lasts)| Wish::Attach { name, modules, limits, from, lasts }),
        (0..SECONDS).prop_map(|at| Wish::Cancel { at }),
        (any_module(), 0..SECONDS).prop_map(|(name, at)| Wish::Detach { name, at }),
    ]
}

fn term(now: u64, from: u64, lasts: Option<u64>) -> Term {
    Term { from: at(now + from), until: lasts.map(|lasts| at(now + from + lasts)) }
}

fn decide(state: &Subscription, wish: Wish, version: u32, now: u64) -> Vec<SubscriptionEvent> {
    let change =
        Change { company_id: company(), previous_entitlement_version: 0, ids: [event(1), event(2)], now: at(now) };
    let events = match wish {
        Wish::Plan { name, modules, limits, from, lasts } => {
            let offer = PackageOffer { package: key(name.as_str()), version, modules, limits };
            subscription::set_plan(state, &offer, term(now, from, lasts), change).unwrap_or_default()
        }
        Wish::Attach { name, modules, limits, from, lasts } => {
            let offer = AddonOffer { addon: key(name.as_str()), version, modules, limits };
            subscription::attach_addon(state, &offer, term(now, from, lasts), change).unwrap_or_default()
        }
        Wish::Cancel { at: end } => subscription::cancel(state, at(now + end), change).unwrap_or_default(),
        Wish::Detach { name, at: end } => {
            subscription::detach_addon(state, &key(name.as_str()), at(now + end), change).unwrap_or_default()
        }
    };
    events.into_iter().map(|(_, event)| event).collect()
}

fn overlap(one: &ModuleEntitlement, two: &ModuleEntitlement) -> bool {
    let ends_after = |entry: &ModuleEntitlement, instant| entry.until.is_none_or(|until| until > instant);
    ends_after(one, two.from) && ends_after(two, one.from)
}

proptest! {
    #[test]
    fn a_schedule_changes_only_with_its_event_and_holds_no_past_and_no_purchase_twice(
        wishes in vec((0..SECONDS, any_wish()), 0..12)
    ) {
        let mut state = Subscription::default();
        let mut now = 0;
        let mut folded = 0;
        for ((after, wish), version) in wishes.into_iter().zip(1_u32..) {
            now += after;
            let before = state.entitlements.clone();
            let events = decide(&state, wish, version, now);
            let changes = events.iter().any(|event| matches!(event, SubscriptionEvent::EntitlementChanged { .. }));
            for event in &events {
                folded += 1;
                state.evolve(event, folded);
            }
            if changes {
                prop_assert_eq!(state.entitlement_stream_version, folded);
                prop_assert!(state.entitlements.iter().all(|entry| entry.until.is_none_or(|until| until > at(now))));
            } else {
                prop_assert_eq!(&before, &state.entitlements);
            }
            for (index, one) in state.entitlements.iter().enumerate() {
                for two in state.entitlements.iter().skip(index + 1) {
                    let same = (&one.module, &one.source) == (&two.module, &two.source);
                    prop_assert!(!(same && overlap(one, two)), "{:?} {:?}", one, two);
                }
            }
        }
    }

    #[test]
    fn what_was_bought_is_owned_for_its_term(
        before in vec(any_wish(), 0..4),
        name in any_module(),
        modules in vec(any_module(), 1..3),
        from in 0..SECONDS,
        lasts in option::of(1..SECONDS),
    ) {
        let mut state = Subscription::default();
        let wanted =
            Wish::Plan { name, modules: modules.clone(), limits: Limits::new(), from, lasts };
        for (wish, version) in before.into_iter().chain([wanted]).zip(1_u32..) {
            for event in decide(&state, wish, version, 0) {
                state.evolve(&event, 1);
            }
        }
        let end = lasts.map_or(3 * SECONDS, |lasts| from + lasts);
        for second in from..end {
            let owned = schedule::owned(&state.entitlements, at(second));
            prop_assert!(modules.iter().all(|module| owned.contains(module)), "at {second}");
        }
    }
}
