//! `kisum log show --person|--actor|--company`: the same events whatever the index knows of them.

use super::{Index, follow, run, whole_log};
use crate::log_command::kisum;
use kisum_domains::{Company, Membership, Session, User};
use kisum_events::{
    Actor, Aggregate, AuthMethod, CompanyEvent, CompanyId, Envelope, Log, MembershipEvent, MembershipId, Meta,
    ModuleKey, Sealed, SessionEndCause, SessionEvent, SessionId, StreamName, TenantRole, Timestamp, UserEvent, UserId,
};
use kisum_log::{Append, EventLog, Loaded};
use kisum_projectors::AuthEventIndex;
use kisum_tests::{
    counted::{new_request, new_stream, new_uuid, widen},
    servers::{self, LogDatabase},
};
use sqlx::{Connection as _, PgConnection};

/// More than a search looks at or finds at once.
const REFRESHES: u32 = 1_100;

/// Two people of one company.
struct Lives {
    ada: UserId,
    bob: UserId,
    company: CompanyId,
}

async fn happens<A: Aggregate>(log: &EventLog, actor: &Actor, stream: &StreamName, events: Vec<A::Event>) {
    let request = new_request();
    let meta = Meta::new(actor.clone(), request);
    let mut append = Append::new(request, meta);
    let loaded: Loaded<A> = log.load(stream).await.unwrap_or_else(|error| panic!("{error}"));
    append.write(&loaded, events).unwrap_or_else(|error| panic!("{error}"));
    log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
}

fn started(user_id: UserId) -> SessionEvent {
    SessionEvent::Started {
        user_id,
        amr: vec![AuthMethod::Pwd],
        idle_until: Timestamp::from_micros(1),
        absolute_until: Timestamp::from_micros(2),
        token_hash: Sealed::absent(),
        ip: Sealed::absent(),
        agent: Sealed::absent(),
        user_version: None,
    }
}

fn refreshed(generation: u32) -> SessionEvent {
    let (rotated_at, idle_until) = (Timestamp::from_micros(1), Timestamp::from_micros(2));
    SessionEvent::Refreshed { generation, rotated_at, idle_until, token_hash: Sealed::absent() }
}

fn member(company_id: CompanyId, user_id: UserId) -> MembershipEvent {
    MembershipEvent::Created { company_id, user_id, tenant_role: TenantRole::User, via: "seed".to_owned() }
}

/// Sessions and memberships begin early and have their later events late, in turns.
async fn lives(log: &EventLog) -> Lives {
    let (ada, bob) = (UserId::new(new_uuid()), UserId::new(new_uuid()));
    let company = CompanyId::new(new_uuid());
    let [ada_session, bob_session] = [(); 2].map(|()| StreamName::session(SessionId::new(new_uuid())));
    let [ada_member, bob_member] = [(); 2].map(|()| StreamName::membership(MembershipId::new(new_uuid())));
    let finance: ModuleKey = "finance".parse().unwrap_or_else(|error| panic!("{error}"));
    let (core, by_ada) = (Actor::Service("core".to_owned()), Actor::User(ada));

    let slug = "acme".parse().unwrap_or_else(|error| panic!("{error}"));
    let registered = CompanyEvent::Registered { slug, name: "Acme".to_owned(), owner: ada };
    happens::<Company>(log, &by_ada, &StreamName::company(company), vec![registered]).await;
    happens::<Membership>(log, &Actor::System, &ada_member, vec![member(company, ada)]).await;
    happens::<Session>(log, &by_ada, &ada_session, vec![started(ada)]).await;
    happens::<Membership>(log, &by_ada, &bob_member, vec![member(company, bob)]).await;
    happens::<Session>(log, &Actor::User(bob), &bob_session, vec![started(bob)]).await;
    happens::<User>(log, &core, &StreamName::user(bob), vec![UserEvent::EmailVerified]).await;
    for first in (1..=REFRESHES).step_by(100) {
        let some = (first..first + 100).map(refreshed).collect();
        happens::<Session>(log, &by_ada, &ada_session, some).await;
        happens::<Session>(log, &Actor::User(bob), &bob_session, vec![refreshed(first)]).await;
    }
    let granted = MembershipEvent::ModuleGranted { module: finance };
    happens::<Membership>(log, &by_ada, &bob_member, vec![granted]).await;
    happens::<User>(log, &core, &StreamName::user(ada), vec![UserEvent::EmailVerified]).await;
    let (cause, tokens_until) = (SessionEndCause::Logout, Timestamp::from_micros(3));
    let ended = SessionEvent::Ended { user_id: bob, cause, tokens_until };
    happens::<Session>(log, &Actor::System, &bob_session, vec![ended]).await;
    happens::<Membership>(log, &by_ada, &ada_member, vec![MembershipEvent::Suspended]).await;
    happens::<Company>(log, &core, &StreamName::company(company), vec![CompanyEvent::Approved]).await;
    Lives { ada, bob, company }
}

/// The positions of what `kisum log show` prints.
async fn shown(url: &str, arguments: &[&str]) -> Vec<u64> {
    let (code, text) = kisum(&[&["log", "show", "--json", "--url", url], arguments].concat()).await;
    assert_eq!(code, 0, "{arguments:?}: {text}");
    let position = |line: &str| serde_json::from_str::<Envelope>(line).map(|event| event.position);
    text.lines().map(|line| position(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// Asks for everybody and everything, from the beginning and from the middle.
async fn finds_everything(url: &str, lives: &Lives, events: &[Envelope], state: &str) {
    let all = Index::folded(events);
    let middle = events.len() as u64 / 2;
    for (kind, key, first) in [
        ("person", lives.ada.to_string(), 1),
        ("person", lives.ada.to_string(), middle),
        ("person", lives.bob.to_string(), 1),
        ("person", lives.bob.to_string(), middle),
        ("person", new_uuid().to_string(), 1),
        ("actor", "system".to_owned(), 1),
        ("actor", format!("user:{}", lives.bob), middle),
        ("actor", "service:core".to_owned(), 1),
        ("company", lives.company.to_string(), 1),
    ] {
        let rows = all.found.iter().filter(|row| (row.0.as_str(), &row.1) == (kind, &key) && row.2 >= first);
        let expected: Vec<_> = rows.map(|row| row.2).collect();
        let found = shown(url, &[&first.to_string(), "--limit", "10000", &format!("--{kind}"), &key]).await;
        assert_eq!(found, expected, "{state}: --{kind} {key} from {first}");
    }
}

async fn log_of_lives() -> (LogDatabase, PgConnection, Lives, Vec<Envelope>) {
    let database = servers::fresh_log(servers::shared().await).await;
    let lives = lives(&servers::open(&database).await).await;
    let mut conn = PgConnection::connect(&database.run_url).await.unwrap_or_else(|error| panic!("{error}"));
    let events = whole_log(&mut conn, Log::Auth).await;
    (database, conn, lives, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_does_not_depend_on_how_far_the_index_is() {
    let (database, mut conn, lives, events) = log_of_lives().await;
    let url = database.run_url.as_str();
    finds_everything(url, &lives, &events, "an index that never ran").await;
    follow::<AuthEventIndex>(&mut conn, 1, &events[..4], 4).await;
    finds_everything(url, &lives, &events, "an index that knows one session of two").await;
    follow::<AuthEventIndex>(&mut conn, 1, &events[..events.len() / 2], 500).await;
    finds_everything(url, &lives, &events, "an index that stands half-way").await;
    follow::<AuthEventIndex>(&mut conn, 1, &events, 500).await;
    finds_everything(url, &lives, &events, "a whole index").await;
    finds_everything(&database.relay_url, &lives, &events, "an index that may not be read").await;
    // Of an epoch that is over: what it says is of another history.
    run(
        &mut conn,
        "update projection_checkpoint set epoch = 7; update event_index_v1 set position = position + 1000000",
    )
    .await;
    finds_everything(url, &lives, &events, "an index of another epoch").await;
    let emptied = "update projection_checkpoint set epoch = 1, position = 0; delete from event_index_v1;
        delete from event_index_stream_v1";
    run(&mut conn, emptied).await;
    finds_everything(url, &lives, &events, "an emptied index").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_index_covers_is_read_from_it_and_what_it_does_not_cover_is_not() {
    let (database, mut conn, lives, events) = log_of_lives().await;
    let bob = lives.bob.to_string();
    follow::<AuthEventIndex>(&mut conn, 1, &events[..events.len() / 2], 500).await;
    let of_bob = async || shown(&database.run_url, &["--limit", "10000", "--person", &bob]).await;
    let whole = of_bob().await;
    // Not what happens to an index, but the only way to see from outside that it is used, up to its checkpoint.
    run(&mut conn, &format!("delete from event_index_v1 where kind = 'person' and key = '{bob}'")).await;
    let behind: Vec<_> = whole.iter().copied().filter(|position| *position > events.len() as u64 / 2).collect();
    assert!(!behind.is_empty() && behind.len() < whole.len(), "{whole:?}");
    assert_eq!(of_bob().await, behind);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_the_limit_hold_together() {
    let (database, mut conn, lives, events) = log_of_lives().await;
    let (ada, company) = (lives.ada.to_string(), lives.company.to_string());
    let by_ada = format!("user:{ada}");
    for state in ["without an index", "with a whole index"] {
        let ask = async |arguments: &[&str]| {
            let positions = shown(&database.run_url, arguments).await;
            positions.into_iter().map(|at| events[at as usize - 1].event_type.as_str()).collect::<Vec<_>>()
        };
        let found = ask(&["--person", &lives.bob.to_string(), "--company", &company]).await;
        assert_eq!(found, ["membership.created", "membership.module_granted"], "{state}");
        let found = ask(&["--actor", &by_ada, "--company", &company, "--limit", "2"]).await;
        assert_eq!(found, ["company.registered", "membership.created"], "{state}");
        let found = ask(&["--person", &ada, "--stream", "membership"]).await;
        assert_eq!(found, ["membership.created", "membership.suspended"], "{state}");
        // The last of over a thousand events of theirs.
        assert_eq!(ask(&["--person", &ada, "--type", "user.email_verified"]).await, ["user.email_verified"], "{state}");
        assert_eq!(ask(&["--person", &ada, "--limit", "1005"]).await.len(), 1005, "{state}");
        follow::<AuthEventIndex>(&mut conn, 1, &events, 500).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_understands_is_never_taken_for_one_that_concerns_nobody() {
    let database = servers::fresh_log(servers::shared().await).await;
    let log = servers::open(&database).await;
    log.append(widen(&Loaded::new_stream(new_stream()), "x")).await.unwrap_or_else(|error| panic!("{error}"));
    let somebody = new_uuid().to_string();
    let (code, text) = kisum(&["log", "show", "--person", &somebody, "--url", &database.run_url]).await;
    assert!(code == 1 && text.contains("event 1 has the unknown type 'counted.widened'"), "{code} {text}");
    let (code, text) = kisum(&["log", "show", "--actor", "system", "--url", &database.run_url]).await;
    assert!(code == 0 && text.contains("counted.widened"), "an envelope says by itself who acted: {code} {text}");
}
