//! One company: its people, the company itself, what it buys, its members.

use super::{Seeder, command_key, grants::Held};
use crate::{
    ambient,
    demo::{self, Company, Member},
    platform::{Answer, Ask, Callee, until},
    staff,
};
use anyhow::{Context as _, Result, anyhow, bail};
use kisum_events::{ModuleEntitlement, SourceKind};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Longest wait for a service that says that it is busy.
const BUSY_LIMIT: Duration = Duration::from_secs(60);
/// Between two attempts: whoever is busy is not helped by being asked at once.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// Events that registering a company appends, at most: how far its first membership can lie before the receipt.
const REGISTRATION_EVENTS_MAX: u64 = 8;

/// A company that exists.
struct Registered {
    id: String,
    owners_membership: String,
}

impl Seeder {
    /// Makes one company of a plan, or completes it. `made` counts its members as they are complete.
    pub(super) async fn company(&self, plan: &Company, made: &AtomicU64) -> Result<()> {
        let mut users = Vec::with_capacity(plan.members.len());
        for member in &plan.members {
            users.push(self.person(member, None).await.with_context(|| member.email.clone())?);
        }
        let owner = users.first().context("a company needs a superadmin who registers it")?;
        let company = self.registered(plan, owner).await?;
        let bought = self.purchases(plan, &company.id).await?;
        let granting = self.granting(plan, &company.id, bought)?;
        for (member, user) in plan.members.iter().zip(&users) {
            let held = if user == owner {
                Held::unknown(company.owners_membership.clone())
            } else {
                self.member(&company.id, user, member).await.with_context(|| member.email.clone())?
            };
            self.grant(&granting, held, &member.holds).await.with_context(|| member.email.clone())?;
            made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes the platform's first owner, unless there has been one.
    pub(super) async fn admin(&self) -> Result<()> {
        let admin = demo::admin();
        self.person(&admin, Some(&self.platform.addresses().demo_admin_totp_secret)).await?;
        let answer = staff::bootstrap(&self.platform, &admin.email).await?;
        if answer.reason() == staff::ALREADY { Ok(()) } else { answer.data().map(drop) }
    }

    /// The person's id; registers them where nobody has that address, with what their authenticator app holds.
    async fn person(&self, member: &Member, totp_secret: Option<&str>) -> Result<String> {
        let query = format!("email={}", query_value(&member.email));
        let path = format!("/internal/v1/users/by-email?{query}");
        let known = self.ask(Callee::Auth, Ask::get(&path)).await?;
        if known.status != 404 {
            return known.text("/userId");
        }
        let mut body = json!({ "email": member.email, "name": member.name });
        if member.has_password
            && let Some(body) = body.as_object_mut()
        {
            body.insert("password".to_owned(), self.platform.addresses().demo_password.clone().into());
            body.extend(totp_secret.map(|secret| ("totpSecret".to_owned(), secret.into())));
        }
        self.create("/internal/v1/users", body).await?.text("/userId")
    }

    /// Registers the company and approves it, or finds what an earlier run registered.
    async fn registered(&self, plan: &Company, owner: &str) -> Result<Registered> {
        let body = json!({ "name": plan.name, "slug": plan.slug, "ownerUserId": owner });
        let answer = self.create("/internal/v1/companies", body).await?;
        let id = answer.text("/companyId")?;
        if answer.text("/status")? == "pending" {
            let path = format!("/internal/v1/companies/{id}/approve");
            self.create(&path, json!({})).await?.data()?;
        }
        let owners_membership = self.first_membership(&id, answer.position.as_deref()).await?;
        Ok(Registered { id, owners_membership })
    }

    /// The membership that the registration of a company made. No route names it, so it is read where the
    /// registration's receipt points: at the events themselves.
    async fn first_membership(&self, company: &str, receipt: Option<&str>) -> Result<String> {
        let last = receipt.and_then(|receipt| receipt.rsplit('.').next()?.parse::<u64>().ok());
        let last = last.with_context(|| format!("the registration of {company} has no receipt"))?;
        let after = last.saturating_sub(REGISTRATION_EVENTS_MAX);
        let path = format!("/internal/v1/log/auth?after={after}&limit={REGISTRATION_EVENTS_MAX}");
        let page = self.ask(Callee::Auth, Ask::get(&path)).await?;
        let events = page.data()?.get("events").and_then(Value::as_array);
        let text = |event: &Value, pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let made_here = |event: &&Value| {
            text(event, "/type").is_some_and(|kind| kind == "membership.created")
                && text(event, "/data/companyId").is_some_and(|id| id == company)
        };
        let stream = events.into_iter().flatten().find(made_here).and_then(|event| text(event, "/stream"));
        let id = stream.and_then(|stream| stream.strip_prefix("membership-").map(str::to_owned));
        id.with_context(|| format!("the events up to {last} do not name the first member of {company}"))
    }

    /// Buys what the plan names and the company does not own now. Answers from where Core's side can be read.
    async fn purchases(&self, plan: &Company, company: &str) -> Result<Option<String>> {
        let base = format!("/internal/v1/companies/{company}");
        let path = format!("{base}/entitlements");
        let owned = sources(&self.ask(Callee::Core, Ask::get(&path)).await?)?;
        let mut wanted = Vec::new();
        if let Some(package) = &plan.package {
            wanted.push((
                (SourceKind::Package, package),
                format!("{base}/subscription"),
                json!({ "package": package }),
            ));
        }
        for addon in &plan.addons {
            wanted.push(((SourceKind::Addon, addon), format!("{base}/addons/{addon}"), json!({})));
        }
        let mut position = None;
        for ((kind, key), path, body) in wanted {
            if owned.iter().any(|(owned, by)| *owned == kind && by == key) {
                continue;
            }
            // No key: it is only sent while the company does not own it, and under a key what somebody has detached
            // since could never be attached again.
            let ask = Ask::new(Method::PUT, &path).body(body);
            let answer = self.ask(Callee::Core, ask).await?;
            answer.data()?;
            position = answer.position;
        }
        Ok(position)
    }

    /// Makes the person a member, or finds what an earlier run made of them.
    async fn member(&self, company: &str, user: &str, member: &Member) -> Result<Held> {
        let path = format!("/internal/v1/companies/{company}/members");
        let answer = self.create(&path, json!({ "userId": user, "tenantRole": member.role })).await?;
        Held::of(&answer)
    }

    /// Sends a command that creates something, under a key made of its content: sent again, it answers what it made.
    async fn create(&self, path: &str, body: Value) -> Result<Answer> {
        let key = command_key(path, &body);
        let answer = self.ask(Callee::Auth, Ask::new(Method::POST, path).key(key).body(body)).await?;
        match answer.status {
            _ if answer.is_success() => Ok(answer),
            409 => bail!("{}; `./dev reset` starts afresh", answer.unexpected("what an earlier run of the seed made")),
            _ => bail!(answer.unexpected("a success")),
        }
    }

    /// Asks again while a service says that it is busy, or a command lost a race.
    async fn ask(&self, callee: Callee, ask: Ask<'_>) -> Result<Answer> {
        until(BUSY_LIMIT, async || {
            let answer = self.platform.internal(callee, ask.clone()).await?;
            let is_passing = matches!((answer.status, answer.reason()), (429 | 503, _) | (409, "version"));
            if !is_passing {
                return Ok(Ok(answer));
            }
            tokio::time::sleep(BUSY_PAUSE).await;
            Ok(Err(answer.unexpected("a free service")))
        })
        .await
    }
}

/// What gives a company modules now: kind and key.
fn sources(answer: &Answer) -> Result<Vec<(SourceKind, String)>> {
    let list = answer.data()?.get("entitlements").cloned().unwrap_or_default();
    let entitlements: Vec<ModuleEntitlement> =
        serde_json::from_value(list).map_err(|error| anyhow!("{}: {error}", answer.asked))?;
    let now = ambient::now();
    let active = entitlements.into_iter().filter(|one| one.is_active(now));
    Ok(active.map(|one| (one.source.kind, one.source.id)).collect())
}

/// A text as a query's value (RFC 3986 §3.4).
fn query_value(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Answer, SourceKind, query_value, sources};
    use serde_json::json;

    #[test]
    fn an_address_is_escaped_in_a_query() {
        assert_eq!(query_value("a+b@x.example"), "a%2Bb%40x.example");
    }

    #[test]
    fn what_is_over_or_still_to_come_is_not_owned() {
        let one = |id: &str, from: &str, until: Option<&str>| json!({ "module": id, "source": { "type": "addon", "id": id }, "from": from, "until": until });
        let (past, future) = ("2020-01-01T00:00:00Z", "9000-01-01T00:00:00Z");
        let list =
            [one("finance", past, None), one("market", past, Some("2021-01-01T00:00:00Z")), one("ai", future, None)];
        let body = json!({ "data": { "entitlements": list } });
        let answer = Answer { asked: String::new(), status: 200, body, position: None };
        assert_eq!(sources(&answer).unwrap(), [(SourceKind::Addon, "finance".to_owned())]);
    }
}
