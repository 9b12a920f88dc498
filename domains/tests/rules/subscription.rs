//! Rules of buying: plans, add-ons, and the schedule that follows.

use crate::given::{at, company, event, given, key};
use kisum_domains::subscription::{
    self, AddonOffer, BuyError, Change, EndPurchaseError, IdentifiedEvents, PackageOffer, Subscription, Term,
};
use kisum_events::{
    Aggregate, EntitlementCause, EntitlementSource, Limits, ModuleEntitlement, SourceKind, StreamName,
    SubscriptionEvent,
};

fn seats(count: i64) -> Limits {
    [("seats".to_owned(), count)].into()
}

fn package(name: &str, version: u32, modules: &[&str], count: i64) -> PackageOffer {
    let modules = modules.iter().map(|module| key(module)).collect();
    PackageOffer { package: key(name), version, modules, limits: seats(count) }
}

fn basic() -> PackageOffer {
    package("basic", 1, &["basic"], 5)
}

fn finance() -> AddonOffer {
    AddonOffer { addon: key("finance"), version: 1, modules: vec![key("finance")], limits: Limits::new() }
}

fn term(from: u64, until: Option<u64>) -> Term {
    Term { from: at(from), until: until.map(at) }
}

fn change(now: u64) -> Change {
    Change { company_id: company(1), previous_entitlement_version: 41, ids: [event(1), event(2)], now: at(now) }
}

fn entry(module: &str, kind: SourceKind, id: &str, from: u64, until: Option<u64>) -> ModuleEntitlement {
    let limits = if kind == SourceKind::Package { seats(5) } else { Limits::new() };
    let source = EntitlementSource { kind, id: id.to_owned() };
    ModuleEntitlement { module: key(module), source, from: at(from), until: until.map(at), limits }
}

fn changed(cause: &str, entitlements: Vec<ModuleEntitlement>) -> SubscriptionEvent {
    SubscriptionEvent::EntitlementChanged {
        company_id: company(1),
        entitlements,
        entitlement_version: 0,
        previous_entitlement_version: 41,
        cause: EntitlementCause { event_id: event(1), event_type: cause.to_owned() },
    }
}

fn attached(from: u64, until: Option<u64>) -> SubscriptionEvent {
    SubscriptionEvent::AddonAttached { addon: key("finance"), version: 1, from: at(from), until: until.map(at) }
}

fn started(from: u64, until: Option<u64>) -> SubscriptionEvent {
    SubscriptionEvent::Started { package: key("basic"), version: 1, from: at(from), until: until.map(at) }
}

/// What the decisions answered, without ids, as history.
fn history(answers: impl IntoIterator<Item = IdentifiedEvents>) -> Vec<SubscriptionEvent> {
    answers.into_iter().flatten().map(|(_, event)| event).collect()
}

/// A company that bought Basic at 0 and Finance at 5.
fn with_basic_and_finance() -> Vec<SubscriptionEvent> {
    let basic_only = vec![entry("basic", SourceKind::Package, "basic", 0, None)];
    let both = vec![
        entry("basic", SourceKind::Package, "basic", 0, None),
        entry("finance", SourceKind::Addon, "finance", 5, None),
    ];
    vec![
        started(0, None),
        changed("subscription.started", basic_only),
        attached(5, None),
        changed("addon.attached", both),
    ]
}

#[test]
fn a_first_plan_starts_the_subscription_and_closes_with_the_schedule() {
    let expected = [
        (event(1), started(0, None)),
        (event(2), changed("subscription.started", vec![entry("basic", SourceKind::Package, "basic", 0, None)])),
    ];
    given::<Subscription>([])
        .when(|state| subscription::set_plan(state, &basic(), term(0, None), change(0)))
        .then(expected);
}

#[test]
fn an_addon_stands_beside_a_plan_or_alone() {
    let alone = vec![entry("finance", SourceKind::Addon, "finance", 5, None)];
    given::<Subscription>([])
        .when(|state| subscription::attach_addon(state, &finance(), term(5, None), change(5)))
        .then([(event(1), attached(5, None)), (event(2), changed("addon.attached", alone))]);
    let state = given::<Subscription>(with_basic_and_finance()[..2].to_vec()).state;
    let answer = subscription::attach_addon(&state, &finance(), term(5, None), change(5));
    assert_eq!(answer.map(|events| history([events])), Ok(with_basic_and_finance()[2..].to_vec()));
}

#[test]
fn what_runs_already_is_bought_without_an_event() {
    given::<Subscription>(with_basic_and_finance())
        .when(|state| subscription::set_plan(state, &basic(), term(9, None), change(9)))
        .then_nothing();
    given::<Subscription>(with_basic_and_finance())
        .when(|state| subscription::attach_addon(state, &finance(), term(9, None), change(9)))
        .then_nothing();
}

#[test]
fn another_plan_takes_over_where_it_begins() {
    let offer = package("premium", 1, &["basic", "market"], 5);
    let plan_changed =
        SubscriptionEvent::PlanChanged { package: key("premium"), version: 1, from: at(50), until: Some(at(90)) };
    let schedule = vec![
        entry("basic", SourceKind::Package, "basic", 0, Some(50)),
        entry("basic", SourceKind::Package, "premium", 50, Some(90)),
        entry("finance", SourceKind::Addon, "finance", 5, None),
        entry("market", SourceKind::Package, "premium", 50, Some(90)),
    ];
    given::<Subscription>(with_basic_and_finance())
        .when(|state| subscription::set_plan(state, &offer, term(50, Some(90)), change(10)))
        .then([(event(1), plan_changed), (event(2), changed("subscription.plan_changed", schedule))]);
}

#[test]
fn a_plan_that_had_not_begun_gives_way_to_a_later_decision() {
    let later = package("premium", 1, &["basic", "market"], 5);
    let state = given::<Subscription>(with_basic_and_finance()).state;
    let first = subscription::set_plan(&state, &later, term(50, None), change(10));
    let state = given::<Subscription>(with_basic_and_finance().into_iter().chain(history(first))).state;
    let back = subscription::set_plan(&state, &basic(), term(20, None), change(20)).map(|events| history([events]));
    let both = vec![
        entry("basic", SourceKind::Package, "basic", 0, None),
        entry("finance", SourceKind::Addon, "finance", 5, None),
    ];
    let plan_changed = SubscriptionEvent::PlanChanged { package: key("basic"), version: 1, from: at(20), until: None };
    assert_eq!(back, Ok(vec![plan_changed, changed("subscription.plan_changed", both)]));
}

#[test]
fn a_new_version_with_the_same_contents_leaves_the_schedule_alone() {
    let plan_changed = SubscriptionEvent::PlanChanged { package: key("basic"), version: 2, from: at(10), until: None };
    given::<Subscription>(with_basic_and_finance())
        .when(|state| subscription::set_plan(state, &package("basic", 2, &["basic"], 5), term(10, None), change(10)))
        .then([(event(1), plan_changed)]);
}

#[test]
fn cancelling_ends_the_plan_and_leaves_addons() {
    let schedule = vec![
        entry("basic", SourceKind::Package, "basic", 0, Some(30)),
        entry("finance", SourceKind::Addon, "finance", 5, None),
    ];
    given::<Subscription>(with_basic_and_finance()).when(|state| subscription::cancel(state, at(30), change(10))).then(
        [
            (event(1), SubscriptionEvent::Cancelled { effective_at: at(30) }),
            (event(2), changed("subscription.cancelled", schedule)),
        ],
    );
}

#[test]
fn an_end_in_the_past_is_an_end_now_and_the_past_leaves_the_schedule() {
    let finance_only = vec![entry("finance", SourceKind::Addon, "finance", 5, None)];
    given::<Subscription>(with_basic_and_finance()).when(|state| subscription::cancel(state, at(3), change(10))).then(
        [
            (event(1), SubscriptionEvent::Cancelled { effective_at: at(10) }),
            (event(2), changed("subscription.cancelled", finance_only)),
        ],
    );
}

#[test]
fn what_ends_earlier_already_is_not_ended_later() {
    let cancelled = [SubscriptionEvent::Cancelled { effective_at: at(30) }];
    let history = || with_basic_and_finance().into_iter().chain(cancelled.clone());
    given::<Subscription>(history()).when(|state| subscription::cancel(state, at(40), change(10))).then_nothing();
    given::<Subscription>(history())
        .when(|state| subscription::cancel(state, at(40), change(30)))
        .refused(EndPurchaseError::NotBought);
    given::<Subscription>([])
        .when(|state| subscription::cancel(state, at(40), change(30)))
        .refused(EndPurchaseError::NotBought);
}

#[test]
fn a_plan_after_a_cancelled_one_starts_anew() {
    let cancelled = SubscriptionEvent::Cancelled { effective_at: at(30) };
    let state = given::<Subscription>(with_basic_and_finance().into_iter().chain([cancelled])).state;
    let answer = subscription::set_plan(&state, &basic(), term(40, None), change(40)).map(|events| history([events]));
    assert_eq!(answer.map(|events| events.first().cloned()), Ok(Some(started(40, None))));
}

#[test]
fn detaching_ends_the_addon_alone() {
    let basic_only = vec![entry("basic", SourceKind::Package, "basic", 0, None)];
    let detached = SubscriptionEvent::AddonDetached { addon: key("finance"), effective_at: at(10) };
    given::<Subscription>(with_basic_and_finance())
        .when(|state| subscription::detach_addon(state, &key("finance"), at(10), change(10)))
        .then([(event(1), detached.clone()), (event(2), changed("addon.detached", basic_only))]);
    given::<Subscription>(with_basic_and_finance().into_iter().chain([detached]))
        .when(|state| subscription::detach_addon(state, &key("finance"), at(11), change(11)))
        .refused(EndPurchaseError::NotBought);
    given::<Subscription>([])
        .when(|state| subscription::detach_addon(state, &key("market"), at(11), change(11)))
        .refused(EndPurchaseError::NotBought);
}

#[test]
fn nothing_is_bought_that_ends_before_it_begins() {
    for until in [3, 5] {
        given::<Subscription>([])
            .when(|state| subscription::set_plan(state, &basic(), term(5, Some(until)), change(0)))
            .refused(BuyError::EndBeforeStart);
        given::<Subscription>([])
            .when(|state| subscription::attach_addon(state, &finance(), term(5, Some(until)), change(0)))
            .refused(BuyError::EndBeforeStart);
    }
}

#[test]
fn the_state_keeps_which_event_changed_the_schedule_last() {
    let state = given::<Subscription>(with_basic_and_finance()).state;
    assert_eq!(state.entitlement_stream_version, 4);
    assert_eq!(state.entitlements.len(), 2);
    assert_eq!(state.company(&StreamName::subscription(company(1))), Some(company(1)));
}
