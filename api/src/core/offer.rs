//! What can be bought: the version of a package or add-on that is on sale.
//!
//! It owns the answers "no such key" and "not on sale". It refuses to know who buys.

use super::Core;
use crate::shared::problem::{self, Problem, conflict};
use kisum_domains::{
    Addon, Package,
    subscription::{AddonOffer, PackageOffer},
};
use kisum_events::{AddonKey, PackageKey, StreamName};
use kisum_log::Loaded;

/// A package's version on sale, and the stream that says so.
pub(super) async fn package(core: &Core, key: &PackageKey) -> Result<(PackageOffer, Loaded<Package>), Problem> {
    let loaded: Loaded<Package> = core.log.load(&StreamName::package(key)).await.map_err(problem::of_load)?;
    if loaded.version == 0 {
        return Err(Problem::unprocessable(format!("There is no package {key}.")));
    }
    let offer = loaded.state.offer(key).ok_or_else(not_on_sale)?;
    Ok((offer, loaded))
}

/// An add-on's version on sale, and the stream that says so.
pub(super) async fn addon(core: &Core, key: &AddonKey) -> Result<(AddonOffer, Loaded<Addon>), Problem> {
    let loaded: Loaded<Addon> = core.log.load(&StreamName::addon(key)).await.map_err(problem::of_load)?;
    if loaded.version == 0 {
        return Err(Problem::unprocessable(format!("There is no add-on {key}.")));
    }
    let offer = loaded.state.offer(key).ok_or_else(not_on_sale)?;
    Ok((offer, loaded))
}

fn not_on_sale() -> Problem {
    Problem::conflict(conflict::NOT_ON_SALE, "No version of it is on sale at the moment.")
}
