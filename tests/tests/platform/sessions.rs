//! Signing in, refreshing, ending: through HTTP.

use kisum::platform::Ask;
use kisum_tests::demo::{self, words};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeSet;

const USER: &str = "user@core-club.example";

fn refresh(token: &str) -> Ask<'static> {
    Ask::new(Method::POST, "/auth/refresh").body(json!({ "refreshToken": token }))
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_parallel_refreshes_of_one_token_yield_one_successor() {
    let demo = demo::shared().await;
    let person = demo.sign_in(USER).await;
    let refreshed = async || loop {
        let answer = demo.auth(None, refresh(&person.refresh)).await;
        // A busy machine may say "not now"; whoever asks again gets what everybody gets.
        if answer.status != 503 {
            return answer;
        }
    };
    let answers = futures_util::future::join_all((0..50).map(|_| refreshed())).await;
    let successors: BTreeSet<_> =
        answers.iter().map(|answer| answer.text("/refreshToken").unwrap_or_else(|error| panic!("{error:#}"))).collect();
    assert_eq!(successors.len(), 1, "everybody gets the same successor");
    let next = demo.auth(None, refresh(successors.first().map_or("", String::as_str))).await;
    assert!(next.is_success(), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_refresh_token_is_refused_and_ends_nothing() {
    let demo = demo::shared().await;
    let person = demo.sign_in(USER).await;
    let mut parts = person.refresh.split('.');
    let sid = parts.next().unwrap_or_default();
    for forged in [
        format!("{sid}.0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        format!("{sid}.7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        format!("{sid}.x.y"),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let answer = demo.auth(None, refresh(&forged)).await;
        assert!(matches!(answer.status, 400 | 401), "{forged}: {answer}");
    }
    let good = demo.auth(None, refresh(&person.refresh)).await;
    assert!(good.is_success(), "{good}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_through_several_rotations() {
    let demo = demo::shared().await;
    let person = demo.sign_in(USER).await;
    let mut token = person.refresh;
    for _ in 0..3 {
        let answer = demo.auth(None, refresh(&token)).await;
        token = answer.text("/refreshToken").unwrap_or_else(|error| panic!("{error:#}"));
    }
    let me = demo.auth(Some(&person.access), Ask::get("/auth/me")).await;
    assert!(me.is_success(), "{me}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_the_session_everywhere() {
    let demo = demo::shared().await;
    let person = demo.sign_in(USER).await;
    let out = demo.auth(Some(&person.access), Ask::new(Method::POST, "/auth/logout").body(json!({}))).await;
    assert_eq!(out.status, 204, "{out}");
    assert_eq!(words(&demo.auth(Some(&person.access), Ask::get("/auth/me")).await), "401 session_revoked");
    let again = demo.auth(None, refresh(&person.refresh)).await;
    assert_eq!(again.status, 401, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_known_addresses_are_refused_alike() {
    let demo = demo::shared().await;
    let demo = &demo;
    let login = |email: &'static str| async move {
        let body = json!({ "email": email, "password": "this is not the password" });
        let answer = demo.auth(None, Ask::new(Method::POST, "/auth/login").body(body)).await;
        (answer.status, answer.body)
    };
    let (known, unknown) = (login(USER).await, login("nobody@nowhere.example").await);
    assert_eq!(known, unknown);
    assert_eq!(known.0, 401);
}

/// security 7, 27
#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_of_a_browser_needs_an_origin_and_never_stands_in_a_body() {
    let demo = demo::shared().await;
    let http = reqwest::Client::new();
    let addresses = demo.platform.addresses();
    let body = json!({ "email": USER, "password": addresses.demo_password });
    let login = http.post(format!("{}/auth/login", addresses.auth)).json(&body).send().await;
    let login = login.unwrap_or_else(|error| panic!("{error}"));
    let cookie = login.headers().get("set-cookie").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    for part in ["__Host-kisum_refresh=", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let text = login.text().await.unwrap_or_default();
    assert!(!text.contains("refreshToken"), "{text}");
    let pair = cookie.split(';').next().unwrap_or_default().to_owned();
    let send = |origin: Option<&'static str>, body: &'static str| {
        let request = http.post(format!("{}/auth/refresh", addresses.auth)).header("cookie", pair.clone());
        let request = request.header("content-type", "application/json").body(body);
        let request = if let Some(origin) = origin { request.header("origin", origin) } else { request };
        async move {
            let answer = request.send().await.unwrap_or_else(|error| panic!("{error}"));
            (answer.status().as_u16(), answer.text().await.unwrap_or_default())
        }
    };
    for origin in [None, Some("https://evil.example")] {
        let (status, body) = send(origin, "{}").await;
        assert!(status == 403 && body.contains("bad_origin"), "{status} {body}");
    }
    let (status, body) = send(Some("http://localhost:3000"), r#"{"refreshToken":"x.1.y"}"#).await;
    assert_eq!(status, 400, "{body}");
    let (status, body) = send(Some("http://localhost:3000"), "{}").await;
    assert!(status == 200 && !body.contains("refreshToken"), "{status} {body}");
}
