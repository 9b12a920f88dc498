//! `GET /internal/v1/revocations`: the sessions that ended while tokens of theirs may be alive, for a guard that
//! starts cold.

use crate::{
    auth::Auth,
    shared::{
        extract::ApiQuery,
        problem::{self, Problem},
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use uuid::Uuid;

/// Which ends.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RevocationsQuery {
    /// Ends behind this position.
    #[serde(default)]
    after: u64,
}

/// Sessions that have ended, complete up to a position.
#[derive(Debug, Serialize)]
pub(super) struct Revocations {
    epoch: u32,
    position: u64,
    sessions: Vec<Revoked>,
}

/// A session that has ended.
#[derive(Debug, Serialize)]
struct Revoked {
    sid: SessionId,
    /// Its last access token has expired by then.
    until: Timestamp,
}

/// Lists ended sessions whose tokens may be alive.
#[utoipa::path(get, path = "/internal/v1/revocations", tag = "guards", params(RevocationsQuery),
    responses((status = 200, description = "Sessions, complete up to `position`.",
        body = SuccessBody<serde_json::Value>)))]
pub(super) async fn revocations(
    State(auth): State<Auth>,
    ApiQuery(query): ApiQuery<RevocationsQuery>,
) -> Result<Success<Revocations>, Problem> {
    let after = i64::try_from(query.after).unwrap_or(i64::MAX);
    // One statement, one snapshot. What the projection has not folded yet is read from the log itself, so the list is
    // complete up to the head however far behind the projection is. A checkpoint of another epoch counts as none.
    let rows = sqlx::query!(
        r#"with head as (
               select log_epoch_check() as epoch,
                      coalesce((select last_position from log_batch order by last_position desc limit 1), 0) as position),
           folded as (
               select coalesce(max(p.position), 0) as position from projection_checkpoint p, head
               where p.name = 'ended_sessions_v1' and p.epoch = head.epoch),
           ended as (
               select session_id, until from ended_session_v1 where until > $1 and position > $2
               union
               select substr(e.stream, 9)::uuid, (extract(epoch from (e.data::json ->> 'tokensUntil')::timestamptz) * 1000000)::bigint
               from event e, folded
               where e.position > greatest(folded.position, $2) and e.effect <> 'none' and e.type = 'session.ended')
           select head.epoch as "epoch!", head.position as "position!", ended.session_id as "session_id?: Uuid",
                  ended.until as "until?"
           from head left join ended on ended.until > $1"#,
        auth.clock.now().micros(),
        after
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(|error| problem::of_load(error.into()))?;
    let first = rows.first().ok_or_else(Problem::internal)?;
    let (epoch, position) = (u32::try_from(first.epoch).unwrap_or(0), u64::try_from(first.position).unwrap_or(0));
    let session = |(id, until)| Revoked { sid: SessionId::new(id), until: Timestamp::from_micros(until) };
    let sessions = rows.into_iter().filter_map(|row| row.session_id.zip(row.until)).map(session).collect();
    Ok(Success(Revocations { epoch, position, sessions }))
}
