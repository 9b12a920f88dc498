//! A person's sessions, for lists: the auth log's sessions, in Auth's database.
//!
//! It owns when each started, was refreshed and ended, until when it may last, and whether all of its person's were ended
//! while nobody ended it itself. It refuses to say which is live: that is the reader's instant. What is sealed (token, address, user agent) is not here.

use crate::{ApplyError, Batch, Projection, Recorded};
use kisum_events::{AnyEvent, Log, SessionEvent, SessionId, Timestamp, UserId};
use sqlx::PgConnection;
use std::{collections::BTreeMap, str::FromStr};

/// `session_list_v1`: one row per session whose time may not have run out.
#[derive(Clone, Copy, Debug)]
pub struct SessionList;

/// A row, but for its key.
struct Listed {
    user: UserId,
    amr: String,
    started_at: i64,
    refreshed_at: Option<i64>,
    idle_until: i64,
    absolute_until: i64,
    ended_at: Option<i64>,
    is_over: bool,
}

/// What an event says about a row.
enum Change {
    Started(Listed),
    Refreshed { at: i64, idle_until: i64 },
    Ended { at: i64 },
    Kept,
}

/// What an event says about rows.
enum Said {
    Of(SessionId, Change),
    /// All that the person had are over.
    AllOver(UserId),
}

/// The rows that a batch is about.
type Sessions = BTreeMap<SessionId, Listed>;

impl Projection for SessionList {
    const NAME: &'static str = "session_list_v1";
    const LOG: Log = Log::Auth;
    const TABLES: &'static [&'static str] = &["session_list_v1"];

    async fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<(), ApplyError> {
        let mut said = Vec::new();
        let mut newest: Option<Timestamp> = None;
        for recorded in batch.events {
            if let Some(change) = change_of(recorded)? {
                said.push(Said::Of(id_of(recorded)?, change));
                newest = Some(recorded.envelope.recorded_at);
            } else if matches!(&recorded.event, AnyEvent::User(event) if event.ends_sessions()) {
                said.push(Said::AllOver(id_of(recorded)?));
            }
        }
        if said.is_empty() {
            return Ok(());
        }
        let mut sessions = stored(&mut *conn, &said).await?;
        for said in said {
            fold(&mut sessions, said);
        }
        write(&mut *conn, &sessions).await?;
        // By the log's own time, so that a rebuild forgets exactly what the running projection forgot.
        if let Some(newest) = newest {
            sqlx::query!("delete from session_list_v1 where absolute_until < $1", newest.micros())
                .execute(conn)
                .await?;
        }
        Ok(())
    }

    async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from session_list_v1").execute(conn).await.map(drop)
    }
}

/// The session, or the person, whose stream it is.
fn id_of<T: FromStr>(recorded: &Recorded<'_>) -> Result<T, ApplyError> {
    let stream = &recorded.envelope.stream;
    stream
        .id()
        .parse()
        .map_err(|_| ApplyError::Refused(format!("stream '{stream}' does not name its {}", stream.kind())))
}

fn fold(sessions: &mut Sessions, said: Said) {
    match said {
        Said::AllOver(user) => {
            for row in sessions.values_mut().filter(|row| row.user == user && row.ended_at.is_none()) {
                row.is_over = true;
            }
        }
        Said::Of(id, change) => match (change, sessions.get_mut(&id)) {
            (Change::Started(listed), _) => drop(sessions.insert(id, listed)),
            (Change::Refreshed { at, idle_until }, Some(row)) => {
                (row.refreshed_at, row.idle_until) = (Some(at), idle_until);
            }
            (Change::Ended { at }, Some(row)) => row.ended_at = Some(at),
            (Change::Kept, Some(row)) => row.is_over = false,
            // Its time had run out, and it was forgotten; it may still be ended.
            (Change::Refreshed { .. } | Change::Ended { .. } | Change::Kept, None) => {}
        },
    }
}

fn change_of(recorded: &Recorded<'_>) -> Result<Option<Change>, ApplyError> {
    let AnyEvent::Session(event) = &recorded.event else { return Ok(None) };
    let recorded_at = recorded.envelope.recorded_at.micros();
    Ok(match event {
        SessionEvent::Started {
            user_id,
            amr,
            idle_until,
            absolute_until,
            token_hash: _,
            ip: _,
            agent: _,
            user_version: _,
        } => {
            let amr = serde_json::to_string(amr)
                .map_err(|error| ApplyError::Refused(format!("methods cannot be written as JSON: {error}")))?;
            Some(Change::Started(Listed {
                user: *user_id,
                amr,
                started_at: recorded_at,
                refreshed_at: None,
                idle_until: idle_until.micros(),
                absolute_until: absolute_until.micros(),
                ended_at: None,
                is_over: false,
            }))
        }
        SessionEvent::Refreshed { generation: _, rotated_at, idle_until, token_hash: _ } => {
            Some(Change::Refreshed { at: rotated_at.micros(), idle_until: idle_until.micros() })
        }
        SessionEvent::ReuseDetected { .. } | SessionEvent::SteppedUp { .. } => None,
        SessionEvent::Kept { user_version: _ } => Some(Change::Kept),
        SessionEvent::Ended { .. } => Some(Change::Ended { at: recorded_at }),
    })
}

/// The rows that are there of those that change: those named, and those of persons whose sessions are all over.
async fn stored(conn: &mut PgConnection, said: &[Said]) -> Result<Sessions, sqlx::Error> {
    let (mut ids, mut users) = (Vec::new(), Vec::new());
    for said in said {
        match said {
            Said::Of(id, _) => ids.push(id.uuid()),
            Said::AllOver(user) => users.push(user.uuid()),
        }
    }
    // Two look-ups by index, each its own: one of the two is empty nearly always.
    let rows = sqlx::query!(
        r#"select session_id as "session_id!", user_id as "user_id!", amr as "amr!", started_at as "started_at!",
                  refreshed_at, idle_until as "idle_until!", absolute_until as "absolute_until!", ended_at,
                  is_over as "is_over!"
           from session_list_v1 where session_id = any($1)
           union
           select session_id, user_id, amr, started_at, refreshed_at, idle_until, absolute_until, ended_at, is_over
           from session_list_v1 where user_id = any($2) and ended_at is null"#,
        &ids,
        &users
    )
    .fetch_all(conn)
    .await?;
    let sessions = rows.into_iter().map(|row| {
        let listed = Listed {
            user: UserId::new(row.user_id),
            amr: row.amr,
            started_at: row.started_at,
            refreshed_at: row.refreshed_at,
            idle_until: row.idle_until,
            absolute_until: row.absolute_until,
            ended_at: row.ended_at,
            is_over: row.is_over,
        };
        (SessionId::new(row.session_id), listed)
    });
    Ok(sessions.collect())
}

/// Writes rows, in one statement. Whose a session is, and how and when it started, never changes.
async fn write(conn: &mut PgConnection, sessions: &Sessions) -> Result<(), sqlx::Error> {
    let ids: Vec<_> = sessions.keys().map(|id| id.uuid()).collect();
    let users: Vec<_> = sessions.values().map(|listed| listed.user.uuid()).collect();
    let amr: Vec<_> = sessions.values().map(|listed| listed.amr.clone()).collect();
    let started: Vec<_> = sessions.values().map(|listed| listed.started_at).collect();
    let refreshed: Vec<_> = sessions.values().map(|listed| listed.refreshed_at).collect();
    let idle: Vec<_> = sessions.values().map(|listed| listed.idle_until).collect();
    let absolute: Vec<_> = sessions.values().map(|listed| listed.absolute_until).collect();
    let ended: Vec<_> = sessions.values().map(|listed| listed.ended_at).collect();
    let over: Vec<_> = sessions.values().map(|listed| listed.is_over).collect();
    sqlx::query!(
        "insert into session_list_v1
             (session_id, user_id, amr, started_at, refreshed_at, idle_until, absolute_until, ended_at, is_over)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                              $7::bigint[], $8::bigint[], $9::boolean[])
         on conflict (session_id) do update
         set refreshed_at = excluded.refreshed_at, idle_until = excluded.idle_until, ended_at = excluded.ended_at,
             is_over = excluded.is_over",
        &ids,
        &users,
        &amr,
        &started,
        &refreshed as &[Option<i64>],
        &idle,
        &absolute,
        &ended as &[Option<i64>],
        &over
    )
    .execute(conn)
    .await
    .map(drop)
}
