//! Second factors with more than one process of Auth, without Redis, after a change of the account in between; and what
//! the database holds of them.

use kisum::local::{Part, Stack, databases::Database};
use kisum_domains::{
    User,
    user::{self, NewPassword},
};
use kisum_events::{Actor, Log, Meta, PasswordCause, RequestId, StreamName, UserEvent, UserId};
use kisum_log::{Append, EventLog, Sealer};
use kisum_tests::{
    account::{Account, add_app, add_passkey, part, post, second_factor, signed, text},
    cached::Cached,
    counted::new_uuid,
    demo::{self, Visitor, words},
    passkey::Manner,
    servers,
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection, Row as _};

fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Auth alone, with a database, a bus and a Redis of its own.
async fn auth_alone() -> (Stack, Visitor) {
    let stack = servers::start(&[Part::RelayAuth, Part::RelayCore, Part::Auth]).await;
    let visitor = Visitor::of(&stack);
    (stack, visitor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_began_at_one_process_ends_at_another_whatever_becomes_of_redis() {
    let (mut stack, here) = auth_alone().await;
    let (process, there) = demo::another_auth(&stack, &[]).await;
    let account = Account::new(&here).await;
    let person = account.sign_in(&here).await;
    let (mut passkey, added) = add_passkey(&here, &person.access).await;
    let codes = kisum_tests::demo::texts(&added, "/recoveryCodes");

    let begun = account.begin(&here).await;
    Cached::of(&stack).await.flush().await;
    signed(&second_factor(&there, &begun, "recovery", &codes[0]).await);
    assert_eq!(words(&second_factor(&here, &begun, "recovery", &codes[1]).await), "401 unauthorized", "good once");

    // Attempts are counted together, and nothing is forgotten with Redis.
    let begun = account.begin(&there).await;
    for visitor in [&here, &there, &here] {
        assert_eq!(words(&second_factor(visitor, &begun, "totp", "000000").await), "401 unauthorized");
    }
    stack.kill(Part::Redis).await;
    for visitor in [&there, &here] {
        assert_eq!(words(&second_factor(visitor, &begun, "totp", "000000").await), "401 unauthorized");
    }
    assert_eq!(words(&second_factor(&there, &begun, "recovery", &codes[1]).await), "401 unauthorized", "five attempts");

    // A passkey whose counter went up at one process is not good at the other with an older one.
    let login = async |visitor: &Visitor, passkey: &mut kisum_tests::passkey::Passkey| {
        let asked = post(visitor, None, "/auth/passkeys/login/options", json!({})).await;
        let assertion = passkey.get(&part(&asked, "/publicKey"), &Manner::default());
        let body = json!({ "challenge": text(&asked, "/challenge"), "assertion": assertion, "client": "native" });
        post(visitor, None, "/auth/passkeys/login/finish", body).await
    };
    signed(&login(&here, &mut passkey).await);
    passkey.counter -= 1;
    assert_eq!(words(&login(&there, &mut passkey).await), "401 unauthorized");
    signed(&login(&there, &mut passkey).await);
    process.kill().await;
    stack.stop().await;
}

/// Appends what a decision makes of a person, behind the platform's back.
pub(crate) async fn decide(stack: &Stack, id: &str, decide: impl Fn(&User) -> Vec<UserEvent>) {
    let environment = ok(stack.environment(Part::Auth));
    let url = ok(stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role())));
    let sealer = ok(Sealer::new(&environment["DATA_ENCRYPTION_KEYS"]));
    let log = ok(EventLog::open(Log::Auth, &url, servers::pool(&url).await, sealer).await);
    let id: UserId = ok(id.parse());
    let loaded = ok(log.load::<User>(&StreamName::user(id)).await);
    let request = RequestId::new(new_uuid());
    let mut append = Append::new(request, Meta::new(Actor::System, request));
    ok(append.write(&loaded, decide(&loaded.state)));
    ok(log.append(append).await);
}

/// security 8
#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_person_s_sessions_ends_a_sign_in_that_has_begun() {
    let (stack, visitor) = auth_alone().await;
    let account = Account::new(&visitor).await;
    let (_, _, codes) = add_app(&visitor, &account.sign_in(&visitor).await.access).await;

    let begun = account.begin(&visitor).await;
    decide(&stack, &account.user_id, |state| ok(user::suspend(state))).await;
    assert_eq!(words(&second_factor(&visitor, &begun, "recovery", &codes[0]).await), "403 forbidden suspended");
    decide(&stack, &account.user_id, |state| ok(user::reactivate(state))).await;
    assert_eq!(words(&second_factor(&visitor, &begun, "recovery", &codes[0]).await), "401 unauthorized");

    // A reset changes the password and no factor: the new one alone is not enough, the old one is worth nothing.
    let begun = account.begin(&visitor).await;
    let other = Account::new(&visitor).await;
    let hash = std::sync::Mutex::new(String::new());
    decide(&stack, &other.user_id, |state| {
        *hash.lock().unwrap_or_else(|error| panic!("{error}")) = state.password_hash.get().cloned().unwrap_or_default();
        vec![UserEvent::EmailVerified]
    })
    .await;
    let hash = hash.into_inner().unwrap_or_default();
    decide(&stack, &account.user_id, |state| {
        ok(user::set_password(state, NewPassword::alone(&hash), PasswordCause::Reset))
    })
    .await;
    assert_eq!(words(&second_factor(&visitor, &begun, "recovery", &codes[0]).await), "401 unauthorized");
    let begun = account.login(&visitor).await;
    assert_eq!(part(&begun, "/mfaRequired"), json!(true), "{begun}");
    signed(&second_factor(&visitor, &text(&begun, "/challenge"), "recovery", &codes[0]).await);
    stack.stop().await;
}

/// security 6, 12, 13
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_holds_of_factors_opens_nothing_and_names_nobody() {
    let (stack, visitor) = auth_alone().await;
    let account = Account::new(&visitor).await;
    let person = account.sign_in(&visitor).await;
    let offer = post(&visitor, Some(&person.access), "/auth/factors/totp", json!({ "label": "My phone" })).await;
    let (secret, open) = (text(&offer, "/secret"), text(&offer, "/challenge"));
    let (_, _, codes) = add_app(&visitor, &person.access).await;
    let begun = account.begin(&visitor).await;
    let url = ok(stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role())));
    let mut conn = ok(PgConnection::connect(&url).await);
    let mut dump = String::new();
    for sql in [
        "select row_to_json(t)::text || encode(sealed, 'escape') as row from auth_challenge t",
        "select row_to_json(t)::text || coalesce(encode(sealed, 'escape'), '') as row from event t",
        "select row_to_json(t)::text || coalesce(encode(sealed_state, 'escape'), '') as row from stream t",
    ] {
        let rows = ok(sqlx::query(sql).fetch_all(&mut conn).await);
        assert!(!rows.is_empty(), "{sql}");
        dump.extend(rows.iter().map(|row| row.get::<String, _>("row")));
    }
    let flat = codes[0].replace('-', "");
    for known in [secret.as_str(), &open, &begun, &codes[0], &flat, &account.email, "Phone", "My phone"] {
        assert!(!dump.contains(known), "{known}");
    }
    assert!(dump.contains("user.factor_added") && dump.contains(&account.user_id), "the right tables");
    stack.stop().await;
}
