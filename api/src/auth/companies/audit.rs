//! `GET /companies/{company}/audit`: what happened in a company, page by page.
//!
//! Which events they are comes from the read model, what they say from the log, in one snapshot. It reads what the log
//! publishes and no sealed column. What the company bought is in the core log, which this is no fold of.

use super::{Carried, public::Manager};
use crate::{
    auth::{
        Auth,
        lists::{self, ListAsOf},
    },
    shared::{
        extract::ApiQuery,
        paging::{ListOf, Page, PageQuery, PageRequest},
        problem::{self, Problem},
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{Actor, CompanyId, MembershipId, Meta, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Characters of an event type or a target at most: beyond it, nothing is called so.
const NAME_LEN_MAX: usize = 100;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Items of the page, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
    /// Where the page before ended, as that page's `nextCursor` says.
    cursor: Option<String>,
    /// Only events of this type, such as `membership.module_granted`.
    #[serde(rename = "type")]
    #[param(max_length = 100)]
    event_type: Option<String>,
    /// Only what this one did: `user:{id}`, `service:{name}` or `system`.
    actor: Option<String>,
    /// Only what was done to this: `{kind}:{id}`.
    #[param(max_length = 100)]
    target: Option<String>,
    /// Only what was done to this membership: short for `target=membership:{id}`, and not beside it.
    membership: Option<Uuid>,
    /// Only events of this instant and later ones.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Only events before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

/// A page of a company's audit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Audit {
    #[serde(flatten)]
    page: Page<AuditView>,
    /// What the list was made from.
    as_of: ListAsOf,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditView {
    /// The event's id.
    id: Uuid,
    /// Its position in the auth log.
    position: i64,
    /// When it was committed.
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    /// Who did it: `user:{id}`, `service:{name}` or `system`.
    #[schema(value_type = String)]
    actor: Actor,
    /// What happened.
    #[serde(rename = "type")]
    event_type: String,
    /// To what it was done.
    target: Target,
    /// The command that did it. What one command did has one id.
    request_id: Uuid,
    /// The label of the request that brought the command, where it had one.
    correlation_id: Option<String>,
    /// The schema of `data`, from 1.
    schema: i16,
    /// What the event says, with what was before where it says so.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

/// To what something was done.
#[derive(Debug, Serialize, ToSchema)]
struct Target {
    /// `company`, `membership` and so on.
    kind: String,
    /// Its id.
    id: String,
}

/// Lists what happened in a company, the newest first.
#[utoipa::path(get, path = "/companies/{company}/audit", tag = "audit",
    params(("company" = Uuid, Path), AuditQuery,
        ("x-org" = String, Header, description = "The same company."),
        ("X-Access-Position" = Option<String>, Header, description = "What the list must contain.")),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of events.", body = SuccessBody<Audit>)))]
pub(super) async fn list_audit(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    carried: Carried,
    ApiQuery(query): ApiQuery<AuditQuery>,
) -> Result<Success<Audit>, Problem> {
    let (page, filter) = query.read(actor.company)?;
    lists::settle(&auth, &auth.audit, carried).await?;
    let (as_of, rows) = select(&auth, actor.company, &filter, &page).await?;
    let page = Page::of(rows, &page, |row| (row.recorded_at.micros(), row.position), |row| row);
    Ok(Success(Audit { page, as_of }))
}

/// What to leave out, as the read model holds it.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Filter {
    event_type: Option<String>,
    actor: Option<String>,
    target: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl AuditQuery {
    fn read(self, company: CompanyId) -> Result<(PageRequest<(i64, i64)>, Filter), Problem> {
        let membership = self.membership.map(|id| StreamName::membership(MembershipId::new(id)).to_string());
        let target = match (self.target.as_deref().map(target).transpose()?, membership) {
            (Some(_), Some(_)) => return Err(Problem::validation("Of target and membership, only one is allowed.")),
            (target, membership) => target.or(membership),
        };
        let actor = self.actor.map(|text| text.parse::<Actor>()).transpose();
        let actor = actor
            .map_err(|_| Problem::validation("The parameter actor is not user:{id}, service:{name} or system."))?;
        if self.event_type.as_ref().is_some_and(|name| !is_event_type(name)) {
            return Err(Problem::validation("The parameter type is not a type of events."));
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from >= to) {
            return Err(Problem::unprocessable("The parameter to is not later than the parameter from."));
        }
        let actor = actor.map(|actor| actor.to_string());
        let filter = Filter { event_type: self.event_type, actor, target, from: self.from, to: self.to };
        let page = PageQuery::new(self.limit, self.cursor).request(ListOf::new("audit", company, &filter))?;
        Ok((page, filter))
    }
}

/// `{kind}:{id}` as a stream's name.
fn target(text: &str) -> Result<String, Problem> {
    let is_name = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
    match text.split_once(':') {
        Some((kind, id)) if text.len() <= NAME_LEN_MAX && is_name(kind) && is_name(id) => Ok(format!("{kind}-{id}")),
        _ => Err(Problem::validation("The parameter target is not {kind}:{id}.")),
    }
}

fn is_event_type(text: &str) -> bool {
    let is_name = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    text.len() <= NAME_LEN_MAX && text.split_once('.').is_some_and(|(kind, what)| is_name(kind) && is_name(what))
}

/// One statement, one snapshot of the rows, of what they stand for, and of the events themselves.
///
/// Of the branches one is alive. Each is a span of one index and is ordered by the whole of it, so that no other plan is
/// of use, whatever the statistics say: conditions that may be absent, equalities beside an order, and limits that are
/// not known when it is planned all made plans that walk through everything a company ever did. 201 is one more than
/// a page holds.
async fn select(
    auth: &Auth,
    company: CompanyId,
    filter: &Filter,
    page: &PageRequest<(i64, i64)>,
) -> Result<(ListAsOf, Vec<AuditView>), Problem> {
    // One upper bound: the index is entered at the first that it is given, and a second one only leaves out.
    let end = filter.to.map_or((i64::MAX, i64::MAX), |to| (to.micros(), i64::MIN));
    let (before, before_position) = page.after.unwrap_or(end);
    let rows = sqlx::query!(
        r#"select log_epoch_check() as "current!", p.epoch as "epoch?", p.position as "checkpoint?",
                  e.id as "id?", e.position as "position?", e.recorded_at as "recorded_at?", e.type as "event_type?",
                  e.stream as "stream?", e.schema as "schema?", e.data as "data?", e.meta as "meta?"
           from (values (1)) as one (row)
           left join projection_checkpoint p on p.name = 'audit_v1'
           left join lateral (select * from (
                (select recorded_at, position from audit_v1
                 where company_id = $1 and (target, recorded_at, position) < ($7, $2, $3)
                     and (target, recorded_at, position) >= ($7, $4, 0)
                     and $7::text is not null and ($5::text is null or type = $5) and ($6::text is null or actor = $6)
                 order by target desc, recorded_at desc, position desc limit 201)
                union all
                (select recorded_at, position from audit_v1
                 where company_id = $1 and (actor, type, recorded_at, position) < ($6, $5, $2, $3)
                     and (actor, type, recorded_at, position) >= ($6, $5, $4, 0)
                     and $7::text is null and $6::text is not null and $5::text is not null
                 order by actor desc, type desc, recorded_at desc, position desc limit 201)
                union all
                (select recorded_at, position from audit_v1
                 where company_id = $1 and (actor, recorded_at, position) < ($6, $2, $3)
                     and (actor, recorded_at, position) >= ($6, $4, 0)
                     and $7::text is null and $6::text is not null and $5::text is null
                 order by actor desc, recorded_at desc, position desc limit 201)
                union all
                (select recorded_at, position from audit_v1
                 where company_id = $1 and (type, recorded_at, position) < ($5, $2, $3)
                     and (type, recorded_at, position) >= ($5, $4, 0)
                     and $7::text is null and $6::text is null and $5::text is not null
                 order by type desc, recorded_at desc, position desc limit 201)
                union all
                (select recorded_at, position from audit_v1
                 where company_id = $1 and (recorded_at, position) < ($2, $3)
                     and (recorded_at, position) >= ($4, 0)
                     and $7::text is null and $6::text is null and $5::text is null
                 order by recorded_at desc, position desc limit 201)
               ) found order by recorded_at desc, position desc limit $8) a on true
           left join lateral (
               select id, position, recorded_at, type, stream, schema, data, meta
               from event where position = a.position offset 0) e on true
           order by a.recorded_at desc, a.position desc"#,
        company.uuid(),
        before,
        before_position,
        filter.from.map_or(i64::MIN, Timestamp::micros),
        filter.event_type,
        filter.actor,
        filter.target,
        page.fetch()
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(|error| problem::of_load(error.into()))?;
    let first = rows.first().ok_or_else(Problem::internal)?;
    let as_of = ListAsOf::read(first.current, first.epoch, first.checkpoint)?;
    let rows = rows.into_iter().filter_map(|row| {
        let (meta, data) = (row.meta?, row.data?);
        let stream = StreamName::from_stored(row.stream?);
        let target = Target { kind: stream.kind().to_owned(), id: stream.id().to_owned() };
        let read = || -> Result<(Meta, Box<RawValue>), serde_json::Error> {
            Ok((serde_json::from_str(&meta)?, RawValue::from_string(data)?))
        };
        let (id, position, schema) = (row.id?, row.position?, row.schema?);
        let (recorded_at, event_type) = (Timestamp::from_micros(row.recorded_at?), row.event_type?);
        Some(read().map_err(|error| problem::of_defect(&error)).map(|(meta, data)| AuditView {
            id,
            position,
            recorded_at,
            actor: meta.actor,
            event_type,
            target,
            request_id: meta.request_id.uuid(),
            correlation_id: meta.correlation_id,
            schema,
            data,
        }))
    });
    Ok((as_of, rows.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Filter, u16> {
        let uri = format!("http://x/?{query}").parse().unwrap_or_else(|e| panic!("{e}"));
        let axum::extract::Query(query) = axum::extract::Query::<AuditQuery>::try_from_uri(&uri).map_err(|_| 0_u16)?;
        query.read(CompanyId::new(Uuid::nil())).map(|(_, filter)| filter).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn what_an_item_shows_can_be_asked_for() {
        let id = "018f3a5c-0000-7000-8000-000000000001";
        let wanted = Filter { target: Some(format!("membership-{id}")), ..Filter::default() };
        assert_eq!(
            read(&format!("target=membership:{id}")),
            Ok(Filter { ..read(&format!("membership={id}")).unwrap_or_default() })
        );
        assert_eq!(read(&format!("membership={id}")), Ok(wanted));
        let actor = Some(format!("user:{id}"));
        assert_eq!(read(&format!("actor=user:{id}")), Ok(Filter { actor, ..Filter::default() }));
        let event_type = Some("membership.module_granted".to_owned());
        assert_eq!(read("type=membership.module_granted"), Ok(Filter { event_type, ..Filter::default() }));
    }

    #[test]
    fn a_filter_of_another_form_is_refused_and_so_is_an_end_before_the_start() {
        let id = "018f3a5c-0000-7000-8000-000000000001";
        for bad in ["type=x", "type=a.b.C", "actor=me", "actor=user:1", "target=x", "target=:x", "target=a%20b:c"] {
            assert_eq!(read(bad), Err(400), "{bad}");
        }
        assert_eq!(read(&format!("membership={id}&target=membership:{id}")), Err(400));
        let span = |from, to| read(&format!("from={from}&to={to}"));
        assert!(span("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z").is_ok());
        assert_eq!(span("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"), Err(422));
    }
}
