//! What access is resolved from, read in one statement and so in one snapshot, together with whatever else is asked at
//! that moment.
//!
//! It owns the SQL. It reads public state alone: nothing is unsealed to answer who may do what. It refuses to know
//! what the rows mean together, which is `kisum_domains::access`.

use crate::shared::ambient::Stopwatch;
use kisum_domains::{Catalog, Membership, PermissionStanding};
use kisum_events::{
    Aggregate, CompanyId, Cursor, MembershipId, ModuleKey, PermissionKey, Position, SessionId, StreamName, UserId,
};
use kisum_guard::XOrg;
use kisum_log::{ClaimKey, Group, LoadError};
use sqlx::PgConnection;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// How long the catalog is taken to be what it was at the same place of its projection: a rebuild repairs rows without
/// moving that.
const CATALOG_KEPT: Duration = Duration::from_secs(1);

/// Who asks, and about which company.
#[derive(Clone, Debug)]
pub(in crate::auth) struct Question {
    /// The person.
    pub(in crate::auth) user: UserId,
    /// By which session.
    pub(in crate::auth) session: SessionId,
    /// The company.
    pub(in crate::auth) company: XOrg,
}

impl Question {
    /// A question about a company that no person asks. No stream has the nil id, so nobody is found.
    pub(in crate::auth) fn of_nobody(company: XOrg) -> Self {
        Self { user: UserId::new(Uuid::nil()), session: SessionId::new(Uuid::nil()), company }
    }

    /// A question about a person that names no company.
    pub(in crate::auth) fn of_no_company(user: UserId, session: SessionId) -> Self {
        Self { user, session, company: XOrg::Id(CompanyId::new(Uuid::nil())) }
    }
}

/// A stream's row, its state still text.
#[derive(Clone, Debug)]
pub(in crate::auth) struct StateRow {
    /// Which stream.
    pub(in crate::auth) stream: StreamName,
    /// Its version.
    pub(in crate::auth) version: u64,
    /// Position of its last event.
    pub(in crate::auth) position: Position,
    /// Schema of the state.
    pub(in crate::auth) schema: i16,
    /// The public state.
    pub(in crate::auth) state: String,
}

/// A company's row of the entitlement projection, its schedule still text.
#[derive(Clone, Debug)]
pub(in crate::auth) struct EntitlementRow {
    /// JSON array of entitlements.
    pub(in crate::auth) schedule: String,
    /// Position of the event that gave it, in the core log.
    pub(in crate::auth) version: Position,
}

/// Everything that an answer about access is made of, as of one instant of the database.
#[derive(Clone, Debug)]
pub(in crate::auth) struct Snapshot {
    /// Head of the auth log.
    pub(in crate::auth) auth: Cursor,
    /// How far the entitlements are folded; epoch 0 while they begin an epoch, when what is not there may well exist.
    pub(in crate::auth) core: Cursor,
    /// The person.
    pub(in crate::auth) user: Option<StateRow>,
    /// The session.
    pub(in crate::auth) session: Option<StateRow>,
    /// The company, where the name is one.
    pub(in crate::auth) company: Option<StateRow>,
    /// The membership that the company and the person claim.
    pub(in crate::auth) membership: Option<StateRow>,
    /// What it rests on besides, where its state has the shape that this program writes: its named roles, the memberships
    /// and persons of who passed something on to it, and their named roles.
    pub(in crate::auth) related: Vec<StateRow>,
    /// What the company owns.
    pub(in crate::auth) entitlement: Option<EntitlementRow>,
    /// Whether what the catalog lacks does not exist: not while it begins an epoch.
    pub(in crate::auth) is_catalog_known: bool,
    /// What exists to be granted; absent without a company.
    pub(in crate::auth) catalog: Option<Arc<Catalog>>,
}

impl Snapshot {
    /// The company's id.
    pub(in crate::auth) fn company_id(&self) -> Option<CompanyId> {
        self.company.as_ref()?.stream.id().parse().ok()
    }

    /// The membership's id.
    pub(in crate::auth) fn membership_id(&self) -> Option<MembershipId> {
        self.membership.as_ref()?.stream.id().parse().ok()
    }

    /// The highest position among the rows that a context stands for. The session's is left out: a context holds for
    /// all sessions of a person alike, so the versions of two sessions must be comparable.
    pub(in crate::auth) fn access_version(&self) -> Position {
        let rows = [&self.user, &self.company, &self.membership].into_iter().flatten();
        rows.chain(&self.related).map(|row| row.position).max().unwrap_or(0)
    }
}

/// What questions about access need.
#[derive(Default)]
pub(in crate::auth) struct Snapshots {
    catalog: Mutex<Option<KnownCatalog>>,
}

/// The catalog as it was at a place of its projection. It is the same for everybody and rarely changes.
#[derive(Clone)]
struct KnownCatalog {
    epoch: i32,
    position: i64,
    catalog: Arc<Catalog>,
    read: Stopwatch,
}

impl Snapshots {
    /// The catalog that need not be read again.
    fn known(&self) -> Option<KnownCatalog> {
        let known = self.catalog.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| known.read.elapsed() < CATALOG_KEPT)
    }

    /// The catalog of a statement: what it read, or what it found unchanged.
    fn catalog(&self, row: Option<&Row>, known: Option<KnownCatalog>) -> Result<Arc<Catalog>, LoadError> {
        let Some(row) = row else { return Ok(Arc::default()) };
        let Some((modules, permissions)) = row.modules.as_ref().zip(row.permissions.as_ref()) else {
            return Ok(known.map(|known| known.catalog).unwrap_or_default());
        };
        let catalog = Arc::new(read_catalog(modules, permissions)?);
        if let Some((epoch, position)) = row.catalog_epoch.zip(row.catalog_position) {
            let read = KnownCatalog { epoch, position, catalog: Arc::clone(&catalog), read: Stopwatch::start() };
            *self.catalog.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        }
        Ok(catalog)
    }
}

impl Group for Snapshots {
    type Question = Question;
    type Answer = Snapshot;

    async fn read(&self, conn: &mut PgConnection, questions: &[&Question]) -> Result<Vec<Snapshot>, LoadError> {
        let known = self.known();
        let rows = read(conn, questions, known.as_ref()).await?;
        let catalog = self.catalog(rows.first(), known)?;
        Ok(rows.into_iter().map(|row| row.into_snapshot(&catalog)).collect())
    }
}

/// # Errors
/// [`LoadError::Epoch`] while the database is not the one its epoch was started on; otherwise when it fails.
async fn read(
    conn: &mut PgConnection,
    questions: &[&Question],
    known: Option<&KnownCatalog>,
) -> Result<Vec<Row>, LoadError> {
    let users: Vec<String> = questions.iter().map(|one| StreamName::user(one.user).to_string()).collect();
    let sessions: Vec<String> = questions.iter().map(|one| StreamName::session(one.session).to_string()).collect();
    let companies: Vec<Option<String>> = questions
        .iter()
        .map(|one| match &one.company {
            XOrg::Id(id) => Some(StreamName::company(*id).to_string()),
            XOrg::Slug(_) => None,
        })
        .collect();
    let slugs: Vec<Option<String>> = questions
        .iter()
        .map(|one| match &one.company {
            XOrg::Id(_) => None,
            XOrg::Slug(slug) => Some(ClaimKey::slug(slug).as_str().to_owned()),
        })
        .collect();
    // Most members have no named role and received nothing: their states are not even taken apart.
    let rows = sqlx::query_as!(
        Row,
        r#"with place as materialized (
               select log_epoch_check() as epoch,
                      coalesce((select last_position from log_batch order by last_position desc limit 1), 0) as head,
                      case when not p.starting_over then p.epoch end as core_epoch,
                      case when not p.starting_over then p.position end as core_position,
                      coalesce(g.epoch > 0 and not g.starting_over, false) as is_catalog_known,
                      g.epoch as catalog_epoch, g.position as catalog_position,
                      (g.epoch, g.position) is distinct from ($5::integer, $6::bigint) as is_catalog_read
               from (select 1) one
               left join projection_checkpoint p on p.name = 'entitlements_v1'
               left join projection_checkpoint g on g.name = 'catalog_v1'),
           asked as materialized (
               select a.n, a.user_name, a.session_name,
                      coalesce(a.company_name, (select holder from claim where key = a.slug)) as company_name
               from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality
                    as a(user_name, session_name, company_name, slug, n))
           select i.epoch as "epoch!", i.head as "head!", i.core_epoch as "core_epoch?",
                  i.core_position as "core_position?", i.is_catalog_known as "is_catalog_known!",
                  i.catalog_epoch as "catalog_epoch?", i.catalog_position as "catalog_position?",
                  u.name as "user_name?", u.version as "user_version?", u.position as "user_position?",
                  u.schema as "user_schema?", u.state as "user_state?",
                  s.name as "session_name?", s.version as "session_version?", s.position as "session_position?",
                  s.schema as "session_schema?", s.state as "session_state?",
                  c.name as "company_name?", c.version as "company_version?", c.position as "company_position?",
                  c.schema as "company_schema?", c.state as "company_state?",
                  m.name as "membership_name?", m.version as "membership_version?",
                  m.position as "membership_position?", m.schema as "membership_schema?",
                  m.state as "membership_state?",
                  r.names as "related_names?", r.versions as "related_versions?",
                  r.positions as "related_positions?",
                  r.schemas as "related_schemas?", r.states as "related_states?",
                  e.entitlement_version as "entitlement_version?", e.schedule as "schedule?",
                  case when a.n = 1 and i.is_catalog_read then
                      (select coalesce(json_agg(key), '[]')::text from catalog_module_v1)
                  end as "modules?",
                  case when a.n = 1 and i.is_catalog_read then
                      (select coalesce(json_object_agg(key, retired), '{}')::text from catalog_permission_v1)
                  end as "permissions?"
           from asked a cross join place i
           left join stream u on u.name = a.user_name
           left join stream s on s.name = a.session_name
           left join stream c on c.name = a.company_name
           left join claim k on k.key = 'member:' || substr(c.name, 9) || ':' || substr(a.user_name, 6)
           left join stream m on m.name = k.holder
           left join lateral (
               with giver as materialized (
                   select g.name, g.schema, g.state, received.value -> 'from' ->> 'userId' as user_id
                   from json_each(m.state::json -> 'received') as received
                   join lateral (
                       select name, schema, state from stream
                       where name = 'membership-' || (received.value -> 'from' ->> 'membershipId') offset 0) g on true)
               select array_agg(x.name) as names, array_agg(x.version) as versions,
                      array_agg(x.position) as positions, array_agg(x.schema) as schemas, array_agg(x.state) as states
               from (select 'role-' || own.id from json_object_keys(m.state::json -> 'roles') as own (id)
                     union select giver.name from giver
                     union select 'user-' || giver.user_id from giver
                     union select 'role-' || theirs.id
                     from giver cross join json_object_keys(giver.state::json -> 'roles') as theirs (id)
                     where giver.schema = $7) as listed (name)
               join lateral (
                   select name, version, position, schema, state from stream where name = listed.name offset 0) x on true
               where m.schema = $7
                 and (m.state not like '%"roles":{}%' or m.state not like '%"received":{}%')) r on true
           left join company_entitlement_v1 e on e.company_id = substr(c.name, 9)::uuid
           order by a.n"#,
        &users,
        &sessions,
        &companies as &[Option<String>],
        &slugs as &[Option<String>],
        known.map(|known| known.epoch),
        known.map(|known| known.position),
        i16::try_from(Membership::STATE_SCHEMA).unwrap_or(i16::MAX),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

fn read_catalog(modules: &str, permissions: &str) -> Result<Catalog, LoadError> {
    let unreadable =
        |error: serde_json::Error| LoadError::Stored { what: "the catalog".to_owned(), why: error.to_string() };
    let modules: BTreeSet<ModuleKey> = serde_json::from_str(modules).map_err(unreadable)?;
    let retired: BTreeMap<PermissionKey, bool> = serde_json::from_str(permissions).map_err(unreadable)?;
    let standing = |retired| if retired { PermissionStanding::Retired } else { PermissionStanding::Grantable };
    let permissions = retired.into_iter().map(|(key, retired)| (key, standing(retired))).collect();
    Ok(Catalog { modules, permissions })
}

/// One row of the statement, as the database types it.
struct Row {
    epoch: i32,
    head: i64,
    core_epoch: Option<i32>,
    core_position: Option<i64>,
    is_catalog_known: bool,
    user_name: Option<String>,
    user_version: Option<i64>,
    user_position: Option<i64>,
    user_schema: Option<i16>,
    user_state: Option<String>,
    session_name: Option<String>,
    session_version: Option<i64>,
    session_position: Option<i64>,
    session_schema: Option<i16>,
    session_state: Option<String>,
    company_name: Option<String>,
    company_version: Option<i64>,
    company_position: Option<i64>,
    company_schema: Option<i16>,
    company_state: Option<String>,
    membership_name: Option<String>,
    membership_version: Option<i64>,
    membership_position: Option<i64>,
    membership_schema: Option<i16>,
    membership_state: Option<String>,
    related_names: Option<Vec<String>>,
    related_versions: Option<Vec<i64>>,
    related_positions: Option<Vec<i64>>,
    related_schemas: Option<Vec<i16>>,
    related_states: Option<Vec<String>>,
    entitlement_version: Option<i64>,
    schedule: Option<String>,
    catalog_epoch: Option<i32>,
    catalog_position: Option<i64>,
    modules: Option<String>,
    permissions: Option<String>,
}

impl Row {
    /// The related rows, which stand in five arrays of one length.
    fn related(&mut self) -> Vec<StateRow> {
        let names = self.related_names.take().unwrap_or_default().into_iter();
        let versions = self.related_versions.take().unwrap_or_default();
        let positions = self.related_positions.take().unwrap_or_default();
        let schemas = self.related_schemas.take().unwrap_or_default();
        let states = self.related_states.take().unwrap_or_default();
        let rows = names.zip(versions).zip(positions).zip(schemas).zip(states);
        let read = rows.map(|((((name, version), position), schema), state)| StateRow {
            stream: StreamName::from_stored(name),
            version: unsigned(Some(version)),
            position: unsigned(Some(position)),
            schema,
            state,
        });
        read.collect()
    }

    fn into_snapshot(mut self, catalog: &Arc<Catalog>) -> Snapshot {
        let related = self.related();
        let row = self;
        let state = |name: Option<String>, numbers: [Option<i64>; 2], schema: Option<i16>, state: Option<String>| {
            let [version, position] = numbers.map(unsigned);
            Some(StateRow {
                stream: StreamName::from_stored(name?),
                version,
                position,
                schema: schema?,
                state: state.unwrap_or_default(),
            })
        };
        Snapshot {
            // Without a company nothing can be granted.
            catalog: row.company_name.is_some().then(|| Arc::clone(catalog)),
            auth: cursor(Some(row.epoch), Some(row.head)),
            core: cursor(row.core_epoch, row.core_position),
            is_catalog_known: row.is_catalog_known,
            user: state(row.user_name, [row.user_version, row.user_position], row.user_schema, row.user_state),
            session: state(
                row.session_name,
                [row.session_version, row.session_position],
                row.session_schema,
                row.session_state,
            ),
            company: state(
                row.company_name,
                [row.company_version, row.company_position],
                row.company_schema,
                row.company_state,
            ),
            membership: state(
                row.membership_name,
                [row.membership_version, row.membership_position],
                row.membership_schema,
                row.membership_state,
            ),
            related,
            entitlement: row.entitlement_version.map(|version| EntitlementRow {
                schedule: row.schedule.unwrap_or_default(),
                version: unsigned(Some(version)),
            }),
        }
    }
}

fn unsigned(value: Option<i64>) -> u64 {
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

fn cursor(epoch: Option<i32>, position: Option<i64>) -> Cursor {
    let epoch = epoch.and_then(|epoch| u32::try_from(epoch).ok()).unwrap_or(0);
    Cursor { epoch, position: unsigned(position) }
}
