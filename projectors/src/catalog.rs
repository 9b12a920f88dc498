//! What can be granted: the core log's modules and permissions, in Auth's database.

use crate::{ApplyError, Batch, Projection};
use kisum_events::{AnyEvent, Log, ModuleEvent, PermissionKey};
use sqlx::PgConnection;

/// `catalog_v1`: modules with their names, permissions with whether they are retired.
#[derive(Clone, Copy, Debug)]
pub struct Catalog;

impl Projection for Catalog {
    const NAME: &'static str = "catalog_v1";
    const LOG: Log = Log::Core;
    const TABLES: &'static [&'static str] = &["catalog_module_v1", "catalog_permission_v1"];

    async fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<(), ApplyError> {
        for recorded in batch.events {
            let AnyEvent::Module(event) = &recorded.event else { continue };
            match event {
                ModuleEvent::Defined { key, name } => {
                    sqlx::query!(
                        "insert into catalog_module_v1 (key, name) values ($1, $2)
                         on conflict (key) do update set name = excluded.name",
                        key.as_str(),
                        name
                    )
                    .execute(&mut *conn)
                    .await?;
                }
                ModuleEvent::PermissionAdded { key } => set_permission(conn, key, false).await?,
                ModuleEvent::PermissionRetired { key } => set_permission(conn, key, true).await?,
            }
        }
        Ok(())
    }

    async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from catalog_permission_v1").execute(&mut *conn).await?;
        sqlx::query!("delete from catalog_module_v1").execute(&mut *conn).await?;
        Ok(())
    }
}

async fn set_permission(conn: &mut PgConnection, key: &PermissionKey, retired: bool) -> Result<(), sqlx::Error> {
    let module = key.module();
    sqlx::query!(
        "insert into catalog_permission_v1 (key, module, retired) values ($1, $2, $3)
         on conflict (key) do update set retired = excluded.retired",
        key.as_str(),
        module.as_str(),
        retired
    )
    .execute(conn)
    .await
    .map(drop)
}
