//! Invitations: an address becomes a member's by the mail that it reads, and is worth what whoever sent it could give then.

mod administered;

use super::{Held, PAUSE, Person, Scene, Setting, erasure::nothing_is_found, members::Firm};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use kisum::{
    local::databases::Database,
    platform::{Answer, Ask},
};
use kisum_domains::{Invitation, invitation::InvitationStatus};
use kisum_events::{
    Actor, AddonEvent, AddonKey, InvitationEvent, InvitationId, Log, Meta, RequestId, Sealed, SecretId, StreamName,
    Timestamp,
};
use kisum_log::{Append, EventLog, Loaded, Sealer, read_head};
use kisum_tests::{
    counted::new_uuid,
    demo::{Demo, texts, words},
    kept::Kept,
    post::PostOffice,
    servers,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::OnceCell;

const SUBJECT: &str = "You are invited";
const NOT_GOOD: &str = "409 conflict token_not_good";
const VOID: &str = "409 conflict invitation_void";
const LOW: &str = "403 forbidden role_too_low";
/// How long a test waits for what is looked for now and then: several looks.
const LOOKED_FOR: Duration = Duration::from_secs(120);
/// Who asks at the same moment.
const CROWD: usize = 4;

/// A platform whose mails come here, which the tests of this file share.
struct Mailed {
    setting: Arc<Setting>,
    post: PostOffice,
}

impl std::ops::Deref for Mailed {
    type Target = PostOffice;
    fn deref(&self) -> &PostOffice {
        &self.post
    }
}

static SHARED: Kept<Mailed> = Kept::new();

async fn mailed() -> (Setting, PostOffice) {
    let post = PostOffice::open();
    let demo = Demo::start_with(&[("SMTP_URL", &post.url())]).await;
    (Setting { demo, owner: OnceCell::new() }, post)
}

async fn shared() -> (Scene, Arc<Mailed>) {
    let start = async || {
        let (setting, post) = mailed().await;
        Mailed { setting: Arc::new(setting), post }
    };
    let mailed = SHARED.get(start).await;
    (Scene::of(Held::Shared(Arc::clone(&mailed.setting))), mailed)
}

/// An address that nobody has.
fn nobody() -> String {
    format!("Nobody.{}@invited.example", new_uuid().simple())
}

fn to(email: &str) -> Value {
    json!({ "email": email, "tenantRole": "USER" })
}

fn with_bills(email: &str) -> Value {
    json!({ "email": email, "tenantRole": "USER", "modules": ["finance"], "permissions": ["finance.bills.read"] })
}

fn text(answer: &Answer, pointer: &str) -> String {
    answer.text(pointer).unwrap_or_else(|error| panic!("{error:#}"))
}

impl Scene {
    async fn accept(&self, token: Option<&str>, body: Value) -> Answer {
        self.auth(token, Ask::new(Method::POST, "/auth/invitations/accept").body(body)).await
    }

    /// Accepts without an account, with the demo's password.
    async fn joins(&self, token: &str) -> Answer {
        let password = &self.visitor.platform.addresses().demo_password;
        self.accept(None, json!({ "token": token, "name": "Nobody", "password": password })).await
    }

    async fn invitation(&self, id: &str) -> Loaded<Invitation> {
        let id = InvitationId::new(id.parse().unwrap_or_else(|error| panic!("{error}")));
        let loaded = self.log().await.load(&StreamName::invitation(id)).await;
        loaded.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Firm<'_> {
    async fn invites(&self, token: &str, body: Value) -> Answer {
        self.asks(token, Method::POST, "invitations", Some(body)).await
    }

    /// Invites, and answers with the invitation's id and the token that was mailed.
    async fn invited(&self, post: &PostOffice, token: &str, body: Value) -> (String, String) {
        let sent = self.invites(token, body.clone()).await;
        assert_eq!(sent.status, 201, "{sent}");
        let email = body["email"].as_str().unwrap_or_default();
        (text(&sent, "/invitationId"), post.subject(email, SUBJECT).await.token())
    }

    async fn listed(&self, token: &str, status: &str) -> Vec<Value> {
        self.items(token, &format!("invitations?status={status}")).await
    }

    /// What a list holds that has heard of everything so far.
    async fn items(&self, token: &str, list: &str) -> Vec<Value> {
        let mut conn = PgConnection::connect(&self.scene.database()).await.unwrap_or_else(|error| panic!("{error}"));
        let head = read_head(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
        let (path, at) = (format!("/companies/{}/{list}", self.id), format!("auth.{}.{}", head.epoch, head.position));
        let ask = Ask::get(&path).company(&self.slug).from_position(Some(&at));
        let answer = self.scene.auth(Some(token), ask).await;
        assert!(answer.is_success(), "{answer}");
        answer.body["data"]["items"].as_array().cloned().unwrap_or_default()
    }

    async fn audit(&self, token: &str, kind: &str) -> Vec<Value> {
        self.items(token, &format!("audit?type={kind}")).await
    }
}

/// The token with another secret of the same form.
fn altered(token: &str) -> String {
    let (ids, _) = token.rsplit_once('.').unwrap_or_default();
    format!("{ids}.{}", URL_SAFE_NO_PAD.encode([7; 32]))
}

/// Contract, *Auth, public listener*: `{token,name,password}` where no account exists.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_without_an_account_joins_by_the_mail_and_may_do_what_was_promised() {
    let (scene, post) = shared().await;
    let boss = scene.person("Boss").await;
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let email = nobody();
    let sent = firm.invites(&lead, with_bills(&email)).await;
    assert_eq!((sent.status, sent.position.is_some()), (201, true), "{sent}");
    assert_eq!(sent.body["data"]["status"], "pending");
    assert_eq!(sent.body["data"]["email"], email);
    let letter = post.subject(&email, SUBJECT).await;
    assert!(letter.text.contains("\"Boss\" invites you to join the company \"A firm\" at Kisum."), "{}", letter.text);
    let token = letter.token();
    assert!(!sent.body.to_string().contains(&token), "the link goes by mail alone");
    assert_eq!(firm.listed(&lead, "pending").await.len(), 1);

    let password = "the owl bought a tram";
    for (body, wanted) in [
        (json!({ "token": token }), "401 unauthorized"),
        (json!({ "token": token, "name": "Ada" }), "400 validation_error"),
        (json!({ "token": token, "password": password }), "400 validation_error"),
        (json!({ "token": token, "name": " ", "password": password }), "400 validation_error"),
        (json!({ "token": token, "name": "Ada", "password": "short" }), "400 validation_error"),
        (json!({ "token": "nonsense", "name": "Ada", "password": password }), NOT_GOOD),
        (json!({ "token": altered(&token), "name": "Ada", "password": password }), NOT_GOOD),
    ] {
        assert_eq!(words(&scene.accept(None, body.clone()).await), wanted, "{body}");
    }
    let joined = scene.joins(&token).await;
    assert_eq!((joined.status, joined.position.is_some()), (201, true), "{joined}");
    assert_eq!(joined.body["data"]["tenantRole"], "USER");
    assert_eq!(
        (texts(&joined, "/modules"), texts(&joined, "/permissions")),
        (vec!["finance".to_owned()], vec!["finance.bills.read".to_owned()])
    );
    let signed = scene.sign_in(&email).await;
    let me = scene.auth(Some(&signed.access), Ask::get("/auth/me")).await;
    assert_eq!(me.body["data"]["emailVerified"], true, "the mail has shown it: {me}");
    scene.bills_become(&signed.access, &firm.slug, "200").await;
    assert_eq!(words(&scene.joins(&token).await), NOT_GOOD, "a link is good once");

    assert_eq!(firm.listed(&lead, "pending").await, [] as [Value; 0]);
    let accepted = firm.listed(&lead, "accepted").await;
    assert_eq!(
        (&accepted[0]["email"], &accepted[0]["membershipId"]),
        (&Value::Null, &joined.body["data"]["membershipId"])
    );
    for (kind, actor) in [("invitation.sent", &boss.id), ("invitation.accepted", &signed.user_id)] {
        let found = firm.audit(&lead, kind).await;
        assert_eq!((found.len(), &found[0]["actor"]), (1, &json!(format!("user:{actor}"))), "{kind}");
        assert!(!found[0].to_string().to_lowercase().contains("invited.example"), "{found:?}");
    }
}

/// Contract, *Auth, public listener*: `{token}` with a session of the invited address.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_with_an_account_joins_with_a_session_of_the_invited_address_and_nobody_else_does() {
    let (scene, post) = shared().await;
    let (boss, ada, eve) = (scene.person("Boss").await, scene.person("Ada").await, scene.person("Eve").await);
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let stranger = firm.invites(&lead, to(&nobody())).await;
    // As it is compared, not as it was registered.
    let email = ada.email.to_uppercase();
    let (_, token) = firm.invited(&post, &lead, with_bills(&email)).await;
    let known = firm.listed(&lead, "pending").await;
    assert_eq!(known.len(), 2);
    let shape = |value: &Value| value.as_object().map(|it| it.keys().cloned().collect::<BTreeSet<_>>());
    assert_eq!(shape(&known[0]), shape(&known[1]), "nobody sees who has an account");
    assert_eq!(shape(&stranger.body["data"]), shape(&known[0]));

    let (hers, other) = (scene.sign_in(&ada.email).await.access, scene.sign_in(&eve.email).await.access);
    assert_eq!(words(&scene.accept(Some(&other), json!({ "token": token })).await), NOT_GOOD);
    assert_eq!(words(&scene.joins(&token).await), "409 conflict email_taken", "the link opens no account");
    let both = json!({ "token": token, "name": "Ada", "password": "the owl bought a tram" });
    assert_eq!(words(&scene.accept(Some(&hers), both).await), "400 validation_error");
    assert_eq!(words(&scene.accept(Some(&hers), json!({ "token": altered(&token) })).await), NOT_GOOD);
    let joined = scene.accept(Some(&hers), json!({ "token": token })).await;
    assert_eq!(joined.status, 201, "{joined}");
    assert_eq!(joined.body["data"]["userId"], ada.id);
    scene.bills_become(&hers, &firm.slug, "200").await;
    assert_eq!(words(&firm.invites(&lead, to(&ada.email)).await), "409 conflict already_a_member");

    // A member by another way before they accepted.
    let (_, token) = firm.invited(&post, &lead, to(&eve.email)).await;
    firm.member(&eve, "USER").await;
    let refused = scene.accept(Some(&other), json!({ "token": token })).await;
    assert_eq!(words(&refused), "409 conflict already_a_member");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_or_withdrawn_takes_the_link_before_with_it() {
    let (scene, post) = shared().await;
    let (boss, other) = (scene.person("Boss").await, scene.person("Other boss").await);
    let (firm, theirs) = (Firm::of(&scene, &boss).await, Firm::of(&scene, &other).await);
    let (lead, rival) = (scene.sign_in(&boss.email).await.access, scene.sign_in(&other.email).await.access);
    let email = nobody();
    let (id, first) = firm.invited(&post, &lead, to(&email)).await;
    let again = format!("invitations/{id}/resend");
    let resent = firm.asks(&lead, Method::POST, &again, Some(json!({}))).await;
    assert_eq!((resent.status, text(&resent, "/invitationId")), (200, id.clone()), "{resent}");
    let second = post.until(&email, 2).await[1].token();
    assert_eq!(words(&scene.joins(&first).await), NOT_GOOD);
    // Inviting anew what waits is sending it again, and on other terms it is something else.
    let same = firm.invites(&lead, to(&email.to_lowercase())).await;
    assert_eq!(text(&same, "/invitationId"), id, "one address has one invitation");
    let third = post.until(&email, 3).await[2].token();
    assert_eq!(words(&scene.joins(&second).await), NOT_GOOD);
    assert_eq!(words(&firm.invites(&lead, with_bills(&email)).await), "409 conflict already_invited");

    // Another company neither sees nor touches it, and may have one of its own.
    for path in [again.clone(), format!("invitations/{id}")] {
        let method = if path.ends_with("resend") { Method::POST } else { Method::DELETE };
        let body = path.ends_with("resend").then(|| json!({}));
        assert_eq!(words(&theirs.asks(&rival, method, &path, body).await), "404 not_found", "{path}");
    }
    assert_eq!(theirs.listed(&rival, "pending").await, [] as [Value; 0]);
    let (own, _) = theirs.invited(&post, &rival, to(&email)).await;
    assert_ne!(own, id);
    post.until(&email, 4).await;

    let path = format!("invitations/{id}");
    for _ in 0..2 {
        assert_eq!(firm.asks(&lead, Method::DELETE, &path, None).await.status, 204, "twice is once");
    }
    assert_eq!(words(&scene.joins(&third).await), NOT_GOOD);
    let over = firm.asks(&lead, Method::POST, &again, Some(json!({}))).await;
    assert_eq!(words(&over), "409 conflict not_pending");
    let anew = text(&firm.invites(&lead, to(&email)).await, "/invitationId");
    assert_ne!(anew, id, "what is over begins anew");
    let fifth = post.until(&email, 5).await[4].token();
    let resent = firm.asks(&lead, Method::POST, &format!("invitations/{anew}/resend"), Some(json!({}))).await;
    assert_eq!(resent.status, 200, "{resent}");
    // The sixth mail of one company to one address within an hour.
    assert_eq!(firm.invites(&lead, to(&email)).await.status, 429);
    let last = post.until(&email, 6).await[5].token();
    assert_eq!((words(&scene.joins(&fifth).await), scene.joins(&last).await.status), (NOT_GOOD.to_owned(), 201));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_under_one_key_invites_once() {
    let (scene, post) = shared().await;
    let boss = scene.person("Boss").await;
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let (email, key, path) = (nobody(), new_uuid(), format!("/companies/{}/invitations", firm.id));
    let ask = |body| Ask::new(Method::POST, &path).company(&firm.slug).body(body).key(key);
    let first = scene.auth(Some(&lead), ask(to(&email))).await;
    let token = post.subject(&email, SUBJECT).await.token();
    let again = scene.auth(Some(&lead), ask(to(&email))).await;
    assert_eq!((again.status, &again.position, &again.body), (201, &first.position, &first.body));
    assert_eq!(words(&scene.auth(Some(&lead), ask(to(&nobody()))).await), "409 conflict idempotency_key_reused");
    assert_eq!(scene.joins(&token).await.status, 201, "nothing was sent again");
    let late = scene.auth(Some(&lead), ask(to(&email))).await;
    assert_eq!((late.status, &late.body["data"]["status"]), (201, &json!("accepted")), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_whose_time_is_over_is_good_for_nothing_and_its_address_is_forgotten() {
    let (scene, post) = shared().await;
    let boss = scene.person("Boss").await;
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let email = nobody();
    let (id, _) = firm.invited(&post, &lead, to(&email)).await;
    // As if it had been sent a week ago, with a secret that the test knows.
    let before = scene.invitation(&id).await;
    let (secret_id, secret) = (SecretId::new(new_uuid()), [5; 32]);
    let hash = digest(&SHA256, &secret).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let token = format!("{id}.{secret_id}.{}", URL_SAFE_NO_PAD.encode(secret));
    let InvitationStatus::Pending { expires_at, invited_by, .. } = before.state.status else { panic!("{before:?}") };
    let good_for = kisum_domains::invitation::GOOD_FOR;
    let over = Timestamp::from_micros(expires_at.micros() - i64::try_from(good_for.as_micros()).unwrap_or(i64::MAX));
    let resent = InvitationEvent::Resent { invited_by, secret_id, expires_at: over, token_hash: Sealed::new(hash) };
    let request = RequestId::new(new_uuid());
    let mut append = Append::new(request, Meta::new(Actor::System, request));
    append.write(&before, vec![resent]).unwrap_or_else(|error| panic!("{error}"));
    scene.log().await.append(append).await.unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(words(&scene.joins(&token).await), NOT_GOOD);
    let again = firm.asks(&lead, Method::POST, &format!("invitations/{id}/resend"), Some(json!({}))).await;
    assert_eq!(words(&again), "409 conflict not_pending");
    let expiring = async {
        while scene.invitation(&id).await.state.status != InvitationStatus::Expired {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(LOOKED_FOR, expiring).await.is_ok(), "it is not ended");
    is_forgotten(&scene, &id).await;
    assert_eq!(firm.listed(&lead, "expired").await[0]["email"], Value::Null);
    let anew = text(&firm.invites(&lead, to(&email)).await, "/invitationId");
    assert_ne!(anew, id);
    let token = post.until(&email, 2).await[1].token();
    assert_eq!(scene.joins(&token).await.status, 201);
}

/// Of an invitation that is over no address is left, and no key that could open one.
async fn is_forgotten(scene: &Scene, id: &str) {
    let state = scene.invitation(id).await.state;
    assert!(state.email.get().is_none() && state.token_hash.get().is_none(), "{state:?}");
    let mut conn = PgConnection::connect(&scene.database()).await.unwrap_or_else(|error| panic!("{error}"));
    let left = "select (select count(*) from person_key where person::text = $1)
                     + (select count(*) from claim where holder = 'invitation-' || $1)";
    let left: i64 =
        sqlx::query_scalar(left).bind(id).fetch_one(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(left, 0, "a key or an address' place is left");
}

/// Sells a firm an add-on with which it may have that many members.
async fn sell_seats(firm: &Firm<'_>, seats: i64) {
    let url = firm.scene.stack().addresses_with(|at| at.database(Database::Core, Database::Core.runtime_role()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let log = EventLog::open(Log::Core, &url, servers::pool(&url).await, Sealer::without_keys()).await;
    let log = log.unwrap_or_else(|error| panic!("{error}"));
    let name = format!("seats-{}", new_uuid().simple());
    let addon: AddonKey = name.get(..20).unwrap_or_default().parse().unwrap_or_else(|error| panic!("{error:?}"));
    let module = "market".parse().unwrap_or_else(|error| panic!("{error:?}"));
    let published = AddonEvent::VersionPublished {
        version: 1,
        modules: vec![module],
        limits: [("seats".to_owned(), seats)].into(),
    };
    let request = RequestId::new(new_uuid());
    let mut append = Append::new(request, Meta::new(Actor::System, request));
    let stream = Loaded::<kisum_domains::Addon>::new_stream(StreamName::addon(&addon));
    append.write(&stream, vec![published]).unwrap_or_else(|error| panic!("{error}"));
    log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
    firm.scene.buys(&firm.id, &addon.to_string()).await;
}

/// `events.md`: a membership's append writes the company, which counts seats.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_accept_the_last_seat_at_once_one_gets_it() {
    let (scene, post) = shared().await;
    let (boss, ada) = (scene.person("Boss").await, scene.person("Ada").await);
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    sell_seats(&firm, 2).await;
    let (_, hers) = firm.invited(&post, &lead, to(&ada.email)).await;
    let (_, new) = firm.invited(&post, &lead, to(&nobody())).await;
    let token = scene.sign_in(&ada.email).await.access;
    let (first, second) = tokio::join!(scene.accept(Some(&token), json!({ "token": hers })), scene.joins(&new));
    let said: BTreeSet<_> = [words(&first), words(&second)].into();
    assert_eq!(said, BTreeSet::from(["201".to_owned(), "409 conflict limit_reached".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_use_one_link_at_once_one_joins() {
    let (scene, post) = shared().await;
    let (boss, ada) = (scene.person("Boss").await, scene.person("Ada").await);
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let (_, token) = firm.invited(&post, &lead, to(&ada.email)).await;
    let hers = scene.sign_in(&ada.email).await.access;
    let crowd = (0..CROWD).map(|_| scene.accept(Some(&hers), json!({ "token": token })));
    let said: Vec<_> = join_all(crowd).await.iter().map(words).collect();
    assert_eq!(said.iter().filter(|said| *said == "201").count(), 1, "{said:?}");
    let others = ["201", NOT_GOOD, "409 conflict already_a_member"];
    assert!(said.iter().all(|said| others.contains(&said.as_str())), "{said:?}");

    let email = nobody();
    let (_, token) = firm.invited(&post, &lead, to(&email)).await;
    let said: Vec<_> = join_all((0..CROWD).map(|_| scene.joins(&token))).await.iter().map(words).collect();
    assert_eq!(said.iter().filter(|said| *said == "201").count(), 1, "{said:?}");
    let others = ["201", NOT_GOOD, "409 conflict email_taken"];
    assert!(said.iter().all(|said| others.contains(&said.as_str())), "{said:?}");
    scene.sign_in(&email).await;
}

/// An administrator of a firm who may grant reading bills, and their membership.
async fn admin_of(firm: &Firm<'_>, lead: &str) -> (Person, String, String) {
    let admin = firm.scene.person("Admin").await;
    let member = firm.member(&admin, "ADMIN").await;
    for grant in ["modules/finance", "permissions/finance.bills.read"] {
        let granted = firm.asks(lead, Method::PUT, &format!("members/{member}/{grant}"), None).await;
        assert!(granted.is_success(), "{granted}");
    }
    let policy = json!({ "modules": ["finance"], "permissions": ["finance.bills.read"] });
    let set = firm.asks(lead, Method::PUT, "delegation-policy/ADMIN", Some(policy)).await;
    assert!(set.is_success(), "{set}");
    let token = firm.scene.sign_in(&admin.email).await.access;
    (admin, member, token)
}

/// Contract, *Who owns what*: a grant is worth no more than whoever gives it may give at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_whoever_invites_could_not_give_any_more_is_not_given() {
    let (scene, post) = shared().await;
    let boss = scene.person("Boss").await;
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let (person, member, admin) = admin_of(&firm, &lead).await;
    let beyond = json!({ "email": nobody(), "tenantRole": "USER", "permissions": ["finance.bills.create"] });
    assert_eq!(words(&firm.invites(&admin, beyond).await), "403 forbidden not_grantable");

    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(firm.invited(&post, &admin, with_bills(&nobody())).await);
    }
    let taken =
        firm.asks(&lead, Method::DELETE, &format!("members/{member}/permissions/finance.bills.read"), None).await;
    assert!(taken.is_success(), "{taken}");
    let joined = scene.joins(&tokens[0].1).await;
    assert_eq!(
        (joined.status, texts(&joined, "/modules").len(), texts(&joined, "/permissions").len()),
        (201, 1, 0),
        "{joined}"
    );
    let said = firm.audit(&lead, "invitation.accepted").await;
    assert_eq!(said[0]["data"]["withheld"]["permissions"], json!(["finance.bills.read"]), "{said:?}");

    // Whoever may send it vouches for it: sent again by a superadmin, it rests on them.
    let path = format!("invitations/{}/resend", tokens[1].0);
    assert_eq!(words(&firm.asks(&admin, Method::POST, &path, Some(json!({}))).await), "403 forbidden not_grantable");

    assert!(scene.stands(&person, "suspend").await.is_success());
    assert_eq!(words(&scene.joins(&tokens[1].1).await), VOID, "whoever may not use the platform invites nobody to it");
    assert!(scene.stands(&person, "reactivate").await.is_success());
    let demoted = json!({ "tenantRole": "MANAGER" });
    assert!(firm.asks(&lead, Method::PATCH, &format!("members/{member}"), Some(demoted)).await.is_success());
    assert_eq!(words(&scene.joins(&tokens[1].1).await), VOID);
    let resent = firm.asks(&lead, Method::POST, &path, Some(json!({}))).await;
    assert!(resent.is_success(), "{resent}");
    let email = text(&resent, "/email");
    let token = post.until(&email, 2).await[1].token();
    let joined = scene.joins(&token).await;
    assert_eq!((joined.status, texts(&joined, "/permissions").len()), (201, 1), "{joined}");
    assert!(firm.asks(&lead, Method::DELETE, &format!("members/{member}"), None).await.is_success());
    assert_eq!(words(&scene.joins(&tokens[2].1).await), VOID, "nor does whoever is no member");
    let suspend = format!("/internal/v1/companies/{}/suspend", firm.id);
    assert!(scene.admin(Ask::new(Method::POST, &suspend).body(json!({ "reason": "unpaid" }))).await.is_success());
    let path = format!("/internal/v1/companies/{}/invitations", firm.id);
    let by_platform = scene.admin(Ask::new(Method::POST, &path).body(to(&nobody()))).await;
    assert_eq!((by_platform.status, &by_platform.body["data"]["invitedBy"]), (201, &Value::Null), "{by_platform}");
    let letter = post.subject(&text(&by_platform, "/email"), SUBJECT).await;
    assert!(letter.text.contains("You are invited to join the company \"A firm\""), "{}", letter.text);
    assert_eq!(words(&scene.joins(&letter.token()).await), "403 forbidden company_not_active");
    let reactivate = format!("/internal/v1/companies/{}/reactivate", firm.id);
    assert!(scene.admin(Ask::new(Method::POST, &reactivate).body(json!({}))).await.is_success());
    assert_eq!(scene.joins(&letter.token()).await.status, 201);
    let id = text(&by_platform, "/invitationId");
    let over = scene.admin(Ask::new(Method::DELETE, &format!("{path}/{id}"))).await;
    assert_eq!(words(&over), "409 conflict not_pending", "whoever joined is no invitation any more");
}

/// `events.md`: a grant guards the grantor's membership.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_behind_the_demotion_of_whoever_invited_them() {
    const ROUNDS: usize = 6;
    let (scene, post) = shared().await;
    let boss = scene.person("Boss").await;
    let firm = Firm::of(&scene, &boss).await;
    let lead = scene.sign_in(&boss.email).await.access;
    let (_, member, admin) = admin_of(&firm, &lead).await;
    let path = format!("members/{member}");
    let at = |answer: &Answer| -> u64 {
        let position = answer.position.as_deref().and_then(|text| text.rsplit('.').next()?.parse().ok());
        position.unwrap_or_else(|| panic!("{answer}"))
    };
    for round in 0..ROUNDS {
        let ada = scene.person("Ada").await;
        let (_, token) = firm.invited(&post, &admin, with_bills(&ada.email)).await;
        let hers = scene.sign_in(&ada.email).await.access;
        let demoting = firm.asks(&lead, Method::PATCH, &path, Some(json!({ "tenantRole": "MANAGER" })));
        let (joined, demoted) = tokio::join!(scene.accept(Some(&hers), json!({ "token": token })), demoting);
        assert!(demoted.is_success(), "round {round}: {demoted}");
        match joined.status {
            201 => assert!(at(&joined) < at(&demoted), "round {round}: {joined}, {demoted}"),
            _ => assert_eq!(words(&joined), VOID, "round {round}"),
        }
        let raised = firm.asks(&lead, Method::PATCH, &path, Some(json!({ "tenantRole": "ADMIN" }))).await;
        assert!(raised.is_success(), "round {round}: {raised}");
    }
}
