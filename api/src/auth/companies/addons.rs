//! `PUT` and `DELETE /companies/{company}/addons/{addon}`: what a company buys for itself.
//!
//! It owns who may ask, and handing the command and Core's answer on. It refuses to decide about purchases: Core does, with
//! the person as the actor, whose token it checks again. What cannot be told is 503, never half a success.

use super::public::ForCompany;
use crate::{
    auth::{
        Auth,
        companies::grounds::Grounds,
        peers::{Command, PeerError, Reply},
        person::denied,
    },
    shared::{
        access_position::AccessPosition,
        config::Secret,
        extract::ApiPath,
        idempotency::Idempotency,
        problem::{Chain, Problem, reason},
        request_label::RequestLabel,
        respond::{NoContent, Receipted, SuccessBody},
    },
};
use axum::{
    body::Body,
    extract::{FromRequestParts, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use kisum_events::{AddonKey, CompanyId};
use serde::Deserialize;
use std::time::Duration;

/// Longest wait for Core. It commits sooner, or says that it does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// A person who may buy for the company: asked before anything else of the request is looked at.
pub(super) struct Buyer {
    company: CompanyId,
    token: Secret,
}

impl FromRequestParts<Auth> for Buyer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, auth: &Auth) -> Result<Self, Problem> {
        let actor = ForCompany::from_request_parts(parts, auth).await?;
        let grounds = Grounds::read(auth, &actor.by(), actor.company).await?;
        if !grounds.authority().rights().can_buy_addons {
            return Err(denied(reason::ROLE_TOO_LOW, "Your role does not allow this."));
        }
        if !auth.self_service_billing {
            let message = "Companies do not change their own purchases here: ask the platform.";
            return Err(denied(reason::SELF_SERVICE_DISABLED, message));
        }
        let token = Secret::new(kisum_guard::bearer(&parts.headers)?);
        Ok(Self { company: actor.company, token })
    }
}

/// The add-on that a path names.
#[derive(Deserialize)]
pub(super) struct AddonPath {
    addon: String,
}

/// Buys an add-on for the company, from now on. A superadmin does.
#[utoipa::path(put, path = "/companies/{company}/addons/{addon}", tag = "purchases",
    params(("company" = Uuid, Path), ("addon" = String, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])),
    responses((status = 200, description = "What the company owns now, as Core says it.",
        body = SuccessBody<serde_json::Value>)))]
pub(super) async fn buy_addon(
    State(auth): State<Auth>,
    buyer: Buyer,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<AddonPath>,
) -> Result<Response, Problem> {
    forward(&auth, &buyer, (Method::PUT, &path.addon), (&label, idempotency)).await
}

/// Gives an add-on of the company up, now.
#[utoipa::path(delete, path = "/companies/{company}/addons/{addon}", tag = "purchases",
    params(("company" = Uuid, Path), ("addon" = String, Path),
        ("x-org" = String, Header, description = "The same company.")),
    security(("bearer" = [])), responses((status = 204, description = "It is over.")))]
pub(super) async fn give_addon_up(
    State(auth): State<Auth>,
    buyer: Buyer,
    label: RequestLabel,
    idempotency: Idempotency,
    ApiPath(path): ApiPath<AddonPath>,
) -> Result<Response, Problem> {
    forward(&auth, &buyer, (Method::DELETE, &path.addon), (&label, idempotency)).await
}

async fn forward(
    auth: &Auth,
    buyer: &Buyer,
    (method, addon): (Method, &str),
    (label, idempotency): (&RequestLabel, Idempotency),
) -> Result<Response, Problem> {
    // Before it stands in a path: one of another form names no add-on.
    let addon: AddonKey = addon.parse().map_err(|_| Problem::unprocessable("There is no add-on of that name."))?;
    let path = format!("/internal/v1/companies/{}/addons/{addon}", buyer.company);
    let command = Command {
        method: &method,
        path: &path,
        actor_token: &buyer.token,
        idempotency_key: idempotency.key(),
        label: label.as_str(),
    };
    let reply = auth.core.send(command, PATIENCE).await.map_err(|error| unanswered(&error))?;
    hand_on(reply)
}

/// Core's answer, as the person gets it.
fn hand_on(reply: Reply) -> Result<Response, Problem> {
    let Reply { status, position, body } = reply;
    match status {
        StatusCode::OK | StatusCode::NO_CONTENT => {
            // Without it nobody could wait for what was bought.
            let position: Option<AccessPosition> = position.and_then(|text| text.parse().ok());
            let position = position.ok_or_else(|| Problem::unavailable("Core's answer cannot be read; ask again."))?;
            if status == StatusCode::NO_CONTENT {
                return Ok(Receipted::new(NoContent, position).into_response());
            }
            let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            Ok(Receipted::new((json, Body::from(body)), position).into_response())
        }
        // What Core refuses it refuses to the person; its problems have the form of ours.
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
            let problem = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
            Ok((status, problem, Body::from(body)).into_response())
        }
        // A refusal of this service, or of a token that has run out meanwhile, says nothing about what was asked for.
        other => {
            tracing::warn!(event = "core.unanswered", status = other.as_u16(), "Core does not carry a purchase out");
            Err(away())
        }
    }
}

fn unanswered(error: &PeerError) -> Problem {
    tracing::warn!(event = "core.unanswered", error = %Chain(error), "Core does not carry a purchase out");
    away()
}

fn away() -> Problem {
    Problem::unavailable("Purchases cannot be changed at the moment; ask again, under the same Idempotency-Key.")
}
