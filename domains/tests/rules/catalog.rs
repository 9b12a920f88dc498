//! Rules of the catalog: modules, and the versions that packages and add-ons are sold in.

use crate::given::{given, key, keys};
use kisum_domains::{
    Addon, Module, Package, PermissionStanding, addon,
    catalog::{PublishError, RetireVersionError, module::ModuleError},
    module, package,
    subscription::{AddonOffer, PackageOffer},
};
use kisum_events::{AddonEvent, Limits, ModuleEvent, ModuleKey, PackageEvent};

fn defined() -> ModuleEvent {
    ModuleEvent::Defined { key: key("finance"), name: "Finance".into() }
}

fn added(permission: &str) -> ModuleEvent {
    ModuleEvent::PermissionAdded { key: key(permission) }
}

fn retired(permission: &str) -> ModuleEvent {
    ModuleEvent::PermissionRetired { key: key(permission) }
}

#[test]
fn a_module_is_defined_once_and_not_otherwise() {
    given::<Module>([]).when(|state| module::define(state, &key("finance"), "Finance")).then([defined()]);
    given::<Module>([defined()]).when(|state| module::define(state, &key("finance"), "Finance")).then_nothing();
    given::<Module>([defined()])
        .when(|state| module::define(state, &key("finance"), "Money"))
        .refused(ModuleError::AlreadyDefined);
}

#[test]
fn a_permission_belongs_to_the_module_it_names() {
    let read = "finance.bills.read";
    given::<Module>([defined()]).when(|state| module::add_permission(state, &key(read))).then([added(read)]);
    given::<Module>([defined(), added(read)]).when(|state| module::add_permission(state, &key(read))).then_nothing();
    given::<Module>([defined()])
        .when(|state| module::add_permission(state, &key("market.contracts.read")))
        .refused(ModuleError::OtherModule { permission: key("market.contracts.read") });
    given::<Module>([]).when(|state| module::add_permission(state, &key(read))).refused(ModuleError::NotDefined);
}

#[test]
fn a_retired_permission_stays_known_and_may_come_back() {
    let read = "finance.bills.read";
    given::<Module>([defined(), added(read)])
        .when(|state| module::retire_permission(state, &key(read)))
        .then([retired(read)]);
    let state = given::<Module>([defined(), added(read), retired(read)]).state;
    assert_eq!(state.permissions.get(&key(read)), Some(&PermissionStanding::Retired));
    given::<Module>([defined(), added(read), retired(read)])
        .when(|state| module::retire_permission(state, &key(read)))
        .then_nothing();
    given::<Module>([defined(), added(read), retired(read)])
        .when(|state| module::add_permission(state, &key(read)))
        .then([added(read)]);
    given::<Module>([defined()])
        .when(|state| module::retire_permission(state, &key(read)))
        .refused(ModuleError::UnknownPermission { permission: key(read) });
}

fn modules(texts: &[&str]) -> Vec<ModuleKey> {
    texts.iter().map(|text| key(text)).collect()
}

fn seats(count: i64) -> Limits {
    [("seats".to_owned(), count)].into()
}

fn published(version: u32, texts: &[&str], count: i64) -> PackageEvent {
    PackageEvent::VersionPublished { version, modules: modules(texts), limits: seats(count) }
}

#[test]
fn versions_count_from_one_and_hold_each_module_once_in_order() {
    let known = keys(&["basic", "finance"]);
    given::<Package>([])
        .when(|state| package::publish_version(state, &modules(&["finance", "basic", "basic"]), &seats(5), &known))
        .then([published(1, &["basic", "finance"], 5)]);
    given::<Package>([published(1, &["basic"], 5)])
        .when(|state| package::publish_version(state, &modules(&["basic"]), &seats(9), &known))
        .then([published(2, &["basic"], 9)]);
}

#[test]
fn publishing_what_is_on_sale_changes_nothing() {
    let known = keys(&["basic"]);
    given::<Package>([published(1, &["basic"], 5)])
        .when(|state| package::publish_version(state, &modules(&["basic"]), &seats(5), &known))
        .then_nothing();
    given::<Package>([published(1, &["basic"], 5), PackageEvent::VersionRetired { version: 1 }])
        .when(|state| package::publish_version(state, &modules(&["basic"]), &seats(5), &known))
        .then([published(2, &["basic"], 5)]);
}

#[test]
fn what_cannot_be_sold_is_not_published() {
    let known = keys(&["basic"]);
    given::<Package>([])
        .when(|state| package::publish_version(state, &[], &seats(5), &known))
        .refused(PublishError::NoModules);
    given::<Package>([])
        .when(|state| package::publish_version(state, &modules(&["casino"]), &seats(5), &known))
        .refused(PublishError::UnknownModule { module: key("casino") });
    given::<Package>([])
        .when(|state| package::publish_version(state, &modules(&["basic"]), &seats(-1), &known))
        .refused(PublishError::NegativeLimit { name: "seats".into() });
}

#[test]
fn a_retired_version_is_no_longer_offered() {
    let one = published(1, &["basic"], 5);
    let two = published(2, &["basic"], 9);
    let offer = |version, count| PackageOffer {
        package: key("basic"),
        version,
        modules: modules(&["basic"]),
        limits: seats(count),
    };
    given::<Package>([one.clone(), two.clone()])
        .when(|state| package::retire_version(state, 2))
        .then([PackageEvent::VersionRetired { version: 2 }]);
    assert_eq!(given::<Package>([one.clone(), two.clone()]).state.offer(&key("basic")), Some(offer(2, 9)));
    let state = given::<Package>([one.clone(), two, PackageEvent::VersionRetired { version: 2 }]).state;
    assert_eq!(state.offer(&key("basic")), Some(offer(1, 5)));
    assert_eq!(package::retire_version(&state, 2), Ok(vec![]));
    given::<Package>([one])
        .when(|state| package::retire_version(state, 7))
        .refused(RetireVersionError::UnknownVersion { version: 7 });
    assert_eq!(Package::default().offer(&key("basic")), None);
}

#[test]
fn an_addon_follows_the_same_rules_with_its_own_events() {
    let known = keys(&["finance"]);
    let one = AddonEvent::VersionPublished { version: 1, modules: modules(&["finance"]), limits: Limits::new() };
    given::<Addon>([])
        .when(|state| addon::publish_version(state, &modules(&["finance"]), &Limits::new(), &known))
        .then([one.clone()]);
    given::<Addon>([one.clone()])
        .when(|state| addon::publish_version(state, &modules(&["finance"]), &Limits::new(), &known))
        .then_nothing();
    given::<Addon>([one.clone()])
        .when(|state| addon::retire_version(state, 1))
        .then([AddonEvent::VersionRetired { version: 1 }]);
    let offer = AddonOffer { addon: key("finance"), version: 1, modules: modules(&["finance"]), limits: Limits::new() };
    assert_eq!(given::<Addon>([one]).state.offer(&key("finance")), Some(offer));
}
