//! Records of a company: the same list and the same creation, whatever they are of.
//!
//! It owns paging, idempotency and the transaction. It refuses to know a record's fields: a backend says how its table
//! is read and written, by SQL that is checked where it stands.

use super::{Backend, commands::Keyed, note};
use crate::shared::{
    idempotency::Idempotency,
    paging::{ListOf, Page, PageQuery, PageRequest},
    problem::{self, Problem},
};
use kisum_events::CompanyId;
use kisum_guard::{Permission, Permit};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

/// A row of a backend's own table. Its ids are UUIDv7, so that their order is the order of creation.
pub(super) trait Record: Sized + Send + Sync {
    /// What a list is filtered by.
    type Filter: Serialize + Sync;
    /// How a record is shown.
    type View: From<Self>;

    /// The list's name, and what keys of the command that creates one are scoped by.
    const NAMES: Names;

    /// Its id.
    fn id(&self) -> Uuid;

    /// The company's records behind a page, the newest first.
    fn select(
        conn: &mut PgConnection,
        company: CompanyId,
        filter: &Self::Filter,
        page: &PageRequest<Uuid>,
    ) -> impl Future<Output = Result<Vec<Self>, sqlx::Error>> + Send;

    /// One of the company's records.
    fn find(
        conn: &mut PgConnection,
        company: CompanyId,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<Self>, sqlx::Error>> + Send;

    /// Writes a new one.
    fn insert(&self, conn: &mut PgConnection) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// What records of a kind are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// Their list, such as `events`.
    pub(super) list: &'static str,
    /// The command that creates one, such as `events.create`.
    pub(super) create: &'static str,
}

/// A page of the permit's company.
///
/// # Errors
/// 400 for a page that cannot be; 503 when the database does not answer.
pub(super) async fn list<R: Record, P: Permission>(
    backend: &Backend,
    permit: &Permit<P>,
    query: PageQuery,
    filter: &R::Filter,
) -> Result<Page<R::View>, Problem> {
    note(permit);
    let company = permit.company_id();
    let page = query.request(ListOf::new(R::NAMES.list, company, filter))?;
    let mut conn = backend.pool.acquire().await.map_err(problem::of_query)?;
    let rows = R::select(&mut conn, company, filter, &page).await.map_err(problem::of_query)?;
    Ok(Page::of(rows, &page, R::id, R::View::from))
}

/// Creates a record of the permit's company, or answers the one that the same command created before.
///
/// # Errors
/// 409 for a key that was used with another body; 404 where what it made is gone; 503 when the database does not answer:
/// under a key, the command may then be sent again.
pub(super) async fn create<R: Record, P: Permission>(
    backend: &Backend,
    permit: &Permit<P>,
    idempotency: &Idempotency,
    record: R,
) -> Result<R::View, Problem> {
    let (company, actor) = (permit.company_id(), permit.user_id());
    let mut tx = backend.pool.begin().await.map_err(problem::of_query)?;
    if let Some(keyed) = Keyed::of(idempotency, (company, actor), R::NAMES.create, backend.clock.now())
        && let Some(made) = keyed.take(&mut tx, record.id()).await?
    {
        let made = R::find(&mut tx, company, made).await.map_err(problem::of_query)?;
        return made.map(R::View::from).ok_or_else(|| Problem::not_found("What this command created is gone."));
    }
    record.insert(&mut tx).await.map_err(problem::of_query)?;
    tx.commit().await.map_err(problem::of_query)?;
    Ok(record.into())
}
