//! Erasure: afterwards no clear personal data is anywhere, nothing that was sealed opens, and everything still folds
//! (security 13).

use super::{COMPANY, OVER, Scene};
use crate::log_command::{kisum, kisum_with};
use kisum::{
    local::{Part, databases::Database},
    platform::Ask,
};
use kisum_domains::{Session, User, user::UserStatus};
use kisum_events::{SessionId, StreamName, UserId};
use kisum_tests::{
    demo::words,
    processes::{Ended, Process},
};
use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::{collections::BTreeSet, path::Path};

const NAME: &str = "Zebulon Quartermaine";

/// Every row of every table of a database, as text; bytes as hex.
async fn rows(url: &str) -> Vec<(String, String)> {
    let mut conn = PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{error}"));
    let tables = "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema')";
    let tables: Vec<String> =
        sqlx::query_scalar(tables).fetch_all(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let mut rows = Vec::new();
    for table in tables {
        let sql = format!("select to_jsonb(t)::text from {table} t");
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut conn)
            .await
            .unwrap_or_else(|error| panic!("{table}: {error}"));
        rows.extend(found.into_iter().map(|row| (table.clone(), row)));
    }
    rows
}

/// Files below a folder, but for the database's own.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.join("PG_VERSION").exists() {
            files(&path, found);
        } else if path.is_file() {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// security 12, 13, 31
#[tokio::test(flavor = "multi_thread")]
async fn of_an_erased_person_nothing_personal_is_left_anywhere_and_the_log_still_folds() {
    let scene = Scene::of_its_own().await;
    let owner = scene.owner(0).await;
    let person = scene.person(NAME).await;
    scene.member(&person, COMPANY).await;
    scene.member(&person, "bright-books").await;
    let (first, second) = (scene.sign_in(&person.email).await, scene.sign_in(&person.email).await);
    scene.bills_become(&first.access, COMPANY, "200").await;
    assert!(scene.refreshed(&second).await.is_success());
    let wrong = json!({ "email": person.email, "password": "this is not the password" });
    assert_eq!(scene.auth(None, Ask::new(Method::POST, "/auth/login").body(wrong)).await.status, 401);
    let me = scene.auth(Some(&first.access), Ask::get("/auth/me")).await;
    assert_eq!(me.text("/name").ok().as_deref(), Some(NAME), "until now it can be read");

    let shown = scene.admin(Ask::get(&format!("/internal/v1/users/{}/erasure", person.id))).await;
    let slugs: BTreeSet<_> = shown.body["data"]["memberships"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it["slug"].as_str())
        .collect();
    assert_eq!(slugs, BTreeSet::from([COMPANY, "bright-books"]), "{shown}");
    let confirm = shown.body["data"]["confirm"].clone();
    let path = format!("/internal/v1/users/{}/erase", person.id);
    let erase = |confirm: &serde_json::Value| Ask::new(Method::POST, &path).body(json!({ "confirm": confirm }));
    let mut fewer = confirm.clone();
    fewer["memberships"].as_array_mut().map(Vec::pop);
    let mut older = confirm.clone();
    older["version"] = json!(1);
    for changed in [&fewer, &older] {
        let refused = scene.admin(erase(changed).actor(&owner)).await;
        assert_eq!(words(&refused), "409 conflict version", "security 31");
    }
    let late = scene.owner(601).await;
    assert_eq!(words(&scene.admin(erase(&confirm).actor(&late)).await), "403 forbidden step_up_required");
    let erased = scene.admin(erase(&confirm).actor(&owner)).await;
    assert_eq!(erased.text("/status").ok().as_deref(), Some("erased"), "{erased}");
    let again = scene.admin(erase(&confirm).actor(&owner)).await;
    assert_eq!(again.text("/status").ok().as_deref(), Some("erased"), "twice is once: {again}");

    for signed in [&first, &second] {
        assert_eq!(scene.me(&signed.access).await, OVER);
        scene.bills_become(&signed.access, COMPANY, OVER).await;
        assert_eq!(words(&scene.refreshed(signed).await), OVER);
    }
    let password = &scene.visitor.platform.addresses().demo_password;
    let login = json!({ "email": person.email, "password": password });
    assert_eq!(scene.auth(None, Ask::new(Method::POST, "/auth/login").body(login)).await.status, 401);
    nothing_opens(&scene, &person.id, &super::session_of(&first)).await;
    nothing_is_found(&scene, &person.email).await;
    everything_folds(&scene).await;
    nobody_serves_from_what_was_restored(&scene, &person.id).await;

    // The address is free again, for somebody else.
    let body = json!({ "email": person.email, "name": "Somebody else" });
    let other = scene.admin(Ask::new(Method::POST, "/internal/v1/users").body(body)).await;
    assert_ne!(other.text("/userId").unwrap_or_else(|error| panic!("{error:#}")), person.id);
}

async fn nothing_opens(scene: &Scene, person: &str, session: &str) {
    let log = scene.log().await;
    let user = UserId::new(person.parse().unwrap_or_else(|error| panic!("{error}")));
    let loaded = log.load::<User>(&StreamName::user(user)).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(loaded.state.status, UserStatus::Erased { .. }));
    assert!(loaded.state.email.get().is_none() && loaded.state.name.get().is_none());
    let id = SessionId::new(session.parse().unwrap_or_else(|error| panic!("{error}")));
    let session = log.load::<Session>(&StreamName::session(id)).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(session.state.token_hash.get().is_none());
    let mut conn = PgConnection::connect(&scene.database()).await.unwrap_or_else(|error| panic!("{error}"));
    let keys: i64 = sqlx::query_scalar("select count(*) from person_key where person::text = $1")
        .bind(person)
        .fetch_one(&mut conn)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(keys, 0);
    let insert =
        "insert into person_key (person, key_id, wrapped, wrapped_by) values ($1::uuid, gen_random_uuid(), '', '1')";
    let refused = sqlx::query(insert).bind(person).execute(&mut conn).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("was erased")), "nobody gets a key again");
    let refused = sqlx::query("delete from person_key").execute(&mut conn).await;
    assert!(refused.is_err(), "the run-time role deletes no key by itself");
}

pub(super) async fn nothing_is_found(scene: &Scene, email: &str) {
    let words = [NAME, "Zebulon", "Quartermaine", email];
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut looked_at = 0;
    for database in [Database::Auth, Database::Core, Database::Basic, Database::Finance] {
        let url = scene.stack().addresses_with(|at| at.database(database, database.owner()));
        for (table, row) in rows(&url.unwrap_or_else(|failure| panic!("{failure}"))).await {
            looked_at += 1;
            for word in words {
                assert!(!row.contains(word) && !row.contains(&hex(word)), "{database} {table}: {row}");
            }
        }
    }
    assert!(looked_at > 200, "only {looked_at} rows");
    let url = scene.stack().variable("REDIS_URL").unwrap_or_else(|failure| panic!("{failure}"));
    let client = redis::Client::open(url).unwrap_or_else(|error| panic!("{error}"));
    let mut redis = client.get_multiplexed_async_connection().await.unwrap_or_else(|error| panic!("{error}"));
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap_or_default();
    assert!(!keys.is_empty());
    for key in keys {
        let value: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut redis).await.unwrap_or_default();
        for word in words {
            assert!(!key.contains(word) && !holds(&value, word), "Redis: {key}");
        }
    }
    // What NATS keeps, what services log, and whatever else lies there.
    let mut found = Vec::new();
    files(scene.stack().layout().root(), &mut found);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    for wanted in ["auth.log", "erasures.jsonl", ".blk"] {
        assert!(names.iter().any(|name| name.ends_with(wanted)), "no {wanted} among {names:?}");
    }
    for (name, bytes) in &found {
        for word in words {
            assert!(!holds(bytes, word), "{name} holds {word}");
        }
    }
}

/// The database as a backup of before would bring it back: the key is there, and nobody knows that it had gone.
async fn nobody_serves_from_what_was_restored(scene: &Scene, person: &str) {
    let url = scene.stack().addresses_with(|at| at.database(Database::Auth, Database::Auth.owner()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let restore = format!(
        "delete from erased_person where person = '{person}';
         insert into person_key values ('{person}', gen_random_uuid(), '\\x00', '1');"
    );
    sqlx::raw_sql(AssertSqlSafe(restore)).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let process = Process::service(scene.stack(), Part::Auth, &[("LISTEN_ADDR", "127.0.0.1:0")]);
    let (ended, lines) = process.ended().await;
    assert_eq!(ended, Ended::With(1), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("keys of 1 persons who were erased")), "{lines:?}");
}

async fn everything_folds(scene: &Scene) {
    let (code, text) = kisum(&["log", "verify", "--url", &scene.database()]).await;
    assert_eq!(code, 0, "{text}");
    let variables = scene.stack().variables().unwrap_or_else(|failure| panic!("{failure}"));
    let (code, text) = kisum_with(&["projections", "diff", "--all"], &variables).await;
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_superadmin_of_a_company_is_not_erased_and_the_company_is_named() {
    let scene = Scene::start().await;
    let owner = scene.owner(0).await;
    let found = scene.admin(Ask::get("/internal/v1/users/by-email?email=superadmin%40dormant.example")).await;
    let id = found.text("/userId").unwrap_or_else(|error| panic!("{error:#}"));
    let shown = scene.admin(Ask::get(&format!("/internal/v1/users/{id}/erasure"))).await;
    assert_eq!(shown.body["data"]["memberships"][0]["isLastSuperadmin"], true, "{shown}");
    let body = json!({ "confirm": shown.body["data"]["confirm"] });
    let refused =
        scene.admin(Ask::new(Method::POST, &format!("/internal/v1/users/{id}/erase")).body(body).actor(&owner)).await;
    assert_eq!(words(&refused), "409 conflict last_superadmin");
    assert!(refused.message().contains("dormant"), "{refused}");
    let ledger = scene.stack().secrets().erasure_ledger_path();
    let ledger = std::fs::read_to_string(ledger).unwrap_or_default();
    assert!(!ledger.contains(&id), "what is refused is not in the ledger: {ledger}");
    scene.sign_in("superadmin@dormant.example").await;
}
