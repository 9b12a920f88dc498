//! Commands: statuses, idempotency keys, positions, and the limit on guessing (contract, *HTTP*).

use super::{Everywhere, header, json, sent};
use kisum_tests::{
    counted::new_uuid,
    demo::{Signed, texts, words},
};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::json as object;

/// Somebody who administers a company, and one of its members.
struct Company {
    everywhere: Everywhere,
    superadmin: Signed,
    id: String,
    member: String,
}

impl Company {
    async fn of(slug: &str) -> Self {
        let everywhere = Everywhere::start().await;
        let superadmin = everywhere.demo.sign_in(&format!("superadmin@{slug}.example")).await;
        let user = everywhere.demo.sign_in(&format!("user@{slug}.example")).await;
        let access = everywhere.demo.access(&user.access, slug).await;
        let text = |pointer: &str| access.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
        let (id, member) = (text("/companyId"), text("/membershipId"));
        Self { everywhere, superadmin, id, member }
    }

    fn member(&self, method: Method, what: &str) -> RequestBuilder {
        let base = &self.everywhere.demo.platform.addresses().auth;
        let url = format!("{base}/companies/{}/members/{}/{what}", self.id, self.member);
        self.everywhere.http.request(method, url).bearer_auth(&self.superadmin.access).header("x-org", &self.id)
    }

    fn bill(&self, key: &str, number: &str) -> RequestBuilder {
        let url = format!("{}/api/bills", self.everywhere.demo.platform.addresses().finance);
        let body = object!({ "number": number, "amountCents": 100, "currency": "EUR" });
        let request = self.everywhere.http.post(url).bearer_auth(&self.superadmin.access).header("x-org", &self.id);
        request.header("idempotency-key", key).json(&body)
    }
}

fn position(answer: &Response) -> String {
    header(answer, "x-access-position").to_owned()
}

async fn refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let error = json(answer).await["error"].clone();
    let words = [&error["code"], &error["reason"]].map(|word| word.as_str().unwrap_or_default().to_owned());
    (status, words.join(" ").trim_end().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_its_status_and_the_position_from_which_it_can_be_read() {
    let company = Company::of("echo-venues").await;
    let granted = sent(company.member(Method::PUT, "modules/venue")).await;
    let at = position(&granted);
    assert_eq!(granted.status().as_u16(), 200);
    let parts: Vec<_> = at.split('.').collect();
    assert!(matches!(parts[..], ["auth", "1", position] if position.parse::<u64>().is_ok()), "{at}");

    let demo = &company.everywhere.demo;
    let user = demo.sign_in("user@echo-venues.example").await;
    let ask = |position: &str| {
        let url = format!("{}/auth/me/access", demo.platform.addresses().auth);
        let request = company.everywhere.http.get(url).bearer_auth(&user.access).header("x-org", "echo-venues");
        request.header("x-access-position", position.to_owned())
    };
    let read = json(sent(ask(&at)).await).await;
    assert!(read["data"]["meta"]["accessVersion"].as_u64() >= parts[2].parse().ok(), "{read}");
    assert!(read["data"]["modules"].to_string().contains("venue"), "one's own write is read: {read}");
    for nonsense in ["", "auth", "auth.1", "market.1.1", "auth.1.-1", "auth.1.99999999"] {
        assert_eq!(refusal(sent(ask(nonsense)).await).await, (400, "validation_error".to_owned()), "{nonsense:?}");
    }

    let revoked = sent(company.member(Method::DELETE, "modules/venue")).await;
    assert_eq!(revoked.status().as_u16(), 204);
    assert!(!position(&revoked).is_empty() && position(&revoked) != at);
    let after = demo.access(&user.access, "echo-venues").await;
    assert!(!texts(&after, "/modules").contains(&"venue".to_owned()), "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_under_one_key_is_carried_out_once_and_its_receipt_is_kept() {
    let company = Company::of("echo-venues").await;
    let key = new_uuid().to_string();
    let grant = || company.member(Method::PUT, "permissions/ai.predictions.read").header("idempotency-key", &key);
    let first = sent(grant()).await;
    assert_eq!(first.status().as_u16(), 200);
    let revoked = sent(company.member(Method::DELETE, "permissions/ai.predictions.read")).await;
    assert_eq!(revoked.status().as_u16(), 204);
    // Were it decided again, it would grant what was taken back meanwhile.
    let again = sent(grant()).await;
    assert_eq!((again.status().as_u16(), position(&again)), (200, position(&first)));
    let member = json(again).await;
    assert!(!member["data"]["permissions"].to_string().contains("ai.predictions.read"), "{member}");

    let bad = sent(company.member(Method::PUT, "modules/ai").header("idempotency-key", "again")).await;
    assert_eq!(refusal(bad).await, (400, "validation_error".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_under_one_key_is_entered_once_for_one_person_and_another_body_is_a_conflict() {
    let company = Company::of("bright-books").await;
    let key = new_uuid().to_string();
    let first = sent(company.bill(&key, "K-1")).await;
    assert_eq!(first.status().as_u16(), 201);
    let id = json(first).await["data"]["id"].clone();
    let again = sent(company.bill(&key, "K-1")).await;
    assert_eq!((again.status().as_u16(), json(again).await["data"]["id"].clone()), (201, id.clone()));
    let other = sent(company.bill(&key, "K-2")).await;
    assert_eq!(refusal(other).await, (409, "conflict idempotency_key_reused".to_owned()));
    let bad = sent(company.bill("not-a-uuid", "K-1")).await;
    assert_eq!(refusal(bad).await, (400, "validation_error".to_owned()));

    let admin = company.everywhere.demo.sign_in("admin@bright-books.example").await;
    let theirs = Company { superadmin: admin, ..company };
    let theirs = sent(theirs.bill(&key, "K-1")).await;
    assert_eq!(theirs.status().as_u16(), 201);
    assert_ne!(json(theirs).await["data"]["id"], id, "a key is one person's own");
}

/// security 4
#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_passwords_is_told_to_wait_and_for_how_long() {
    let everywhere = Everywhere::start().await;
    let demo = &everywhere.demo;
    let url = format!("{}/auth/login", demo.platform.addresses().auth);
    let guess = |email: &'static str| {
        let body = object!({ "email": email, "password": "certainly not this one" });
        sent(everywhere.http.post(&url).json(&body))
    };
    for email in ["manager@dormant.example", "nobody@dormant.example"] {
        for attempt in 1..=20 {
            let answer = guess(email).await;
            assert_eq!(refusal(answer).await, (401, "unauthorized".to_owned()), "attempt {attempt} for {email}");
        }
        let limited = guess(email).await;
        let seconds: u64 = header(&limited, "retry-after").parse().unwrap_or(0);
        assert!((1..=15 * 60).contains(&seconds), "{seconds} s");
        assert_eq!(refusal(limited).await, (429, "rate_limited".to_owned()), "{email}");
    }
    // Another account is not the one that was guessed at.
    let other = demo.sign_in("manager@core-club.example").await;
    assert_eq!(words(&demo.access(&other.access, "core-club").await), "200");
}
