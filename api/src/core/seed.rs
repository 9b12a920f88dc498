//! The catalog's data, brought into the log when Core starts.
//!
//! It owns `catalog.json` and the appending of what the log does not know yet. It refuses to take anything back: what
//! was retired or published later stays as it is.

use crate::shared::problem::Chain;
use kisum_domains::{Addon, Module, Package, addon, catalog::PublishError, module, package};
use kisum_events::{
    Actor, AddonEvent, AddonKey, Aggregate, Event, Limits, Log, Meta, ModuleEvent, ModuleKey, PackageEvent, PackageKey,
    PermissionKey, RequestId, StreamName,
};
use kisum_log::{Append, AppendError, EventLog, LoadError, Loaded};
use serde::Deserialize;
use std::collections::BTreeSet;

const DATA: &str = include_str!("catalog.json");

/// How often a stream is decided anew when another process seeds at the same time.
const ATTEMPTS_MAX: u8 = 5;

/// Why the catalog could not be brought into the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum SeedError {
    /// The data that was compiled in is not of its own shape.
    #[error("catalog.json is not of the expected shape")]
    Data(#[from] serde_json::Error),
    /// The log cannot be read.
    #[error("the catalog cannot be read")]
    Load(#[from] LoadError),
    /// The log cannot be written.
    #[error("the catalog cannot be written")]
    Append(#[from] AppendError),
}

/// What is sold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogData {
    modules: Vec<ModuleData>,
    packages: Vec<PackageData>,
    addons: Vec<AddonData>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModuleData {
    key: ModuleKey,
    name: String,
    permissions: Vec<PermissionKey>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackageData {
    key: PackageKey,
    versions: Vec<VersionData>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddonData {
    key: AddonKey,
    versions: Vec<VersionData>,
}

/// One version; its number is its place in the list, from 1.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionData {
    modules: Vec<ModuleKey>,
    #[serde(default)]
    limits: Limits,
}

/// Every permission of the data, so that a test can hold what code asks for against it.
#[cfg(test)]
pub(crate) fn permission_keys() -> Vec<String> {
    let data: CatalogData = serde_json::from_str(DATA).unwrap_or_else(|e| panic!("{e}"));
    data.modules.into_iter().flat_map(|module| module.permissions).map(String::from).collect()
}

/// Appends what the data has and the log does not. Starting twice, or two processes at once, appends once.
pub(super) async fn append_missing(log: &EventLog) -> Result<(), SeedError> {
    let data: CatalogData = serde_json::from_str(DATA)?;
    let known: BTreeSet<ModuleKey> = data.modules.iter().map(|module| module.key.clone()).collect();
    for module in &data.modules {
        bring(log, &StreamName::module(&module.key), |state| module_events(state, module)).await?;
    }
    for package in &data.packages {
        let stream = StreamName::package(&package.key);
        bring(log, &stream, |state| package_events(state, &package.versions, &known)).await?;
    }
    for addon in &data.addons {
        let stream = StreamName::addon(&addon.key);
        bring(log, &stream, |state| addon_events(state, &addon.versions, &known)).await?;
    }
    Ok(())
}

/// Decides on the stream as it is and appends what is missing; decides anew when somebody else was faster.
async fn bring<A: Aggregate>(
    log: &EventLog,
    stream: &StreamName,
    missing: impl Fn(&A) -> Vec<A::Event>,
) -> Result<(), SeedError> {
    let mut attempt = 1;
    loop {
        let loaded: Loaded<A> = log.load(stream).await?;
        let events = missing(&loaded.state);
        if events.is_empty() {
            return Ok(());
        }
        let types: Vec<&str> = events.iter().map(Event::event_type).collect();
        let types = types.join(" ");
        let mut append = seed_append(&loaded, &events)?;
        append.write(&loaded, events)?;
        match log.append(append).await {
            Ok(receipt) if receipt.duplicate => return Ok(()),
            Ok(_) => {
                metrics::counter!("kisum_catalog_mutations_total").increment(1);
                tracing::info!(event = "catalog.changed", %stream, types, "the catalog's data was brought into the log");
                return Ok(());
            }
            Err(AppendError::Version { .. } | AppendError::RequestReused) if attempt < ATTEMPTS_MAX => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The request names the stream, the version decided on and what is appended, so that two processes that decide alike
/// send the same append.
fn seed_append<A: Aggregate>(loaded: &Loaded<A>, events: &[A::Event]) -> Result<Append, SeedError> {
    let contents = serde_json::to_string(events)?;
    let scope = format!("catalog|{}|{}|{contents}", loaded.stream, loaded.version);
    let request_id = RequestId::derived(Log::Core, &scope);
    let meta = Meta::new(Actor::System, request_id);
    Ok(Append::new(request_id, meta))
}

fn module_events(state: &Module, data: &ModuleData) -> Vec<ModuleEvent> {
    let mut events = match module::define(state, &data.key, &data.name) {
        Ok(events) => events,
        Err(error) => {
            tracing::error!(module = %data.key, error = %Chain(&error), "the data and the log disagree; the log stays");
            return Vec::new();
        }
    };
    let mut after = state.clone();
    events.iter().for_each(|event| after.evolve(event, 0));
    // A permission that was retired is known, and stays retired.
    for key in data.permissions.iter().filter(|key| !state.permissions.contains_key(*key)) {
        match module::add_permission(&after, key) {
            Ok(added) => events.extend(added),
            Err(error) => tracing::error!(permission = %key, error = %Chain(&error), "the data names a bad permission"),
        }
    }
    events
}

fn package_events(state: &Package, versions: &[VersionData], known: &BTreeSet<ModuleKey>) -> Vec<PackageEvent> {
    let mut after = state.clone();
    let mut events = Vec::new();
    for data in versions.iter().skip(state.versions.len()) {
        let published = report(package::publish_version(&after, &data.modules, &data.limits, known));
        published.iter().for_each(|event| after.evolve(event, 0));
        events.extend(published);
    }
    events
}

fn addon_events(state: &Addon, versions: &[VersionData], known: &BTreeSet<ModuleKey>) -> Vec<AddonEvent> {
    let mut after = state.clone();
    let mut events = Vec::new();
    for data in versions.iter().skip(state.versions.len()) {
        let published = report(addon::publish_version(&after, &data.modules, &data.limits, known));
        published.iter().for_each(|event| after.evolve(event, 0));
        events.extend(published);
    }
    events
}

fn report<E>(published: Result<Vec<E>, PublishError>) -> Vec<E> {
    published.unwrap_or_else(|error| {
        tracing::error!(error = %Chain(&error), "the data has a version that cannot be sold");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kisum_domains::PermissionStanding;

    fn data() -> CatalogData {
        serde_json::from_str(DATA).unwrap_or_else(|e| panic!("{e}"))
    }

    fn seeded(data: &ModuleData) -> Module {
        let mut module = Module::default();
        module_events(&module.clone(), data).iter().for_each(|event| module.evolve(event, 0));
        module
    }

    #[test]
    fn every_module_can_be_bought_and_every_permission_belongs_to_its_module() {
        let data = data();
        let known: BTreeSet<ModuleKey> = data.modules.iter().map(|module| module.key.clone()).collect();
        for module in &data.modules {
            let state = seeded(module);
            assert_eq!(state.permissions.len(), module.permissions.len(), "{}", module.key);
            for action in ["read", "create"] {
                let has = module.permissions.iter().any(|key| key.as_str().ends_with(&format!(".{action}")));
                assert!(has, "{} has nothing to {action}", module.key);
            }
        }
        for versions in data.packages.iter().map(|it| &it.versions).chain(data.addons.iter().map(|it| &it.versions)) {
            assert_eq!(package_events(&Package::default(), versions, &known).len(), versions.len());
        }
        let sold = |key: &ModuleKey| {
            let versions = data.packages.iter().flat_map(|it| &it.versions);
            versions.chain(data.addons.iter().flat_map(|it| &it.versions)).any(|version| version.modules.contains(key))
        };
        assert!(known.iter().all(sold), "a module that nobody can buy");
    }

    #[test]
    fn what_the_log_knows_is_not_appended_again() {
        let data = data();
        for module in &data.modules {
            assert_eq!(module_events(&seeded(module), module), []);
        }
    }

    #[test]
    fn a_permission_that_was_retired_stays_retired() {
        let data = data();
        let Some(module_data) = data.modules.first() else { panic!("no modules") };
        let mut module = seeded(module_data);
        let Some(key) = module.permissions.keys().next().cloned() else { panic!("no permissions") };
        module.evolve(&ModuleEvent::PermissionRetired { key: key.clone() }, 0);
        assert_eq!(module.permissions.get(&key), Some(&PermissionStanding::Retired));
        assert_eq!(module_events(&module, module_data), []);
    }
}
