//! A package: stream `package-{key}`.
//!
//! It owns the versions on sale. It refuses to know who bought one.

use super::versions::{self, PublishError, RetireVersionError, Version};
use crate::subscription::PackageOffer;
use kisum_events::{Aggregate, Limits, ModuleKey, PackageEvent, PackageKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The state of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// Its versions by number, from 1.
    pub versions: BTreeMap<u32, Version>,
}

impl Package {
    /// The latest version on sale as an offer; `None` when there is none.
    pub fn offer(&self, key: &PackageKey) -> Option<PackageOffer> {
        versions::on_sale(&self.versions).map(|(version, sold)| PackageOffer {
            package: key.clone(),
            version,
            modules: sold.modules.clone(),
            limits: sold.limits.clone(),
        })
    }
}

impl Aggregate for Package {
    type Event = PackageEvent;
    const STATE_SCHEMA: u16 = 1;

    fn evolve(&mut self, event: &PackageEvent, _version: u64) {
        match event {
            PackageEvent::VersionPublished { version, modules, limits } => {
                let sold = Version { modules: modules.clone(), limits: limits.clone(), retired: false };
                self.versions.insert(*version, sold);
            }
            PackageEvent::VersionRetired { version } => {
                if let Some(sold) = self.versions.get_mut(version) {
                    sold.retired = true;
                }
            }
        }
    }
}

/// Publishes the next version, unless the one on sale is just that. `known` are the modules of the catalog.
///
/// # Errors
/// [`PublishError`] for contents that cannot be sold.
pub fn publish_version(
    state: &Package,
    modules: &[ModuleKey],
    limits: &Limits,
    known: &BTreeSet<ModuleKey>,
) -> Result<Vec<PackageEvent>, PublishError> {
    let next = versions::next(&state.versions, modules, limits, known)?;
    Ok(next
        .map(|(version, modules)| PackageEvent::VersionPublished { version, modules, limits: limits.clone() })
        .into_iter()
        .collect())
}

/// Takes a version off sale; who has it keeps it. Twice is once.
///
/// # Errors
/// [`RetireVersionError`] when it was never published.
pub fn retire_version(state: &Package, version: u32) -> Result<Vec<PackageEvent>, RetireVersionError> {
    let changes = versions::retires(&state.versions, version)?;
    Ok(if changes { vec![PackageEvent::VersionRetired { version }] } else { vec![] })
}
