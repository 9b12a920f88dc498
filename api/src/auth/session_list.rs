//! `GET /auth/sessions`: where the caller is signed in.

use super::{
    Auth,
    companies::Carried,
    lists::{self, ListAsOf},
    person::Person,
    sessions::SESSIONS_MAX,
};
use crate::shared::{
    problem::{self, Problem},
    respond::{Success, SuccessBody},
};
use axum::extract::State;
use kisum_events::{AuthMethod, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Where the caller is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sessions {
    /// Live sessions, the newest first.
    items: Vec<SessionView>,
    /// What the list was made from.
    as_of: ListAsOf,
}

/// A live session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    /// Its id.
    id: Uuid,
    /// Whether the request came by it.
    current: bool,
    /// How the person proved who they are (RFC 8176).
    #[schema(value_type = Vec<String>)]
    amr: Vec<AuthMethod>,
    /// When they did.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When the session was last refreshed; null while it never was.
    #[schema(value_type = Option<String>, format = DateTime)]
    refreshed_at: Option<Timestamp>,
    /// Without a refresh it ends here.
    #[schema(value_type = String, format = DateTime)]
    idle_until: Timestamp,
    /// It ends here whatever happens.
    #[schema(value_type = String, format = DateTime)]
    absolute_until: Timestamp,
}

/// Lists the caller's live sessions, the newest first.
#[utoipa::path(get, path = "/auth/sessions", tag = "sessions", security(("bearer" = [])),
    params(("X-Access-Position" = Option<String>, Header, description = "What the list must contain.")),
    responses((status = 200, description = "Live sessions, at most 100.", body = SuccessBody<Sessions>)))]
pub(super) async fn list_own(
    State(auth): State<Auth>,
    person: Person,
    carried: Carried,
) -> Result<Success<Sessions>, Problem> {
    lists::settle(&auth, &auth.session_list, carried).await?;
    // One statement, one snapshot of the rows and of what they stand for.
    let rows = sqlx::query!(
        r#"select log_epoch_check() as "current!", p.epoch as "epoch?", p.position as "position?",
                  s.session_id as "session_id?", s.amr as "amr?", s.started_at as "started_at?", s.refreshed_at,
                  s.idle_until as "idle_until?", s.absolute_until as "absolute_until?"
           from (values (1)) as one (row)
           left join projection_checkpoint p on p.name = 'session_list_v1'
           left join session_list_v1 s
               on s.user_id = $1 and s.ended_at is null and least(s.idle_until, s.absolute_until) > $2
           order by s.started_at desc, s.session_id desc limit $3"#,
        person.user.uuid(),
        auth.clock.now().micros(),
        SESSIONS_MAX
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(|error| problem::of_load(error.into()))?;
    let first = rows.first().ok_or_else(Problem::internal)?;
    let as_of = ListAsOf::read(first.current, first.epoch, first.position)?;
    let items = rows.into_iter().filter_map(|row| {
        let id = row.session_id?;
        Some(SessionView {
            id,
            current: id == person.session.uuid(),
            amr: serde_json::from_str(&row.amr?).unwrap_or_default(),
            started_at: Timestamp::from_micros(row.started_at?),
            refreshed_at: row.refreshed_at.map(Timestamp::from_micros),
            idle_until: Timestamp::from_micros(row.idle_until?),
            absolute_until: Timestamp::from_micros(row.absolute_until?),
        })
    });
    Ok(Success(Sessions { items: items.collect(), as_of }))
}
