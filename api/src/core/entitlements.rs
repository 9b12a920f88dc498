//! `GET …/entitlements`: what a company owns, and from when until when.
//!
//! It owns the reading of the schedule and its versions in one snapshot with the log's head. It refuses to evaluate
//! anything but `basicActive`: who is active is asked with an instant, by the reader.

use super::Core;
use crate::shared::{
    ambient::Stopwatch,
    extract::ApiPath,
    problem::{self, Problem},
    respond::{Success, SuccessBody},
};
use axum::extract::State;
use kisum_domains::{Subscription, schedule};
use kisum_events::{Aggregate as _, CompanyId, Cursor, ModuleEntitlement, Position, StreamName};
use kisum_log::Loaded;
use serde::Serialize;
use utoipa::ToSchema;

/// What a company owns.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntitlementsView {
    /// Whose.
    #[schema(value_type = String, format = Uuid)]
    company_id: CompanyId,
    /// Whether Basic is active now.
    basic_active: bool,
    /// The whole schedule, future entries included.
    #[schema(value_type = Vec<EntitlementView>)]
    entitlements: Vec<ModuleEntitlement>,
    /// Position of the company's last `entitlement.changed`, 0 when there is none.
    entitlement_version: Position,
    /// The core log's head in the same snapshot.
    #[schema(value_type = CursorView)]
    as_of: Cursor,
}

/// One module that a company owns for a time, for documents.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes ModuleEntitlement, which knows no document")]
pub(crate) struct EntitlementView {
    /// The module.
    module: String,
    /// What gives it.
    source: SourceView,
    /// Owned from here on.
    #[schema(format = DateTime)]
    from: String,
    /// Owned up to, and not including, this instant; open when null.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// What limits its use, by name.
    limits: std::collections::BTreeMap<String, i64>,
}

/// What gives a module, for documents.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes EntitlementSource, which knows no document")]
pub(crate) struct SourceView {
    /// `package`, `addon`, `trial` or `override`.
    #[schema(rename = "type")]
    kind: String,
    /// Its key.
    id: String,
}

/// A place in a log, for documents.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes Cursor, which knows no document")]
pub(crate) struct CursorView {
    /// The log's epoch.
    epoch: u32,
    /// Position within it.
    position: u64,
}

/// Says what a company owns.
#[utoipa::path(get, path = "/internal/v1/companies/{id}/entitlements", tag = "purchases",
    params(("id" = String, Path, format = Uuid, description = "The company.")),
    responses((status = 200, description = "The schedule, and whether Basic is active now.",
        body = SuccessBody<EntitlementsView>)))]
pub(super) async fn get_entitlements(
    State(core): State<Core>,
    ApiPath(company): ApiPath<CompanyId>,
) -> Result<Success<EntitlementsView>, Problem> {
    read(&core, company).await.map(Success)
}

/// What a company owns, as of the log's head.
pub(super) async fn read(core: &Core, company: CompanyId) -> Result<EntitlementsView, Problem> {
    let watch = Stopwatch::start();
    let stream = StreamName::subscription(company);
    let snapshot = snapshot(core, &stream).await?;
    let (state, entitlement_version) = match snapshot.state {
        Some(state) => (state, snapshot.entitlement_version),
        // Another version of this program wrote the state: the log folds it anew. It may be newer than the head that
        // was read, never older, so `asOf` promises no more than is true.
        None => {
            let loaded: Loaded<Subscription> = core.log.load(&stream).await.map_err(problem::of_load)?;
            let version = version_of(core, &loaded).await?;
            (loaded.state, version)
        }
    };
    metrics::histogram!("kisum_entitlement_read_seconds").record(watch.elapsed());
    Ok(EntitlementsView {
        company_id: company,
        basic_active: schedule::basic_active(&state.entitlements, core.clock.now()),
        entitlements: state.entitlements,
        entitlement_version,
        as_of: snapshot.head,
    })
}

/// Position of the company's last `entitlement.changed`, 0 when there is none.
pub(super) async fn version_of(core: &Core, loaded: &Loaded<Subscription>) -> Result<Position, Problem> {
    let version = loaded.state.entitlement_stream_version;
    if version == 0 {
        return Ok(0);
    }
    let position = core.log.position_of(&loaded.stream, version).await.map_err(problem::of_load)?;
    position.ok_or_else(|| {
        tracing::error!(stream = %loaded.stream, version, "the state names an event that the log does not have");
        Problem::internal()
    })
}

struct Snapshot {
    head: Cursor,
    entitlement_version: Position,
    /// Absent when the stored state is of another schema.
    state: Option<Subscription>,
}

/// One statement, so one snapshot: head, state and version belong together.
async fn snapshot(core: &Core, stream: &StreamName) -> Result<Snapshot, Problem> {
    let row = sqlx::query!(
        r#"select log_epoch_check() as "epoch!",
                  coalesce((select b.last_position from log_batch b order by b.last_position desc limit 1), 0)
                      as "head!",
                  s.schema as "schema?", s.state as "state?",
                  coalesce((with recursive back as (
                                select e.position, e.previous_in_stream, e.type from event e
                                where e.position = s.position
                                union all
                                select e.position, e.previous_in_stream, e.type
                                from back b join event e on e.position = b.previous_in_stream
                                where b.type <> 'entitlement.changed')
                            select b.position from back b where b.type = 'entitlement.changed'), 0)
                      as "entitlement_version!"
           from (select 1) one left join stream s on s.name = $1"#,
        stream.as_str()
    )
    .fetch_one(core.log.pool())
    .await
    .map_err(problem::of_query)?;
    let current = row.schema == i16::try_from(Subscription::STATE_SCHEMA).ok();
    let state = match row.state {
        None => Some(Subscription::default()),
        Some(json) if current => Some(serde_json::from_str(&json).map_err(|error| problem::of_defect(&error))?),
        Some(_) => None,
    };
    Ok(Snapshot {
        head: Cursor { epoch: u32::try_from(row.epoch).unwrap_or(0), position: unsigned(row.head) },
        entitlement_version: unsigned(row.entitlement_version),
        state,
    })
}

fn unsigned(value: i64) -> Position {
    Position::try_from(value).unwrap_or(0)
}
