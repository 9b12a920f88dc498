//! A projection that begins another epoch: what it may be asked meanwhile, and that nothing keeps it from beginning.

use super::{
    at, database, defined,
    follow::{PATIENCE, Running, no_bus},
    invented_later, many_defined, modules, stored,
};
use kisum::{
    local::{Part, databases::Database},
    platform::Ask,
};
use kisum_projectors::{Catalog, Stopped, commit};
use kisum_tests::{
    demo::{Demo, texts, words},
    owner::Owner,
};
use reqwest::Method;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

async fn is_starting_over(conn: &mut PgConnection) -> bool {
    stored(conn, "catalog_v1").await.starting_over
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_being_begun_until_the_end_of_its_log_was_seen() {
    let (_, database, mut conn) = database().await;
    for (epoch, last) in [(1, 5), (2, 3)] {
        let committed = commit::<Catalog>(&mut conn, epoch, &many_defined(1..=2)).await;
        assert!(committed.is_ok(), "{committed:?}");
        assert!(is_starting_over(&mut conn).await, "epoch {epoch} has just begun");
        let owner = Owner::of(epoch, many_defined(1..=last));
        let running = Running::catalog(&database, &owner, no_bus().await).await;
        let ended = tokio::time::timeout(PATIENCE, async {
            while is_starting_over(&mut conn).await {
                tokio::task::yield_now().await;
            }
        });
        assert!(ended.await.is_ok(), "the end of epoch {epoch} is never seen");
        assert_eq!(stored(&mut conn, "catalog_v1").await.cursor, at(epoch, last), "not before everything was applied");
        running.stop().await;
        let committed = commit::<Catalog>(&mut conn, epoch, &[defined(last + 1, "news")]).await;
        assert!(committed.is_ok(), "{committed:?}");
        assert!(!is_starting_over(&mut conn).await, "what comes later does not begin an epoch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_epoch_ends_a_standstill() {
    let (_, database, mut conn) = database().await;
    let owner = Owner::of(1, vec![defined(1, "m1"), invented_later(2), defined(3, "m3")]);
    let running = Running::catalog(&database, &owner, no_bus().await).await;
    assert_eq!(running.reaches(at(1, 2)).await, Err(Stopped));
    assert!(running.progress.standing().poisoned);
    // A log that is shorter than where it stood still, as one is for a moment while it is being restored.
    owner.change(|owned| owned.events.truncate(1));
    owner.change(|owned| (owned.epoch, owned.events) = (2, many_defined(1..=4)));
    let freed = tokio::time::timeout(PATIENCE, async {
        while running.progress.standing().cursor != at(2, 4) {
            tokio::task::yield_now().await;
        }
    });
    assert!(freed.await.is_ok(), "it still stands at {:?}", running.progress.standing());
    assert!(!running.progress.standing().poisoned);
    assert_eq!(stored(&mut conn, "catalog_v1").await.poison, None);
    assert_eq!(modules(&mut conn).await.len(), 4);
    running.stop().await;
}

async fn run(conn: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// What a projection is while it begins an epoch: empty, or half full, and saying so.
const BEGINNING: [&str; 2] = [
    "delete from company_entitlement_v1;
     update projection_checkpoint set starting_over = true where name = 'entitlements_v1'",
    "delete from catalog_permission_v1;
     update projection_checkpoint set starting_over = true where name = 'catalog_v1'",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_projection_has_not_folded_yet_is_neither_denied_nor_decided_on() {
    // What was answered before still holds, and would be answered: here nothing is remembered.
    let mut demo = Demo::start_with(&[("ACCESS_CONTEXTS_MAX", "0")]).await;
    let url = demo.stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let admin = demo.sign_in("superadmin@acme-live.example").await.access;
    let user = demo.access(&demo.sign_in("user@acme-live.example").await.access, "acme-live").await;
    let text = |pointer| user.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
    let path = format!("/companies/{}/members/{}/modules/finance", text("/companyId"), text("/membershipId"));
    let grant = || Ask::new(Method::PUT, &path).company("acme-live");
    let before = demo.access(&admin, "acme-live").await;
    let known = ["/modules", "/permissions", "/delegation/grantablePermissions"].map(|list| texts(&before, list));
    assert!(known.iter().all(|list| !list.is_empty()), "{}", before.body);
    assert_eq!(words(&demo.auth(Some(&admin), grant()).await), "200");
    demo.stack.kill(Part::Redis).await;

    run(&mut conn, BEGINNING[0]).await;
    let from_core = demo.access(&admin, "acme-live").await;
    for (list, known) in ["/modules", "/permissions", "/delegation/grantablePermissions"].iter().zip(&known) {
        assert_eq!(texts(&from_core, list), *known, "{}", from_core.body);
    }
    assert_eq!(words(&demo.auth(Some(&admin), grant()).await), "503 service_unavailable");

    run(&mut conn, BEGINNING[1]).await;
    let unknown = demo.access(&admin, "acme-live").await;
    assert_eq!(words(&unknown), "503 service_unavailable", "Core is not asked what can be granted");
    assert_eq!(words(&demo.auth(Some(&admin), grant()).await), "503 service_unavailable");
    demo.stack.stop().await;
}
