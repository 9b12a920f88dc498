//! What each company owns and when: the core log's `entitlement.changed`, in Auth's database.

use crate::{ApplyError, Batch, Projection, checkpoint};
use kisum_events::{AnyEvent, CompanyId, Log, ModuleEntitlement, Position, SubscriptionEvent};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// `entitlements_v1`: one row per company with its whole schedule, future entries included.
#[derive(Clone, Copy, Debug)]
pub struct Entitlements;

impl Projection for Entitlements {
    const NAME: &'static str = "entitlements_v1";
    const LOG: Log = Log::Core;
    const TABLES: &'static [&'static str] = &["company_entitlement_v1"];

    async fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<(), ApplyError> {
        let mut latest: BTreeMap<CompanyId, (&[ModuleEntitlement], Position)> = BTreeMap::new();
        for recorded in batch.events {
            if let AnyEvent::Subscription(SubscriptionEvent::EntitlementChanged { company_id, entitlements, .. }) =
                &recorded.event
            {
                // The envelope's position is the version: the same number that the payload carries.
                latest.insert(*company_id, (entitlements, recorded.envelope.position));
            }
        }
        if latest.is_empty() {
            return Ok(());
        }
        let companies: Vec<_> = latest.keys().map(|company| company.uuid()).collect();
        let schedules = latest
            .values()
            .map(|(schedule, _)| serde_json::to_string(schedule))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ApplyError::Refused(format!("a schedule cannot be written as JSON: {error}")))?;
        let versions: Vec<_> = latest.values().map(|(_, version)| checkpoint::to_stored(*version)).collect();
        sqlx::query!(
            "insert into company_entitlement_v1 (company_id, schedule, entitlement_version, epoch)
             select company_id, schedule, entitlement_version, $4
             from unnest($1::uuid[], $2::text[], $3::bigint[]) as changed (company_id, schedule, entitlement_version)
             on conflict (company_id) do update
             set schedule = excluded.schedule, entitlement_version = excluded.entitlement_version,
                 epoch = excluded.epoch",
            &companies,
            &schedules,
            &versions,
            checkpoint::to_stored_epoch(batch.epoch)
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from company_entitlement_v1").execute(conn).await.map(drop)
    }
}
