//! Two companies: whoever belongs to one neither reads nor writes the other's data, on any operation that there is
//! (`security.md` 23). What is asked follows from the documents, so that a new operation is asked too.

use super::{
    Everywhere, decided, json, operations, sample, sent, table::LISTENERS, table::Listener, table::Sender,
    untouched::written,
};
use reqwest::RequestBuilder;
use serde_json::Value;
use std::collections::BTreeSet;

/// Operations of persons that are of no company: what they show and change is the caller's own. Here it is said that
/// somebody has thought about each.
const OWN: [(&str, &str); 16] = [
    ("GET", "/auth/me"),
    ("GET", "/auth/me/companies"),
    ("GET", "/auth/sessions"),
    ("POST", "/auth/password/change"),
    ("DELETE", "/auth/sessions/{id}"),
    ("POST", "/auth/logout-all"),
    ("GET", "/auth/factors"),
    ("POST", "/auth/factors"),
    ("DELETE", "/auth/factors/{id}"),
    ("POST", "/auth/factors/totp"),
    ("POST", "/auth/recovery-codes"),
    ("POST", "/auth/passkeys/register/options"),
    ("POST", "/auth/passkeys/register/finish"),
    ("POST", "/auth/step-up"),
    ("POST", "/auth/step-up/options"),
    // Whoever registers a company is its superadmin.
    ("POST", "/companies"),
];

/// A company of the demo that no test of this module writes in, and what belongs to it.
struct Company {
    slug: &'static str,
    id: String,
    /// A member's membership.
    member: String,
    /// A member's session.
    session: String,
}

impl Company {
    async fn of(everywhere: &Everywhere, slug: &'static str) -> Self {
        let user = everywhere.demo.sign_in(&format!("user@{slug}.example")).await;
        let access = everywhere.demo.access(&user.access, slug).await;
        let text = |pointer: &str| access.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
        let session = user.refresh.split('.').next().unwrap_or_default().to_owned();
        Self { slug, id: text("/companyId"), member: text("/membershipId"), session }
    }

    /// A path with this company's objects, but for the company itself.
    fn objects(&self, path: &str, company: &str) -> String {
        let fill = |part: &str| match part {
            "{company}" => company.to_owned(),
            "{member}" | "{membership}" => self.member.clone(),
            "{id}" if path.starts_with("/internal/v1/companies/") => company.to_owned(),
            "{id}" if path.contains("/sessions/") => self.session.clone(),
            // Nobody of the demo has one; their own tests show that another's is not found.
            "{id}" if path.contains("/factors/") => self.session.clone(),
            "{invitation}" | "{roleId}" | "{delegation}" => self.session.clone(),
            "{module}" | "{addon}" => "finance".to_owned(),
            "{permission}" => "finance.bills.read".to_owned(),
            "{role}" => "MANAGER".to_owned(),
            "{slug}" => self.slug.to_owned(),
            "{log}" => "auth".to_owned(),
            part if part.starts_with('{') => panic!("{path}: say here what {part} of a company is"),
            part => part.to_owned(),
        };
        path.split('/').map(fill).collect::<Vec<_>>().join("/")
    }
}

/// Whether a path names something that belongs to a company, beside the company itself and what the catalog holds.
fn names_an_object(path: &str) -> bool {
    let known = ["{company}", "{id}", "{module}", "{addon}", "{permission}", "{role}", "{slug}", "{log}"];
    path.split('/').any(|part| part.starts_with('{') && !known.contains(&part))
}

/// A request with a body of the documented shape, where the operation takes one.
fn with_body(request: RequestBuilder, document: &Value, operation: &Value) -> RequestBuilder {
    match sample::body_schema(document, operation) {
        Some(schema) => request.json(&sample::value(document, schema)),
        None => request,
    }
}

/// Status, code and reason, once it is known that nothing of the other company is told.
async fn refusal(request: RequestBuilder, theirs: &Company, what: &str) -> String {
    let answer = decided(request).await;
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!text.contains(&format!("@{}.example", theirs.slug)) && !text.contains(&theirs.member), "{what}: {text}");
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let words = [&body["error"]["code"], &body["error"]["reason"]].map(|word| word.as_str().unwrap_or_default());
    format!("{status} {}", words.join(" ")).trim_end().to_owned()
}

fn takes_a_company(operation: &Value) -> bool {
    operation["parameters"].as_array().into_iter().flatten().any(|it| it["name"] == "x-org")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_or_writes_in_a_company_that_is_not_theirs() {
    let everywhere = Everywhere::start().await;
    let (ours, theirs) = (Company::of(&everywhere, "acme-live").await, Company::of(&everywhere, "core-club").await);
    let before = written(&everywhere).await;
    let mut own = BTreeSet::new();
    for email in ["superadmin@acme-live.example", "manager@acme-live.example", "user@acme-live.example"] {
        let token = everywhere.demo.sign_in(email).await.access;
        for listener in &LISTENERS {
            let document = everywhere.document(listener).await;
            let documented = operations(&document);
            for (_, method, path) in listener.operations().filter(|(sender, ..)| *sender == Sender::Person) {
                let operation = documented[&(path.to_owned(), method.to_owned())];
                let asker = Asker { everywhere: &everywhere, listener, token: &token, document: &document, operation };
                if takes_a_company(operation) {
                    asker.across(email, (method, path), (&ours, &theirs)).await;
                } else {
                    own.insert((method, path));
                }
            }
        }
    }
    assert_eq!(own, BTreeSet::from(OWN), "say whose data an operation without x-org touches");
    assert_eq!(written(&everywhere).await, before, "nothing was written");
}

/// Somebody who sends one operation in every way that could reach another company.
struct Asker<'a> {
    everywhere: &'a Everywhere,
    listener: &'a Listener,
    token: &'a str,
    document: &'a Value,
    operation: &'a Value,
}

impl Asker<'_> {
    fn ask(&self, method: &str, path: &str, org: &str) -> RequestBuilder {
        let request = self.everywhere.ask(self.listener, method, path).bearer_auth(self.token).header("x-org", org);
        with_body(request, self.document, self.operation)
    }

    async fn across(&self, email: &str, (method, path): (&str, &str), (ours, theirs): (&Company, &Company)) {
        const STRANGER: &str = "403 forbidden not_a_member";
        const MISMATCH: &str = "400 validation_error";
        let in_path = path.contains("{company}");
        let mut ways = vec![
            ("theirs by id", &theirs.id, theirs.id.as_str(), STRANGER),
            ("theirs by slug", &theirs.id, theirs.slug, STRANGER),
        ];
        if in_path {
            ways.extend([
                ("theirs under our id", &theirs.id, ours.id.as_str(), MISMATCH),
                ("theirs under our slug", &theirs.id, ours.slug, MISMATCH),
                ("ours under their id", &ours.id, theirs.id.as_str(), MISMATCH),
                ("ours under their slug", &ours.id, theirs.slug, STRANGER),
            ]);
        }
        for (way, company, org, wanted) in ways {
            let what = format!("{email}: {method} {path}, {way}");
            let request = self.ask(method, &theirs.objects(path, company), org);
            assert_eq!(refusal(request, theirs, &what).await, wanted, "{what}");
        }
        if in_path && names_an_object(path) {
            let what = format!("{email}: {method} {path}, their object under our own company");
            for org in [ours.id.as_str(), ours.slug] {
                let said = refusal(self.ask(method, &theirs.objects(path, &ours.id), org), theirs, &what).await;
                // Who may not do it to anybody may hear so first; who may, hears of nothing that is not theirs.
                let is_hidden = said == "404 not_found";
                let is_low = !email.starts_with("superadmin") && said.starts_with("403 forbidden");
                assert!(is_hidden || is_low, "{what}: {said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_one_s_own_shows_and_ends_nothing_of_somebody_else_s() {
    let everywhere = Everywhere::start().await;
    let theirs = Company::of(&everywhere, "core-club").await;
    let token = everywhere.demo.sign_in("superadmin@acme-live.example").await.access;
    // What names nothing cannot reach somebody else's; whom it changes its own tests show.
    for (method, path) in OWN.into_iter().filter(|(method, path)| *method == "GET" || path.contains('{')) {
        let at = theirs.objects(path, &theirs.id);
        // A header that selects a company selects none here.
        let request = everywhere.ask(&LISTENERS[0], method, &at).bearer_auth(&token).header("x-org", theirs.slug);
        let answer = decided(request).await;
        let expected = if method == "GET" { 200 } else { 404 };
        assert_eq!(answer.status().as_u16(), expected, "{method} {path}");
        let text = answer.text().await.unwrap_or_default();
        for secret in [theirs.slug, &theirs.id, &theirs.member, &theirs.session] {
            assert!(!text.contains(secret), "{method} {path} tells {secret}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_names_a_company_and_what_is_another_s_finds_nothing() {
    let everywhere = Everywhere::start().await;
    let (ours, theirs) = (Company::of(&everywhere, "acme-live").await, Company::of(&everywhere, "core-club").await);
    let before = written(&everywhere).await;
    let mut asked = 0;
    for listener in LISTENERS.iter().filter(|listener| listener.is_internal) {
        let document = everywhere.document(listener).await;
        let documented = operations(&document);
        for (_, method, path) in listener.operations().filter(|(sender, ..)| *sender == Sender::Service) {
            if !(path.contains("/companies/{id}/") && names_an_object(path)) {
                continue;
            }
            let at = theirs.objects(path, &ours.id);
            let token = everywhere.service_token(listener, method, &at);
            let request = everywhere.ask(listener, method, &at).bearer_auth(token);
            let request = with_body(request, &document, documented[&(path.to_owned(), method.to_owned())]);
            let answer = sent(request).await;
            assert_eq!(answer.status().as_u16(), 404, "{method} {path}");
            assert_eq!(json(answer).await["error"]["code"], "not_found", "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked >= 4, "only {asked} operations");
    assert_eq!(written(&everywhere).await, before, "nothing was written");
}
