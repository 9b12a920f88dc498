//! Sessions that the list of sessions does not know, or knows wrongly: what is over is over for every guard, and what
//! was kept goes on.

use super::{COMPANY, Held, OVER, PATIENCE, PAUSE, Scene, Setting, session_of};
use kisum::platform::Ask;
use kisum_domains::{Session, User};
use kisum_events::{Actor, Meta, RequestId, SessionId, StreamName, UserEvent, UserId};
use kisum_log::{Append, Loaded};
use kisum_tests::{
    counted::new_uuid,
    demo::{Demo, words},
    post::PostOffice,
};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::OnceCell;

const ANOTHER: &str = "nine lemons in a drawer";
const RESET: &str = "Set a new password";

/// security 8, `consistency.md`: whatever fails, every guard knows within the bound.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_resets_while_the_list_of_sessions_stands_still_is_rid_of_a_thief_everywhere() {
    let post = PostOffice::open();
    let demo = Demo::start_with(&[("SMTP_URL", &post.url())]).await;
    let scene = Scene::of(Held::Own(Box::new(Setting { demo, owner: OnceCell::new() })));
    let victim = scene.person("Ada").await;
    scene.member(&victim, COMPANY).await;

    // From here on the list can be read, and learns nothing.
    let mut halting = PgConnection::connect(&scene.database()).await.unwrap_or_else(|error| panic!("{error}"));
    let halt = "set idle_in_transaction_session_timeout = 0; begin; lock table session_list_v1 in exclusive mode";
    sqlx::raw_sql(halt).execute(&mut halting).await.unwrap_or_else(|error| panic!("{error}"));

    let (thief, here) = (scene.sign_in(&victim.email).await, scene.sign_in(&victim.email).await);
    for signed in [&thief, &here] {
        scene.bills_become(&signed.access, COMPANY, "200").await;
    }
    let send = async |path: &str, body| words(&scene.auth(None, Ask::new(Method::POST, path).body(body)).await);
    assert_eq!(send("/auth/password/forgot", json!({ "email": victim.email })).await, "202");
    let token = post.subject(&victim.email, RESET).await.token();
    assert_eq!(send("/auth/password/reset", json!({ "token": token, "password": ANOTHER })).await, "204");
    for signed in [&thief, &here] {
        scene.bills_become(&signed.access, COMPANY, OVER).await;
    }

    // The victim's next session makes the context known again, to Auth and to the backend; it opens nothing for the thief.
    let body = json!({ "email": victim.email, "password": ANOTHER, "client": "native" });
    let login = scene.auth(None, Ask::new(Method::POST, "/auth/login").body(body)).await;
    let back = login.text("/accessToken").unwrap_or_else(|error| panic!("{error:#}"));
    for _ in 0..3 {
        scene.bills_become(&back, COMPANY, "200").await;
        assert_eq!(scene.bills(&thief.access, COMPANY).await, OVER);
        let access = scene.auth(Some(&thief.access), Ask::get("/auth/me/access").company(COMPANY)).await;
        assert_eq!(words(&access), OVER);
    }
    let listed = "select count(*) from session_list_v1 where user_id = $1";
    let user: uuid::Uuid = victim.id.parse().unwrap_or_else(|error| panic!("{error}"));
    let listed: i64 =
        sqlx::query_scalar(listed).bind(user).fetch_one(&mut halting).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(listed, 0, "the list was to know none of these sessions");
}

/// The list is committed by pages, and one may end between a new password and the event that keeps the session which set it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_kept_goes_on_though_the_list_does_not_know_of_that_yet() {
    let scene = Scene::start().await;
    let (person, other) = (scene.person("Ada").await, scene.person("Bob").await);
    let (kept, overlooked) = (scene.sign_in(&person.email).await, scene.sign_in(&other.email).await);
    let id = |text: String| -> uuid::Uuid { text.parse().unwrap_or_else(|error| panic!("{error}")) };
    let (kept_id, overlooked_id) = (id(session_of(&kept)), id(session_of(&overlooked)));
    let mut conn = PgConnection::connect(&scene.database()).await.unwrap_or_else(|error| panic!("{error}"));
    let mut say = async |is_over: bool| {
        let said = "update session_list_v1 set is_over = $2 where session_id = $1";
        let said = sqlx::query(said).bind(kept_id).bind(is_over).execute(&mut conn).await;
        said.unwrap_or_else(|error| panic!("{error}")).rows_affected()
    };
    let saying = async {
        while say(true).await == 0 {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, saying).await.is_ok(), "the session is never listed");

    // Whoever ends this one has looked at the other, too.
    let log = scene.log().await;
    let user = StreamName::user(UserId::new(id(other.id.clone())));
    let loaded: Loaded<User> = log.load(&user).await.unwrap_or_else(|error| panic!("{error}"));
    let request = RequestId::new(new_uuid());
    let mut append = Append::new(request, Meta::new(Actor::System, request));
    append.write(&loaded, vec![UserEvent::SessionsEnded]).unwrap_or_else(|error| panic!("{error}"));
    log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
    let stream = StreamName::session(SessionId::new(overlooked_id));
    let ended = async {
        while log.load::<Session>(&stream).await.is_ok_and(|it| it.state.ends_at().is_some()) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, ended).await.is_ok(), "{stream} is not ended by an event of its own");
    assert_eq!(scene.me(&kept.access).await, "200");
    let refreshed = scene.refreshed(&kept).await;
    assert!(refreshed.is_success(), "{refreshed}");
    assert_eq!(say(false).await, 1);
}
