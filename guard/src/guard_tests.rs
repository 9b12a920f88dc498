//! The whole guard against an Auth that says what the test wants, over real HTTP and without a bus: logs and heads go
//! over HTTP then, which is the slower way and must be as right.

use super::{Guard, GuardConfig};
use crate::{
    clock::Clock,
    issuer::{AUDIENCE, ISSUER, KID, claims, header, issuer, with},
    permit::Permit,
    problem::Problem,
    samples::{
        as_of, company, context, entitlement_changed, envelope, head, permission_revoked, session, session_ended,
        subject, user, wall,
    },
    service_token::{ServiceSigner, ServiceTrust, tests::ed25519_pem},
};
use axum::{
    Json, Router,
    body::to_bytes,
    extract::{FromRef, Path, Query, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION};
use jsonwebtoken::Algorithm;
use kisum_events::{AccessAnswer, AccessOutcome, AccessSubject, Envelope, Head, Heads, Log, Position, StreamName};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tower::ServiceExt;

crate::permissions! {
    ReadBills = "finance.bills.read";
    CreateBills = "finance.bills.create";
    ReadContracts = "market.contracts.read";
    ReadVenues = "venue.availability.read";
}

/// What the scripted Auth says.
#[derive(Default)]
struct Script {
    log: Vec<Envelope>,
    core: Vec<Envelope>,
    /// Outcomes other than "active member with `finance.bills.read`", by person.
    outcomes: HashMap<u128, AccessOutcome>,
    /// People whose permission was taken.
    without: Vec<u128>,
    /// How often a context was asked for.
    asked: u32,
    /// Answers are computed from before this many events of the core log.
    core_lag: u64,
    /// The epochs that heads tell of, and those that everything else is answered from, after the first.
    heads_later: u32,
    later: u32,
    /// Keys that were removed before the guard starts.
    removed_keys: Vec<&'static str>,
    is_down: bool,
}

impl Script {
    fn position(events: &[Envelope]) -> Position {
        100 + events.len() as u64
    }

    fn answer(&self, user_n: u128) -> AccessAnswer {
        let outcome = self.outcomes.get(&user_n).copied().unwrap_or(AccessOutcome::Active);
        let permissions: &[&str] = if self.without.contains(&user_n) { &[] } else { &["finance.bills.read"] };
        let is_active = outcome == AccessOutcome::Active;
        let mut as_of = as_of(Self::position(&self.log), Self::position(&self.core) - self.core_lag);
        as_of.auth.epoch += self.later;
        as_of.core.epoch += self.later;
        AccessAnswer {
            outcome,
            context: is_active.then(|| context(user_n, 1, user_n, permissions)),
            access_version: 1,
            entitlement_version: 1,
            as_of,
            subject: AccessSubject { user_id: user(user_n), ..subject(user_n, 1, is_active.then_some(user_n)) },
        }
    }
}

#[derive(Clone)]
struct Auth {
    script: Arc<Mutex<Script>>,
    trust: ServiceTrust,
}

impl Auth {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happens in the auth log.
    fn happens(&self, event: fn(Position, Position, u128) -> Envelope, user_n: u128) {
        let mut script = self.script();
        let last = Script::position(&script.log);
        script.log.push(event(last + 1, last, user_n));
    }

    fn success(data: &Value) -> Response {
        Json(json!({ "success": true, "data": data })).into_response()
    }

    async fn answer(State(auth): State<Self>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let bearer = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Err(problem) = auth.trust.verify(bearer, parts.method.as_str(), parts.uri.path(), wall()) {
            return problem.into_response();
        }
        let body = to_bytes(body, 10_000).await.unwrap();
        let mut script = auth.script();
        if script.is_down {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        let epoch = 1 + script.heads_later;
        let head = |events: &[Envelope]| Some(Head { epoch, ..head(Script::position(events)) });
        match parts.uri.path() {
            "/internal/v1/heads" => Self::success(&json!(Heads { auth: head(&script.log), core: head(&script.core) })),
            "/internal/v1/revocations" => Self::success(
                &json!({ "epoch": 1 + script.later, "position": 100, "sessions": [{ "sid": session(66), "until": wall() }],
                    "removedKeys": script.removed_keys }),
            ),
            _ => {
                script.asked += 1;
                let question: Value = serde_json::from_slice(&body).unwrap();
                let claims = question["userToken"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
                let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims);
                let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
                let user_n = (1..100).find(|n| claims["sub"] == json!(user(*n))).unwrap();
                Self::success(&json!(script.answer(user_n)))
            }
        }
    }

    async fn log(
        State(auth): State<Self>,
        Path(log): Path<Log>,
        Query(page): Query<HashMap<String, String>>,
    ) -> Response {
        let script = auth.script();
        if script.is_down {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        assert_eq!(page["class"], "access");
        let after: Position = page["after"].parse().unwrap();
        let events = if log == Log::Auth { &script.log } else { &script.core };
        let events: Vec<&Envelope> = events.iter().filter(|event| event.position > after).collect();
        Self::success(&json!({ "epoch": 1 + script.later, "events": events }))
    }

    async fn serve(self) -> String {
        let router = Router::new()
            .route("/internal/v1/heads", get(Self::answer))
            .route("/internal/v1/revocations", get(Self::answer))
            .route("/internal/v1/access-context", post(Self::answer))
            .route("/internal/v1/log/{log}", get(Self::log))
            .route("/.well-known/jwks.json", get(|| async { issuer().jwks().to_string() }))
            .with_state(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

/// A guard that is proven, the Auth it asks, and the clock of both.
async fn guarded() -> (Guard, Auth, Clock) {
    let signer = ServiceSigner::new("test", "finance", &ed25519_pem()).unwrap();
    let trust = json!({ "services": { "finance": {
        "keys": [{ "kid": "finance-1", "x": signer.public_key() }],
        "routes": ["GET /internal/v1/*", "POST /internal/v1/access-context"],
    } } });
    let auth =
        Auth { script: Arc::default(), trust: ServiceTrust::from_json("test", "auth", &trust.to_string()).unwrap() };
    let url = auth.clone().serve().await;
    // Bound and dropped: no bus listens there.
    let no_bus = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = GuardConfig {
        service: "finance".to_owned(),
        environment: "test".to_owned(),
        auth_url: url.clone(),
        auth_internal_url: url,
        nats_url: format!("nats://{no_bus}"),
        signer,
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        fetch_timeout: Duration::from_secs(2),
        contexts_max: 100,
    };
    let clock = Clock::manual(wall());
    let guard = Guard::start(config, clock.clone()).await.unwrap();
    until(&clock, || async { guard.ready().auth_lease && guard.ready().core_lease && guard.ready().jwks }).await;
    (guard, auth, clock)
}

/// Waits for a condition, for ten seconds at most; the guard's clock goes on meanwhile.
async fn until<F: Future<Output = bool>>(clock: &Clock, condition: impl Fn() -> F) {
    const STEP: Duration = Duration::from_millis(5);
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(STEP).await;
            clock.advance(STEP);
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), waiting).await.is_ok(), "waited in vain");
}

fn headers(token: &str, org: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    if !org.is_empty() {
        headers.insert("x-org", HeaderValue::from_str(org).unwrap());
    }
    headers
}

/// Person `user_n` asks to read bills of company 1.
async fn reads(guard: &Guard, user_n: u128) -> Result<(), Problem> {
    guard.permit(&headers(&issuer().token(user_n), "acme-live"), "finance.bills.read").await.map(drop)
}

async fn refused(guard: &Guard, user_n: u128) -> (u16, &'static str) {
    let problem = reads(guard, user_n).await.unwrap_err();
    (problem.status.as_u16(), problem.reason.unwrap_or(problem.code))
}

#[tokio::test]
async fn a_member_is_let_in_from_memory_until_an_event_says_otherwise() {
    let (guard, auth, clock) = guarded().await;
    for _ in 0..3 {
        reads(&guard, 1).await.unwrap();
        reads(&guard, 2).await.unwrap();
    }
    assert_eq!(auth.script().asked, 2);

    auth.script().without.push(1);
    auth.happens(|at, previous, n| permission_revoked(at, previous, n, 1), 1);
    until(&clock, || async { reads(&guard, 1).await.is_err() }).await;
    assert_eq!(refused(&guard, 1).await, (403, "missing_permission"));
    reads(&guard, 2).await.unwrap();
    assert_eq!(auth.script().asked, 3);

    auth.happens(session_ended, 2);
    until(&clock, || async { reads(&guard, 2).await.is_err() }).await;
    assert_eq!(refused(&guard, 2).await, (401, "session_revoked"));
}

#[tokio::test]
async fn an_entitlement_change_reaches_the_guard_by_the_other_log() {
    let (guard, auth, clock) = guarded().await;
    reads(&guard, 1).await.unwrap();
    auth.script().without.push(1);
    let event = entitlement_changed(101, 100, 1);
    auth.script().core.push(event);
    until(&clock, || async { reads(&guard, 1).await.is_err() }).await;
}

#[tokio::test]
async fn in_a_new_epoch_nothing_known_before_counts_and_nobody_of_the_old_one_is_believed() {
    let (guard, auth, clock) = guarded().await;
    reads(&guard, 1).await.unwrap();
    // The new history never gave the permission, and no event of it says so.
    auth.script().without.push(1);
    auth.script().heads_later = 1;
    until(&clock, || async { reads(&guard, 1).await.is_err() }).await;
    for _ in 0..20 {
        assert_eq!(refused(&guard, 1).await.0, 503, "an answer of the epoch that is over proves nothing");
    }
    auth.script().later = 1;
    until(&clock, || async { refused(&guard, 1).await == (403, "missing_permission") }).await;
    reads(&guard, 2).await.unwrap();
}

fn key_removed(position: Position, previous: Position, _: u128) -> Envelope {
    let event = ("key.removed", None, json!({ "kid": KID }));
    envelope(Log::Auth, position, previous, &StreamName::keyring(), event)
}

/// security 11
#[tokio::test]
async fn a_removed_key_s_tokens_are_refused_although_the_key_set_still_has_it() {
    let (guard, auth, clock) = guarded().await;
    reads(&guard, 1).await.unwrap();
    let answered = auth.script().asked;
    auth.happens(key_removed, 0);
    until(&clock, || async { reads(&guard, 1).await.is_err() }).await;
    for user_n in [1, 2] {
        assert_eq!(refused(&guard, user_n).await, (401, "unauthorized"));
    }
    assert!(!guard.ready().jwks, "no good key is held");
    assert_eq!(auth.script().asked, answered, "nobody's access was asked for anew");
}

/// security 11
#[tokio::test]
async fn a_guard_that_starts_behind_a_removal_is_told_of_it_before_it_decides() {
    let (guard, auth, clock) = guarded().await;
    reads(&guard, 1).await.unwrap();
    // A new epoch: everything begins again, with the removal in the part that is not told.
    auth.script().removed_keys = vec![KID];
    auth.script().heads_later = 1;
    auth.script().later = 1;
    let is_refused = async || reads(&guard, 1).await.is_err_and(|problem| problem.status == StatusCode::UNAUTHORIZED);
    until(&clock, is_refused).await;
}

#[tokio::test]
async fn refusals_come_in_the_contract_s_order() {
    let (guard, auth, _) = guarded().await;
    let outcome = |n: u128, outcome| auth.script().outcomes.insert(n, outcome);
    outcome(2, AccessOutcome::NotAMember);
    outcome(3, AccessOutcome::Suspended);
    outcome(4, AccessOutcome::CompanyNotActive);
    outcome(5, AccessOutcome::SessionRevoked);
    assert_eq!(refused(&guard, 2).await, (403, "not_a_member"));
    assert_eq!(refused(&guard, 3).await, (403, "suspended"));
    assert_eq!(refused(&guard, 4).await, (403, "company_not_active"));
    assert_eq!(refused(&guard, 5).await, (401, "session_revoked"));

    let token = issuer().token(1);
    let refusal = async |headers: HeaderMap, permission: &'static str| {
        let problem = guard.permit(&headers, permission).await.unwrap_err();
        (problem.status.as_u16(), problem.reason.unwrap_or(problem.code))
    };
    let good = headers(&token, "acme-live");
    assert_eq!(refusal(good.clone(), "venue.availability.read").await, (403, "module_not_owned"));
    assert_eq!(refusal(good.clone(), "market.contracts.read").await, (403, "module_not_granted"));
    assert_eq!(refusal(good.clone(), "finance.bills.create").await, (403, "missing_permission"));
    assert_eq!(refusal(good, "not a permission").await, (500, "internal_error"));

    // A bad token hides everything behind it; an ended session hides a bad x-org.
    let expired = issuer().sign(&header(), &with(claims(1), json!({ "exp": 1 })), Algorithm::PS256);
    assert_eq!(refusal(headers(&expired, ""), "finance.bills.read").await, (401, "unauthorized"));
    assert_eq!(refusal(headers(&issuer().token(66), ""), "finance.bills.read").await, (401, "session_revoked"));
    assert_eq!(refusal(headers(&token, ""), "finance.bills.read").await, (400, "validation_error"));
    assert_eq!(refusal(headers(&token, "Acme"), "finance.bills.read").await, (400, "validation_error"));
    assert_eq!(refusal(HeaderMap::new(), "finance.bills.read").await, (401, "unauthorized"));
}

#[tokio::test]
async fn without_auth_known_people_are_let_in_until_the_lease_ends_then_nobody_is_judged() {
    let (guard, auth, clock) = guarded().await;
    reads(&guard, 1).await.unwrap();
    auth.script().is_down = true;
    reads(&guard, 1).await.unwrap();
    assert_eq!(refused(&guard, 2).await, (503, "service_unavailable"));
    clock.advance(Duration::from_secs(5));
    let problem = reads(&guard, 1).await.unwrap_err();
    assert_eq!((problem.status, problem.retry_after), (StatusCode::SERVICE_UNAVAILABLE, Some(1)));
    assert!(!guard.ready().is_ready());

    auth.script().is_down = false;
    until(&clock, || async { reads(&guard, 1).await.is_ok() }).await;
}

#[tokio::test]
async fn an_answer_from_before_what_is_applied_is_no_answer() {
    let (guard, auth, _) = guarded().await;
    auth.script().core_lag = 1;
    assert_eq!(refused(&guard, 1).await, (503, "service_unavailable"));
}

#[tokio::test]
async fn an_answer_about_another_company_is_no_answer() {
    let (guard, _auth, _) = guarded().await;
    let elsewhere = headers(&issuer().token(1), &company(2).to_string());
    let problem = guard.authorize(&elsewhere).await.unwrap_err();
    assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
    let here = headers(&issuer().token(1), &company(1).to_string());
    assert_eq!(guard.authorize(&here).await.unwrap().company_id(), company(1));
}

#[tokio::test]
async fn a_crowd_asks_once() {
    let (guard, auth, _) = guarded().await;
    let token = issuer().token(1);
    // Checked once before, so that the crowd arrives at the same step.
    guard.authenticate(&headers(&token, "")).await.unwrap();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (guard, headers) = (guard.clone(), headers(&token, "acme-live"));
        crowd.spawn(async move { guard.authorize(&headers).await.is_ok() });
    }
    assert!(crowd.join_all().await.into_iter().all(|let_in| let_in));
    assert_eq!(auth.script().asked, 1);
}

#[derive(Clone)]
struct Service {
    guard: Guard,
}

impl FromRef<Service> for Guard {
    fn from_ref(service: &Service) -> Self {
        service.guard.clone()
    }
}

#[tokio::test]
async fn a_route_with_a_permit_is_closed_without_one() {
    let (guard, _auth, _) = guarded().await;
    let router = Router::new()
        .route("/read", get(|permit: Permit<ReadBills>| async move { permit.company_id().to_string() }))
        .route("/create", post(|_: Permit<CreateBills>| async {}))
        .route("/contracts", get(|_: Permit<ReadContracts>| async {}))
        .route("/venues", get(|_: Permit<ReadVenues>| async {}))
        .with_state(Service { guard });
    let call = async |method: &str, path: &str| {
        let mut request = Request::builder().method(method).uri(path).body(axum::body::Body::empty()).unwrap();
        *request.headers_mut() = headers(&issuer().token(1), "acme-live");
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, String::from_utf8(to_bytes(response.into_body(), 10_000).await.unwrap().to_vec()).unwrap())
    };
    assert_eq!(call("GET", "/read").await, (200, company(1).to_string()));
    let (status, body) = call("POST", "/create").await;
    assert_eq!(status, 403);
    assert!(body.contains("missing_permission") && body.contains("finance.bills.create"), "{body}");
    assert!(call("GET", "/contracts").await.1.contains("module_not_granted"));
    assert!(call("GET", "/venues").await.1.contains("module_not_owned"));
    assert_eq!(PERMISSIONS.len(), 4);
}
