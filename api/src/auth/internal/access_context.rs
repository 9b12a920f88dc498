//! `POST /internal/v1/access-context`: what a guard asks when it does not know.

use crate::{
    auth::{Auth, person},
    shared::{
        caller::Caller,
        config::Secret,
        extract::ApiJson,
        observe,
        problem::Problem,
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{AccessAnswer, AccessOutcome, AsOf};
use kisum_guard::XOrg;
use serde::Deserialize;
use utoipa::ToSchema;

/// A guard's question.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContextQuestion {
    /// The person's own access token: the decision is about them, never about the calling service (security.md, 16).
    user_token: String,
    /// The company, by id or short name.
    x_org: String,
    /// What the guard has applied of each log: the answer is at least as new.
    #[schema(value_type = Object)]
    applied: AsOf,
}

/// Answers what one person may do in one company.
#[utoipa::path(post, path = "/internal/v1/access-context", tag = "guards", request_body = ContextQuestion,
    responses((status = 200, description = "The outcome and, when active, the context.",
        body = SuccessBody<serde_json::Value>)))]
pub(super) async fn access_context(
    State(auth): State<Auth>,
    caller: Caller,
    ApiJson(question): ApiJson<ContextQuestion>,
) -> Result<Success<AccessAnswer>, Problem> {
    let token = Secret::new(question.user_token);
    let person = person::of_token(&auth, token.expose()).await?;
    let company = XOrg::parse(&question.x_org)
        .ok_or_else(|| Problem::validation("The field xOrg is neither a UUID nor a company's short name."))?;
    let known = auth.access.answer(person.asker(), company, question.applied).await.map_err(person::unprovable)?;
    let answer = known.answer.to_wire(known.as_of);
    if let Some(company) = answer.subject.company_id {
        observe::note_company(company);
    }
    note(&caller, &answer);
    Ok(Success(answer))
}

fn note(caller: &Caller, answer: &AccessAnswer) {
    let reason = match answer.outcome {
        AccessOutcome::Active => return,
        AccessOutcome::NotAMember => "not_a_member",
        AccessOutcome::Suspended => "suspended",
        AccessOutcome::CompanyNotActive => "company_not_active",
        AccessOutcome::SessionRevoked => "session_revoked",
    };
    metrics::counter!("kisum_access_denied_total", "reason" => reason).increment(1);
    tracing::info!(event = "access.denied", reason, caller = caller.service, "a guard was told no");
}
