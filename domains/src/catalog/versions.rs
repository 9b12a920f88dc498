//! Published versions of something that is sold: the part that packages and add-ons share.
//!
//! A version never changes once it is published. It refuses to know events: packages and add-ons have their own.

use kisum_events::{Limits, ModuleKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One published version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// What it contains, in order.
    pub modules: Vec<ModuleKey>,
    /// Its limits, such as `seats`.
    pub limits: Limits,
    /// Whether it is no longer on sale.
    pub retired: bool,
}

/// Why a version was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nothing in it.
    #[error("a version contains at least one module")]
    NoModules,
    /// The catalog has no such module.
    #[error("there is no module '{module}'")]
    UnknownModule {
        /// Which.
        module: ModuleKey,
    },
    /// A limit counts something.
    #[error("the limit '{name}' is negative")]
    NegativeLimit {
        /// Which.
        name: String,
    },
}

/// Why a version was not retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetireVersionError {
    /// It was never published.
    #[error("there is no version {version}")]
    UnknownVersion {
        /// Which.
        version: u32,
    },
}

/// The latest version that is still on sale.
pub(super) fn on_sale(versions: &BTreeMap<u32, Version>) -> Option<(u32, &Version)> {
    versions.iter().rev().find(|(_, version)| !version.retired).map(|(number, version)| (*number, version))
}

/// The number and sorted contents to publish; `None` when the version on sale is just that.
pub(super) fn next(
    versions: &BTreeMap<u32, Version>,
    modules: &[ModuleKey],
    limits: &Limits,
    known: &BTreeSet<ModuleKey>,
) -> Result<Option<(u32, Vec<ModuleKey>)>, PublishError> {
    let wanted: BTreeSet<&ModuleKey> = modules.iter().collect();
    if wanted.is_empty() {
        return Err(PublishError::NoModules);
    }
    if let Some(module) = wanted.iter().find(|module| !known.contains(**module)) {
        return Err(PublishError::UnknownModule { module: (*module).clone() });
    }
    if let Some((name, _)) = limits.iter().find(|(_, value)| **value < 0) {
        return Err(PublishError::NegativeLimit { name: name.clone() });
    }
    if on_sale(versions)
        .is_some_and(|(_, sold)| sold.limits == *limits && sold.modules.iter().eq(wanted.iter().copied()))
    {
        return Ok(None);
    }
    let number = versions.keys().next_back().map_or(1, |last| last.saturating_add(1));
    Ok(Some((number, wanted.into_iter().cloned().collect())))
}

/// Whether retiring a version changes anything.
pub(super) fn retires(versions: &BTreeMap<u32, Version>, version: u32) -> Result<bool, RetireVersionError> {
    versions.get(&version).map(|known| !known.retired).ok_or(RetireVersionError::UnknownVersion { version })
}
