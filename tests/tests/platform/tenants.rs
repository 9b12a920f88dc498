//! Two companies: nobody reads or writes the other's data, on any route.

use kisum::platform::Ask;
use kisum_tests::demo::{self, Backend, words};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_one_company_never_reads_another_s_bills() {
    let demo = demo::shared().await;
    let acme = demo.sign_in("superadmin@acme-live.example").await;
    let bright = demo.sign_in("superadmin@bright-books.example").await;
    let made = demo.business(Backend::Finance, Method::POST, &acme.access, "acme-live").await;
    let id = made.text("/id").unwrap_or_else(|error| panic!("{error:#}"));
    let theirs = demo.business(Backend::Finance, Method::GET, &acme.access, "acme-live").await;
    assert!(theirs.body.to_string().contains(&id), "{theirs}");

    let ours = demo.business(Backend::Finance, Method::GET, &bright.access, "bright-books").await;
    assert!(ours.is_success() && !ours.body.to_string().contains(&id), "{ours}");
    for method in [Method::GET, Method::POST] {
        let across = demo.business(Backend::Finance, method, &bright.access, "acme-live").await;
        assert_eq!(words(&across), "403 forbidden not_a_member");
    }
    let unknown = demo.business(Backend::Finance, Method::GET, &bright.access, "no-such-company").await;
    assert_eq!(words(&unknown), "403 forbidden not_a_member", "an unknown company looks like a foreign one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_in_two_companies_holds_in_each_only_what_that_one_gave() {
    let demo = demo::shared().await;
    let agent = demo.sign_in("agent@agency.example").await;
    let allowed = demo.business(Backend::Finance, Method::GET, &agent.access, "acme-live").await;
    let refused = demo.business(Backend::Finance, Method::GET, &agent.access, "bright-books").await;
    assert_eq!((words(&allowed), words(&refused)), ("200".to_owned(), "403 forbidden missing_permission".to_owned()));
    assert!(refused.message().contains("finance.bills.read"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_of_one_company_cannot_touch_another() {
    let demo = demo::shared().await;
    let acme = demo.sign_in("superadmin@acme-live.example").await;
    let bright = demo.sign_in("superadmin@bright-books.example").await;
    let context = demo.access(&acme.access, "acme-live").await;
    let text = |pointer: &str| context.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
    let (company, membership) = (text("/companyId"), text("/membershipId"));
    let before = context.body.pointer("/data/meta/accessVersion").cloned();
    for (method, path) in [
        (Method::GET, format!("/companies/{company}/members")),
        (Method::DELETE, format!("/companies/{company}/members/{membership}")),
        (Method::GET, format!("/companies/{company}/delegation-policy/MANAGER")),
        (Method::GET, format!("/companies/{company}/delegations")),
        (Method::DELETE, format!("/companies/{company}/delegations/{membership}")),
        (Method::PUT, format!("/companies/{company}/members/{membership}/modules/finance")),
        (Method::DELETE, format!("/companies/{company}/members/{membership}/modules/finance")),
        (Method::PUT, format!("/companies/{company}/members/{membership}/permissions/finance.bills.read")),
        (Method::DELETE, format!("/companies/{company}/members/{membership}/permissions/finance.bills.read")),
    ] {
        let as_foreign = demo.auth(Some(&bright.access), Ask::new(method.clone(), &path).company(&company)).await;
        assert_eq!(words(&as_foreign), "403 forbidden not_a_member", "{method} {path}");
        let mismatch = demo.auth(Some(&bright.access), Ask::new(method.clone(), &path).company("bright-books")).await;
        assert_eq!(words(&mismatch), "400 validation_error", "the path's company is not x-org: {method} {path}");
    }
    let members = format!("/companies/{company}/members");
    let body = json!({ "email": "user@bright-books.example", "tenantRole": "USER" });
    let foreign = demo.auth(Some(&bright.access), Ask::new(Method::POST, &members).company(&company).body(body)).await;
    assert_eq!(words(&foreign), "403 forbidden not_a_member");

    let member = format!("/companies/{company}/members/{membership}");
    let policy = format!("/companies/{company}/delegation-policy/MANAGER");
    let delegations = format!("/companies/{company}/delegations");
    for (method, path, body) in [
        (Method::PATCH, &member, json!({ "suspended": true })),
        (Method::PUT, &policy, json!({ "modules": [], "permissions": [] })),
        (
            Method::POST,
            &delegations,
            json!({ "to": membership, "permissions": ["finance.bills.read"], "validUntil": "2030-01-01T00:00:00Z" }),
        ),
    ] {
        let foreign = demo.auth(Some(&bright.access), Ask::new(method, path).company(&company).body(body)).await;
        assert_eq!(words(&foreign), "403 forbidden not_a_member", "{path}");
    }

    // The membership of another company under one's own path is not known to exist.
    let own = demo.access(&bright.access, "bright-books").await.text("/companyId").unwrap_or_default();
    let path = format!("/companies/{own}/members/{membership}/modules/finance");
    let hidden = demo.auth(Some(&bright.access), Ask::new(Method::DELETE, &path).company(&own)).await;
    assert_eq!(words(&hidden), "404 not_found");
    let after = demo.access(&acme.access, "acme-live").await.body.pointer("/data/meta/accessVersion").cloned();
    assert_eq!(before, after, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_which_short_names_other_companies_have() {
    let demo = demo::shared().await;
    let bright = demo.sign_in("superadmin@bright-books.example").await;
    let own = demo.access(&bright.access, "bright-books").await.text("/companyId").unwrap_or_default();
    let path = format!("/companies/{own}/members/{own}/modules/finance");
    for slug in ["acme-live", "no-such-company"] {
        let refused = demo.auth(Some(&bright.access), Ask::new(Method::PUT, &path).company(slug)).await;
        assert_eq!(words(&refused), "403 forbidden not_a_member", "{slug}");
    }
}
