//! `kisum keys rewrap`: an older wrapping key can be given up, and what is sealed stays readable (security 13).

use super::run;
use futures_util::future::join_all;
use kisum::local::databases::Database;
use kisum_domains::User;
use kisum_events::{Actor, Log, Meta, RequestId, Sealed, StreamName, UserEvent, UserId};
use kisum_log::{Append, EventLog, Loaded, Sealer};
use kisum_tests::{
    counted::new_uuid,
    servers::{self, DATA_KEYS, LogDatabase},
};
use std::collections::BTreeMap;

/// More than a batch.
const PERSONS: usize = 520;
const NEWER: &str = "2:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";

async fn open(database: &LogDatabase, keys: &str) -> EventLog {
    let sealer = Sealer::new(keys).unwrap_or_else(|error| panic!("{error}"));
    let pool = servers::pool(&database.run_url).await;
    EventLog::open(Log::Auth, &database.run_url, pool, sealer).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn register(log: &EventLog, user: UserId) {
    let request = RequestId::new(new_uuid());
    let mut append = Append::new(request, Meta::new(Actor::System, request));
    let (email, name) = (Sealed::new(format!("{user}@example.org")), Sealed::new("Ada".to_owned()));
    let loaded: Loaded<User> = Loaded::new_stream(StreamName::user(user));
    let written = append.write(&loaded, vec![UserEvent::Registered { email, name }]);
    written.unwrap_or_else(|error| panic!("{error}"));
    log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
}

async fn email(log: &EventLog, user: UserId) -> Option<String> {
    let loaded = log.load::<User>(&StreamName::user(user)).await.ok()?;
    loaded.state.email.get().cloned()
}

/// security 13
#[tokio::test(flavor = "multi_thread")]
async fn persons_keys_are_wrapped_anew_by_runs_that_complete_one_another_and_the_older_key_can_go() {
    let stack = servers::shared().await;
    let database = servers::fresh_log(stack).await;
    let name = database.run_url.rsplit('/').next().unwrap_or_default();
    let owner = stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.owner()));
    let owner = owner.unwrap_or_else(|failure| panic!("{failure}")).replace("/auth_db", &format!("/{name}"));
    let log = open(&database, DATA_KEYS).await;
    let users: Vec<UserId> = (0..PERSONS).map(|_| UserId::new(new_uuid())).collect();
    join_all(users.iter().map(|user| register(&log, *user))).await;

    let both = format!("{NEWER},{DATA_KEYS}");
    let variables = |keys: &str, url: &str| {
        let pairs = [("DATA_ENCRYPTION_KEYS", keys), ("AUTH_DB_OWNER_URL", url)];
        BTreeMap::from(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())))
    };
    // Without the older key nothing can be wrapped anew, and nothing is lost.
    let (code, _, err) = run(&["rewrap"], &variables(NEWER, &owner)).await;
    assert_eq!((code, err.contains("wrapping key '1'")), (1, true), "{err}");
    // The run-time role may not, whatever it knows.
    assert_eq!(run(&["rewrap"], &variables(&both, &database.run_url)).await.0, 1);

    // A run that ended behind its first batch.
    let sealer = Sealer::new(&both).unwrap_or_else(|error| panic!("{error}"));
    let pool = servers::pool(&owner).await;
    let batch = sealer.rewrap(&pool, None).await.unwrap_or_else(|error| panic!("{error}"));
    let done = batch.map_or(0, |batch| batch.found);
    let left = u64::try_from(PERSONS).unwrap_or(0) - done;
    assert!(done > 0 && left > 0, "{done} in one batch");
    assert_eq!(sealer.wrapped_otherwise(&pool).await.ok(), Some(left));
    // Somebody is erased meanwhile, and stays so.
    let erased = *users.iter().max().unwrap_or_else(|| panic!("people"));
    sqlx::query("delete from person_key where person = $1")
        .bind(erased.uuid())
        .execute(&pool)
        .await
        .unwrap_or_else(|error| panic!("{error}"));

    let (code, out, err) = run(&["rewrap", "--json"], &variables(&both, &owner)).await;
    assert_eq!(code, 0, "{out}{err}");
    let said: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    let expected = serde_json::json!({ "log": "auth", "wrappedBy": "2", "rewrapped": left - 1, "left": 0 });
    assert_eq!(said, expected);
    assert!(err.contains("100 %"), "{err}");

    let (newer, older) = (open(&database, NEWER).await, open(&database, DATA_KEYS).await);
    for user in [users[0], users[PERSONS / 2]] {
        assert_eq!(email(&newer, user).await, Some(format!("{user}@example.org")));
        assert_eq!(email(&older, user).await, None, "the older key opens nothing any more");
    }
    assert_eq!(email(&newer, erased).await, None);
}
