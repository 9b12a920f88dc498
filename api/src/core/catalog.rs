//! `GET /internal/v1/{modules,packages,addons}`: what exists and what is on sale.
//!
//! It owns the views of the catalog's states. It refuses to change them: the seed and later the catalog's editors do.

use super::Core;
use crate::shared::{
    extract::ApiQuery,
    paging::{ListOf, Page, PageQuery, PageRequest},
    problem::{self, Problem},
    respond::{Success, SuccessBody},
};
use axum::extract::State;
use kisum_domains::{Addon, Module, Package, PermissionStanding, catalog::Version};
use kisum_events::{Aggregate, Limits, StreamName};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A module.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModuleView {
    /// Its key.
    key: String,
    /// Its display name.
    name: String,
    /// Its permissions, in order.
    permissions: Vec<PermissionView>,
}

/// A permission.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PermissionView {
    /// Its key.
    key: String,
    /// Whether it can no longer be granted.
    retired: bool,
}

/// A package or an add-on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SoldView {
    /// Its key.
    key: String,
    /// Its versions, in order.
    versions: Vec<VersionView>,
}

/// A published version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionView {
    /// Its number, from 1.
    version: u32,
    /// What it contains.
    modules: Vec<String>,
    /// Its limits, by name.
    #[schema(value_type = std::collections::BTreeMap<String, i64>)]
    limits: Limits,
    /// Whether it is no longer on sale.
    retired: bool,
}

/// Lists the modules.
#[utoipa::path(get, path = "/internal/v1/modules", tag = "catalog", params(PageQuery),
    responses((status = 200, description = "A page of modules, by key.", body = SuccessBody<Page<ModuleView>>)))]
pub(super) async fn list_modules(
    State(core): State<Core>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Page<ModuleView>>, Problem> {
    list(&core, "module", query, |key, module: Module| ModuleView {
        key,
        name: module.name,
        permissions: module.permissions.into_iter().map(|(key, standing)| permission(key.into(), standing)).collect(),
    })
    .await
}

/// Lists the packages.
#[utoipa::path(get, path = "/internal/v1/packages", tag = "catalog", params(PageQuery),
    responses((status = 200, description = "A page of packages, by key.", body = SuccessBody<Page<SoldView>>)))]
pub(super) async fn list_packages(
    State(core): State<Core>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Page<SoldView>>, Problem> {
    list(&core, "package", query, |key, package: Package| sold(key, package.versions)).await
}

/// Lists the add-ons.
#[utoipa::path(get, path = "/internal/v1/addons", tag = "catalog", params(PageQuery),
    responses((status = 200, description = "A page of add-ons, by key.", body = SuccessBody<Page<SoldView>>)))]
pub(super) async fn list_addons(
    State(core): State<Core>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Page<SoldView>>, Problem> {
    list(&core, "addon", query, |key, addon: Addon| sold(key, addon.versions)).await
}

fn permission(key: String, standing: PermissionStanding) -> PermissionView {
    PermissionView { key, retired: standing == PermissionStanding::Retired }
}

fn sold(key: String, versions: BTreeMap<u32, Version>) -> SoldView {
    let view = |(version, sold): (u32, Version)| VersionView {
        version,
        modules: sold.modules.into_iter().map(String::from).collect(),
        limits: sold.limits,
        retired: sold.retired,
    };
    SoldView { key, versions: versions.into_iter().map(view).collect() }
}

/// A page of the catalog's streams of one kind, by key.
async fn list<A: Aggregate, V>(
    core: &Core,
    kind: &str,
    query: PageQuery,
    view: impl Fn(String, A) -> V,
) -> Result<Success<Page<V>>, Problem> {
    let request: PageRequest<String> = query.request(ListOf::new(kind, "catalog", &()))?;
    let names = names(core, kind, &request).await?;
    let loaded = core.log.load_all::<A>(names).await.map_err(problem::of_load)?;
    let mut states: Vec<_> = loaded.into_iter().map(|loaded| (loaded.stream.id().to_owned(), loaded.state)).collect();
    states.sort_by(|(one, _), (other, _)| one.cmp(other));
    let key_of = |(key, _): &(String, A)| key.clone();
    Ok(Success(Page::of(states, &request, key_of, |(key, state)| view(key, state))))
}

async fn names(core: &Core, kind: &str, request: &PageRequest<String>) -> Result<Vec<StreamName>, Problem> {
    // The hyphen ends the kind, and the next character in order is the full stop: names sort by their bytes.
    let first = format!("{kind}-{}", request.after.as_deref().unwrap_or_default());
    let end = format!("{kind}.");
    let names = sqlx::query_scalar!(
        "select name from stream where name > $1 and name < $2 order by name limit $3",
        first,
        end,
        request.fetch()
    )
    .fetch_all(core.log.pool())
    .await
    .map_err(problem::of_query)?;
    Ok(names.into_iter().map(StreamName::from_stored).collect())
}
