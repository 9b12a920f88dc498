//! Redis forgets everything, and nobody can tell.

use super::{
    answers::{BILLS, bills, comparable},
    people::{COMPANY, Signed},
    steps::Membership,
};
use crate::platform::{Ask, Callee, Platform};
use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::json;

/// Flushes Redis between two rounds of the same questions.
pub(super) async fn flush(platform: &Platform, person: &Signed, ended: &Signed, at: &Membership) -> Result<()> {
    let before = round(platform, person, ended, at).await?;
    flush_all(&platform.addresses().redis).await.context("flushing Redis")?;
    let after = round(platform, person, ended, at).await?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(before == after, "an answer changed: before {before}; after {after}");
    }
    Ok(())
}

/// Every question of the check, of a person, of their ended session and of the administrator.
async fn round(platform: &Platform, person: &Signed, ended: &Signed, at: &Membership) -> Result<Vec<String>> {
    let addresses = platform.addresses();
    let entitlements = format!("/internal/v1/companies/{}/entitlements", at.company);
    let refused = Ask::new(Method::POST, BILLS).company(COMPANY).body(json!({}));
    let answers = [
        platform.public(&addresses.auth, Some(&person.token), Ask::get("/auth/me")).await?,
        platform.public(&addresses.auth, Some(&person.token), Ask::get("/auth/me/access").company(COMPANY)).await?,
        platform.public(&addresses.auth, Some(&person.token), Ask::get("/auth/me/access").company("dormant")).await?,
        platform.internal(Callee::Core, Ask::get(&entitlements)).await?,
        platform.public(&addresses.basic, Some(&person.token), Ask::get("/api/events").company(COMPANY)).await?,
        bills(platform, person, None).await?,
        platform.public(&addresses.finance, Some(&person.token), refused).await?,
        bills(platform, ended, None).await?,
    ];
    Ok(answers.iter().map(comparable).collect())
}

async fn flush_all(url: &str) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await?;
    Ok(())
}
