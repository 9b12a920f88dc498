//! The checks themselves: one promise each.

use super::{
    answers::{BILLS, bills, refusal},
    people::{COMPANY, Signed},
    report::Recorder,
};
use crate::platform::{Answer, Ask, Callee, Platform, until};
use anyhow::{Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// A change of access is honoured within a second in ordinary times (issue; normally within 50 ms).
const HONOURED: Duration = Duration::from_secs(1);
/// The bound that holds whatever fails (`consistency.md`).
const BOUND: Duration = Duration::from_secs(5);
/// The permission that the person holds.
const PERMISSION: &str = "finance.bills.read";
/// The one that they do not hold.
const MISSING_PERMISSION: &str = "finance.bills.create";

/// Where the person stands in the company.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) company: String,
    pub(super) membership: String,
}

pub(super) async fn health(platform: &Platform) -> Result<()> {
    for path in ["/health", "/ready"] {
        let answer = platform.public(&platform.addresses().auth_internal, None, Ask::get(path)).await?;
        ensure!(answer.status == 200, answer.unexpected("200"));
    }
    Ok(())
}

pub(super) async fn me(platform: &Platform, person: &Signed) -> Result<()> {
    let answer = platform.public(&platform.addresses().auth, Some(&person.token), Ask::get("/auth/me")).await?;
    let id = answer.text("/id")?;
    ensure!(id == person.user_id, "it answers about {id}, but {} signed in", person.user_id);
    Ok(())
}

pub(super) async fn access(platform: &Platform, person: &Signed) -> Result<Membership> {
    let ask = Ask::get("/auth/me/access").company(COMPANY);
    let answer = platform.public(&platform.addresses().auth, Some(&person.token), ask).await?;
    for (list, expected) in [("/modules", "finance"), ("/permissions", PERMISSION)] {
        let held = answer.data()?.pointer(list).and_then(Value::as_array);
        let holds_it = held.is_some_and(|held| held.iter().any(|key| key == expected));
        ensure!(holds_it, "{list} lacks {expected}: is the demo seeded? `kisum seed` puts it back");
    }
    Ok(Membership { company: answer.text("/companyId")?, membership: answer.text("/membershipId")? })
}

pub(super) async fn entitlements(platform: &Platform, at: &Membership) -> Result<()> {
    let path = format!("/internal/v1/companies/{}/entitlements", at.company);
    let answer = platform.internal(Callee::Core, Ask::get(&path)).await?;
    let entitlements = answer.data()?.pointer("/entitlements").and_then(Value::as_array);
    let owned = entitlements
        .is_some_and(|owned| owned.iter().any(|one| one.pointer("/module").is_some_and(|module| module == "finance")));
    ensure!(owned, "finance is not among the entitlements of {COMPANY}");
    Ok(())
}

pub(super) async fn allowed(platform: &Platform, person: &Signed) -> Result<()> {
    let answer = bills(platform, person, None).await?;
    ensure!(answer.status == 200, answer.unexpected("200"));
    Ok(())
}

pub(super) async fn missing_permission(platform: &Platform, person: &Signed) -> Result<()> {
    // Without a body: the permit is checked before it is looked at.
    let ask = Ask::new(Method::POST, BILLS).company(COMPANY).body(json!({}));
    let answer = platform.public(&platform.addresses().finance, Some(&person.token), ask).await?;
    ensure!(refusal(&answer) == (403, "missing_permission"), answer.unexpected("403 missing_permission"));
    ensure!(answer.message().contains(MISSING_PERMISSION), answer.unexpected("a message that names the permission"));
    Ok(())
}

pub(super) async fn finance_removed(
    platform: &Platform,
    person: &Signed,
    at: &Membership,
    recorder: &mut Recorder,
) -> Result<()> {
    recorder.check("Finance is removed from the company", addon(platform, at, Method::DELETE)).await?;
    let refused = until_refused(platform, person, (403, "module_not_owned"));
    recorder.check("the same request is refused within a second", refused).await
}

/// Puts Finance back, whatever state the company is in.
pub(super) async fn finance_restored(
    platform: &Platform,
    person: &Signed,
    at: &Membership,
    recorder: &mut Recorder,
) -> Result<()> {
    recorder.check("Finance is restored", addon(platform, at, Method::PUT)).await?;
    recorder.check("the same request is allowed again", until_allowed(platform, person)).await
}

async fn addon(platform: &Platform, at: &Membership, method: Method) -> Result<()> {
    let path = format!("/internal/v1/companies/{}/addons/finance", at.company);
    let body = (method == Method::PUT).then(|| json!({}));
    let ask = Ask::new(method, &path);
    let answer = platform.internal(Callee::Core, body.into_iter().fold(ask, Ask::body)).await?;
    answer.data().map(drop)
}

pub(super) async fn permission_revoked(
    platform: &Platform,
    person: &Signed,
    superadmin: &Signed,
    at: &Membership,
    recorder: &mut Recorder,
) -> Result<()> {
    recorder.check("a permission is revoked", permission(platform, superadmin, at, Method::DELETE)).await?;
    let refused = until_refused(platform, person, (403, "missing_permission"));
    recorder.check("and the next request honours it", refused).await
}

/// Grants the permission again, whether or not it was revoked.
pub(super) async fn permission_granted(
    platform: &Platform,
    person: &Signed,
    superadmin: &Signed,
    at: &Membership,
    recorder: &mut Recorder,
) -> Result<()> {
    recorder.check("it is granted again", permission(platform, superadmin, at, Method::PUT)).await?;
    recorder.check("and allowed again", until_allowed(platform, person)).await
}

async fn permission(platform: &Platform, superadmin: &Signed, at: &Membership, method: Method) -> Result<()> {
    let path = format!("/companies/{}/members/{}/permissions/{PERMISSION}", at.company, at.membership);
    let ask = Ask::new(method, &path).company(&at.company);
    platform.public(&platform.addresses().auth, Some(&superadmin.token), ask).await?.data().map(drop)
}

pub(super) async fn session_ended(
    platform: &Platform,
    person: &Signed,
    second: &Signed,
    recorder: &mut Recorder,
) -> Result<()> {
    allowed(platform, second).await?;
    recorder.check("that session ends", logout(platform, second)).await?;
    let refused = until_refused(platform, second, (401, "session_revoked"));
    recorder.check("and is refused", refused).await?;
    recorder.check("the person's other session goes on", allowed(platform, person)).await
}

async fn logout(platform: &Platform, person: &Signed) -> Result<()> {
    let ask = Ask::new(Method::POST, "/auth/logout").body(json!({}));
    platform.public(&platform.addresses().auth, Some(&person.token), ask).await?.data().map(drop)
}

/// Waits until the request is refused as expected. Until then it is allowed; any other answer is a failure.
async fn until_refused(platform: &Platform, person: &Signed, expected: (u16, &str)) -> Result<()> {
    until(HONOURED, async || {
        let answer = bills(platform, person, None).await?;
        match refusal(&answer) {
            got if got == expected => Ok(Ok(())),
            (200, _) => Ok(Err(answer.unexpected(&format!("{} {}", expected.0, expected.1)))),
            _ => bail!(answer.unexpected(&format!("{} {}", expected.0, expected.1))),
        }
    })
    .await
}

/// Waits until the request is allowed. Until then it may be refused for access, and for nothing else.
async fn until_allowed(platform: &Platform, person: &Signed) -> Result<()> {
    until(BOUND, async || {
        let answer: Answer = bills(platform, person, None).await?;
        match answer.status {
            200 => Ok(Ok(())),
            403 => Ok(Err(answer.unexpected("200"))),
            _ => bail!(answer.unexpected("200")),
        }
    })
    .await
}
