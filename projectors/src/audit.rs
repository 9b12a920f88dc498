//! What happened in a company: the auth log's events that are about one, by what they are searched by, in Auth's
//! database.
//!
//! It owns which events those are. It holds positions and no payloads: whoever lists events reads them from the log in
//! the same snapshot. What belongs to a person alone, above all their sessions, is in no company's audit.

use crate::{ApplyError, Batch, Projection, Recorded, checkpoint};
use kisum_events::{AnyEvent, CompanyId, Log};
use sqlx::PgConnection;

/// `audit_v1`: one row per event of a company.
#[derive(Clone, Copy, Debug)]
pub struct Audit;

impl Projection for Audit {
    const NAME: &'static str = "audit_v1";
    const LOG: Log = Log::Auth;
    const TABLES: &'static [&'static str] = &["audit_v1"];

    async fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<(), ApplyError> {
        let (mut companies, mut times, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        let (mut types, mut actors, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for recorded in batch.events {
            let Some(company) = company_of(recorded) else { continue };
            let envelope = recorded.envelope;
            companies.push(company.uuid());
            times.push(envelope.recorded_at.micros());
            positions.push(checkpoint::to_stored(envelope.position));
            types.push(envelope.event_type.clone());
            actors.push(envelope.meta.actor.to_string());
            targets.push(envelope.stream.as_str().to_owned());
        }
        if positions.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "insert into audit_v1 (company_id, recorded_at, position, type, actor, target)
             select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[])
             on conflict do nothing",
            &companies,
            &times,
            &positions,
            &types,
            &actors,
            &targets
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from audit_v1").execute(conn).await.map(drop)
    }
}

/// The company in whose audit an event stands. A kind of event is in none until somebody says here that it is.
fn company_of(recorded: &Recorded<'_>) -> Option<CompanyId> {
    match recorded.event {
        AnyEvent::Company(_)
        | AnyEvent::Membership(_)
        | AnyEvent::Invitation(_)
        | AnyEvent::Role(_)
        | AnyEvent::Delegation(_) => recorded.envelope.company_id,
        // A person's own account and sign-ins are no company's business, whatever companies they belong to.
        AnyEvent::User(_) | AnyEvent::Session(_) | AnyEvent::Signin(_) => None,
        // The platform's own, and who works for it.
        AnyEvent::Keyring(_) | AnyEvent::Staff(_) => None,
        // The core log's, and the log's own.
        AnyEvent::Module(_)
        | AnyEvent::Package(_)
        | AnyEvent::Addon(_)
        | AnyEvent::Subscription(_)
        | AnyEvent::Log(_) => None,
    }
}
