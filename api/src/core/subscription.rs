//! `PUT|DELETE …/subscription` and `PUT|DELETE …/addons/{addon}`: what a company buys and ends.
//!
//! It translates between HTTP and the decisions of `kisum-domains`; it decides nothing.

use super::{
    Core,
    entitlements::{self, EntitlementsView},
    offer,
    purchase::{Purchase, Sender, refused_ending, refused_purchase},
};
use crate::shared::{
    ambient::Clock,
    extract::ApiPath,
    idempotency::{ApiCommand, Idempotency},
    problem::Problem,
    respond::{NoContent, Receipted, Success, SuccessBody},
};
use axum::extract::State;
use kisum_domains::subscription::{self, Term};
use kisum_events::{AddonKey, CompanyId, PackageKey, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;

type Changed = Receipted<Success<EntitlementsView>>;

/// Which package, and for how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscriptionBody {
    /// The package's key.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9-]{0,62}$", example = "basic")]
    package: PackageKey,
    /// From then on; now when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Until then; open when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// For how long.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TermBody {
    /// From then on; now when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Until then; open when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

fn term(clock: &Clock, from: Option<Timestamp>, until: Option<Timestamp>) -> Term {
    Term { from: from.unwrap_or_else(|| clock.now()), until }
}

/// Subscribes a company to a package, or moves it to another.
#[utoipa::path(put, path = "/internal/v1/companies/{id}/subscription", tag = "purchases",
    params(("id" = String, Path, format = Uuid, description = "The company."),
        ("Idempotency-Key" = Option<String>, Header, format = Uuid, description = "Names the command.")),
    request_body = SubscriptionBody,
    responses((status = 200, description = "The company's entitlements as they are now.",
        body = SuccessBody<EntitlementsView>)))]
pub(super) async fn put_subscription(
    State(core): State<Core>,
    ApiPath(company): ApiPath<CompanyId>,
    sender: Sender,
    ApiCommand { body, idempotency }: ApiCommand<SubscriptionBody>,
) -> Result<Changed, Problem> {
    let purchase =
        Purchase { core: &core, company, command: "subscription.set", sender: &sender, idempotency: &idempotency };
    let position = match purchase.earlier().await? {
        Some(position) => position,
        None => {
            let (offer, package) = offer::package(&core, &body.package).await?;
            let term = term(&core.clock, body.from, body.until);
            let decide =
                |state: &_, change| subscription::set_plan(state, &offer, term, change).map_err(refused_purchase);
            purchase.execute(|append| append.guard(&package), decide).await?
        }
    };
    Ok(Receipted::new(Success(entitlements::read(&core, company).await?), position))
}

/// Ends a company's subscription now.
#[utoipa::path(delete, path = "/internal/v1/companies/{id}/subscription", tag = "purchases",
    params(("id" = String, Path, format = Uuid, description = "The company."),
        ("Idempotency-Key" = Option<String>, Header, format = Uuid, description = "Names the command.")),
    responses((status = 204, description = "It is over.")))]
pub(super) async fn delete_subscription(
    State(core): State<Core>,
    ApiPath(company): ApiPath<CompanyId>,
    sender: Sender,
    idempotency: Idempotency,
) -> Result<Receipted<NoContent>, Problem> {
    let purchase =
        Purchase { core: &core, company, command: "subscription.cancel", sender: &sender, idempotency: &idempotency };
    let position = match purchase.earlier().await? {
        Some(position) => position,
        None => {
            let decide = |state: &_, change: subscription::Change| {
                subscription::cancel(state, change.now, change).map_err(refused_ending)
            };
            purchase.execute(|_| {}, decide).await?
        }
    };
    Ok(Receipted::new(NoContent, position))
}

/// Attaches an add-on to a company, or changes for how long.
#[utoipa::path(put, path = "/internal/v1/companies/{id}/addons/{addon}", tag = "purchases",
    params(("id" = String, Path, format = Uuid, description = "The company."),
        ("addon" = String, Path, description = "The add-on's key."),
        ("Idempotency-Key" = Option<String>, Header, format = Uuid, description = "Names the command.")),
    request_body = TermBody,
    responses((status = 200, description = "The company's entitlements as they are now.",
        body = SuccessBody<EntitlementsView>)))]
pub(super) async fn put_addon(
    State(core): State<Core>,
    ApiPath((company, addon)): ApiPath<(CompanyId, AddonKey)>,
    sender: Sender,
    ApiCommand { body, idempotency }: ApiCommand<TermBody>,
) -> Result<Changed, Problem> {
    let command = format!("addon.attach {addon}");
    let purchase = Purchase { core: &core, company, command: &command, sender: &sender, idempotency: &idempotency };
    let position = match purchase.earlier().await? {
        Some(position) => position,
        None => {
            let (offer, sold) = offer::addon(&core, &addon).await?;
            let term = term(&core.clock, body.from, body.until);
            let decide =
                |state: &_, change| subscription::attach_addon(state, &offer, term, change).map_err(refused_purchase);
            purchase.execute(|append| append.guard(&sold), decide).await?
        }
    };
    Ok(Receipted::new(Success(entitlements::read(&core, company).await?), position))
}

/// Detaches an add-on from a company now.
#[utoipa::path(delete, path = "/internal/v1/companies/{id}/addons/{addon}", tag = "purchases",
    params(("id" = String, Path, format = Uuid, description = "The company."),
        ("addon" = String, Path, description = "The add-on's key."),
        ("Idempotency-Key" = Option<String>, Header, format = Uuid, description = "Names the command.")),
    responses((status = 204, description = "It is over.")))]
pub(super) async fn delete_addon(
    State(core): State<Core>,
    ApiPath((company, addon)): ApiPath<(CompanyId, AddonKey)>,
    sender: Sender,
    idempotency: Idempotency,
) -> Result<Receipted<NoContent>, Problem> {
    let command = format!("addon.detach {addon}");
    let purchase = Purchase { core: &core, company, command: &command, sender: &sender, idempotency: &idempotency };
    let position = match purchase.earlier().await? {
        Some(position) => position,
        None => {
            let decide = |state: &_, change: subscription::Change| {
                subscription::detach_addon(state, &addon, change.now, change).map_err(refused_ending)
            };
            purchase.execute(|_| {}, decide).await?
        }
    };
    Ok(Receipted::new(NoContent, position))
}
