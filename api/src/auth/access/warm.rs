//! The contexts in Redis as a projection of both logs: whom an event names, their context is made anew before they
//! ask; and a cold Redis is filled with those of everybody who is signed in.
//!
//! It owns whose contexts those are, and how fast they are made. A context says itself up to where it holds, so it needs
//! no checkpoint: what is skipped here, because there is too much of it or a process ends, is a miss and no more. It
//! refuses to keep anybody waiting.

use super::{Access, AccessError, Question};
use crate::{auth::redis::Redis, shared::problem::Chain};
use kisum_events::{AsOf, CompanyId, MembershipId, SessionId, UserId};
use kisum_guard::{Named, XOrg};
use std::{collections::HashSet, time::Duration};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

/// How long names gather, so that ten events about one person make one context.
const GATHER: Duration = Duration::from_millis(50);
/// Members whose contexts are made at once because of one event; the others' are made when they ask.
const MEMBERS_MAX: i64 = 1_000;
/// The least time between two contexts: at most 500 a second, a twentieth of what the database resolves.
const PAUSE: Duration = Duration::from_millis(2);
/// How often it is looked whether Redis has become cold.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// People whose contexts a cold Redis is filled with, the newest sessions first.
const FILLED_MAX: i64 = 20_000;
/// Says that Redis was filled; whoever empties Redis takes it away, too.
const FILLED: &str = "access:filled";

/// A member who is signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Member {
    company: CompanyId,
    user: UserId,
    session: SessionId,
}

/// Whose contexts are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Company(CompanyId),
    Membership(MembershipId),
    User(UserId),
    Everybody,
}

impl Whose {
    fn by(named: Named) -> Option<Self> {
        Some(match named {
            Named::Company(id) => Self::Company(id),
            Named::Membership { id, .. } => Self::Membership(id),
            Named::User(id) | Named::EndedSession { user: id, .. } => Self::User(id),
            Named::Keys => return None,
            Named::Everybody => Self::Everybody,
        })
    }
}

/// Keeps Redis warm until shutdown.
pub(in crate::auth) async fn keep_warm(access: Access, redis: Redis, mut shutdown: watch::Receiver<bool>) {
    let mut named = access.memory.named();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let wanted = tokio::select! {
            () = told_to_end(&mut shutdown) => return,
            wanted = gathered(&mut named) => wanted,
            _ = look.tick() => {
                if !is_cold(&access, &redis).await {
                    continue;
                }
                HashSet::from([Whose::Everybody])
            }
        };
        let warmed = tokio::select! {
            () = told_to_end(&mut shutdown) => return,
            warmed = warm(&access, &redis, wanted) => warmed,
        };
        if let Err(error) = warmed {
            tracing::warn!(event = "access.not_warmed", error = %Chain(&error), "contexts in Redis are made when asked for");
        }
    }
}

/// Resolves once the process is told to end, or nobody is left who could tell it.
async fn told_to_end(shutdown: &mut watch::Receiver<bool>) {
    // The guard that a watch hands out is not Send; it is dropped here.
    let _ = shutdown.wait_for(|end| *end).await;
}

/// Whom the events of a moment named. Names that were missed are nobody's: their contexts are made when they ask.
async fn gathered(named: &mut broadcast::Receiver<Named>) -> HashSet<Whose> {
    let mut wanted = HashSet::new();
    loop {
        match named.recv().await {
            Ok(name) => {
                wanted.extend(Whose::by(name));
                break;
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            // The memory is gone, and so is this task in a moment.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
    tokio::time::sleep(GATHER).await;
    while let Ok(name) = named.try_recv() {
        wanted.extend(Whose::by(name));
    }
    wanted
}

/// Whether Redis answers and was not filled since it was emptied, while what would be filled in could be vouched for.
async fn is_cold(access: &Access, redis: &Redis) -> bool {
    if !access.memory.is_proven() {
        return false;
    }
    let ask = redis::pipe().cmd("EXISTS").arg(FILLED).to_owned();
    matches!(redis.ask::<(bool,)>(&ask).await, Some((false,)))
}

async fn warm(access: &Access, redis: &Redis, wanted: HashSet<Whose>) -> Result<(), AccessError> {
    for whose in wanted {
        if redis.is_quiet() {
            return Ok(());
        }
        let members = signed_in(access, whose).await?;
        let total = members.len();
        for member in members {
            if redis.is_quiet() {
                return Ok(());
            }
            match make(access, member).await {
                Ok(()) => {}
                // The database is gone, and so is everybody else's context.
                Err(error @ AccessError::Load(_)) => return Err(error),
                Err(error) => tracing::warn!(event = "access.not_warmed", error = %Chain(&error), "one is left out"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        if whose == Whose::Everybody {
            let done = redis::pipe().cmd("SET").arg(FILLED).arg(total).ignore().to_owned();
            let _cold_again: Option<()> = redis.ask(&done).await;
            tracing::info!(event = "access.warmed", contexts = total, "a cold Redis was filled");
        }
    }
    Ok(())
}

/// Makes one member's context and stores it.
async fn make(access: &Access, member: Member) -> Result<(), AccessError> {
    let company = XOrg::Id(member.company);
    let question = Question { user: member.user, session: member.session, company };
    let answer = access.resolved(&question, AsOf::default()).await?;
    access.cache.store(&question.company, &answer).await;
    metrics::counter!("kisum_access_warmed_total").increment(1);
    Ok(())
}

/// Members who are signed in, each once.
async fn signed_in(access: &Access, whose: Whose) -> Result<Vec<Member>, AccessError> {
    let (company, membership, user, most) = match whose {
        Whose::Company(id) => (Some(id.uuid()), None, None, MEMBERS_MAX),
        Whose::Membership(id) => (None, Some(id.uuid()), None, MEMBERS_MAX),
        Whose::User(id) => (None, None, Some(id.uuid()), MEMBERS_MAX),
        Whose::Everybody => (None, None, None, FILLED_MAX),
    };
    let now = access.clock.now().micros();
    let rows = sqlx::query!(
        r#"select m.company_id, m.user_id, s.session_id as "session_id!"
           from member_list_v1 m
           cross join lateral (
               select session_id, started_at from session_list_v1
               where user_id = m.user_id and ended_at is null and idle_until > $4 and absolute_until > $4
               order by started_at desc limit 1) s
           where m.status = 'active'
             and ($1::uuid is null or m.company_id = $1)
             and ($2::uuid is null or m.membership_id = $2)
             and ($3::uuid is null or m.user_id = $3)
           order by s.started_at desc
           limit $5"#,
        company,
        membership,
        user,
        now,
        most
    )
    .fetch_all(access.log.pool())
    .await
    .map_err(|error| AccessError::Load(error.into()))?;
    let member = |company: Uuid, user: Uuid, session: Uuid| Member {
        company: CompanyId::new(company),
        user: UserId::new(user),
        session: SessionId::new(session),
    };
    Ok(rows.into_iter().map(|row| member(row.company_id, row.user_id, row.session_id)).collect())
}
