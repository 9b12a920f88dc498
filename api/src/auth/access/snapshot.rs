//! What access is resolved from, read in one statement and so in one snapshot.
//!
//! It owns the SQL. It reads public state alone: nothing is unsealed to answer who may do what. It refuses to know
//! what the rows mean together, which is `kisum_domains::access`.

use kisum_events::{CompanyId, Cursor, MembershipId, Position, SessionId, StreamName, UserId};
use kisum_guard::XOrg;
use kisum_log::{ClaimKey, LoadError};
use sqlx::PgConnection;
use uuid::Uuid;

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

/// The catalog as Core defined it.
#[derive(Clone, Debug)]
pub(in crate::auth) struct CatalogRow {
    /// JSON array of module keys.
    pub(in crate::auth) modules: String,
    /// JSON object of permission keys, each with whether it is retired.
    pub(in crate::auth) permissions: String,
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
    /// What the company owns.
    pub(in crate::auth) entitlement: Option<EntitlementRow>,
    /// Position of the event that last ended all of the person's sessions, 0 when none did.
    pub(in crate::auth) token_version: Position,
    /// Whether what the catalog lacks does not exist: not while it begins an epoch.
    pub(in crate::auth) is_catalog_known: bool,
    /// What exists to be granted; absent without a company.
    pub(in crate::auth) catalog: Option<CatalogRow>,
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
        let rows = [&self.user, &self.company, &self.membership];
        rows.into_iter().flatten().map(|row| row.position).max().unwrap_or(0)
    }
}

/// Reads what a question about access needs, in one statement.
///
/// # Errors
/// [`LoadError::Epoch`] while the database is not the one its epoch was started on; otherwise when it fails.
pub(in crate::auth) async fn read(conn: &mut PgConnection, question: &Question) -> Result<Snapshot, LoadError> {
    let (company, slug) = match &question.company {
        XOrg::Id(id) => (Some(StreamName::company(*id)), None),
        XOrg::Slug(slug) => (None, Some(ClaimKey::slug(slug))),
    };
    let (user, session) = (StreamName::user(question.user), StreamName::session(question.session));
    let row = sqlx::query_as!(
        Row,
        r#"with asked as materialized (
               select $1::text as user_name, $2::text as session_name,
                      coalesce($3::text, (select holder from claim where key = $4::text)) as company_name)
           select log_epoch_check() as "epoch!",
                  coalesce((select last_position from log_batch order by last_position desc limit 1), 0) as "head!",
                  case when not p.starting_over then p.epoch end as "core_epoch?",
                  case when not p.starting_over then p.position end as "core_position?",
                  coalesce(g.epoch > 0 and not g.starting_over, false) as "is_catalog_known!",
                  u.name as "user_name?", u.version as "user_version?", u.position as "user_position?",
                  u.schema as "user_schema?", u.state as "user_state?",
                  s.name as "session_name?", s.version as "session_version?", s.position as "session_position?",
                  s.schema as "session_schema?", s.state as "session_state?",
                  c.name as "company_name?", c.version as "company_version?", c.position as "company_position?",
                  c.schema as "company_schema?", c.state as "company_state?",
                  m.name as "membership_name?", m.version as "membership_version?",
                  m.position as "membership_position?", m.schema as "membership_schema?",
                  m.state as "membership_state?",
                  e.entitlement_version as "entitlement_version?", e.schedule as "schedule?",
                  case when (u.state::json ->> 'sessionsEnded')::bigint > 0 then
                      (select v.position from event v
                       where v.stream = u.name and v.version = (u.state::json ->> 'sessionsEnded')::bigint)
                  end as "token_version?",
                  case when c.name is not null then
                      (select coalesce(json_agg(key), '[]')::text from catalog_module_v1)
                  end as "modules?",
                  case when c.name is not null then
                      (select coalesce(json_object_agg(key, retired), '{}')::text from catalog_permission_v1)
                  end as "permissions?"
           from asked a
           left join projection_checkpoint p on p.name = 'entitlements_v1'
           left join projection_checkpoint g on g.name = 'catalog_v1'
           left join stream u on u.name = a.user_name
           left join stream s on s.name = a.session_name
           left join stream c on c.name = a.company_name
           left join claim k on k.key = 'member:' || substr(c.name, 9) || ':' || substr(a.user_name, 6)
           left join stream m on m.name = k.holder
           left join company_entitlement_v1 e on e.company_id = substr(c.name, 9)::uuid"#,
        user.as_str(),
        session.as_str(),
        company.as_ref().map(StreamName::as_str),
        slug.as_ref().map(ClaimKey::as_str)
    )
    .fetch_one(conn)
    .await?;
    Ok(row.into())
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
    entitlement_version: Option<i64>,
    schedule: Option<String>,
    token_version: Option<i64>,
    modules: Option<String>,
    permissions: Option<String>,
}

impl From<Row> for Snapshot {
    fn from(row: Row) -> Self {
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
        Self {
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
            entitlement: row.entitlement_version.map(|version| EntitlementRow {
                schedule: row.schedule.unwrap_or_default(),
                version: unsigned(Some(version)),
            }),
            token_version: unsigned(row.token_version),
            catalog: row.modules.zip(row.permissions).map(|(modules, permissions)| CatalogRow { modules, permissions }),
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
