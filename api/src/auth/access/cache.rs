//! Contexts in Redis: `access:{company}:{membership}:{accessVersion}:{entitlementVersion}`, and what leads there.
//!
//! It owns keys, seals and times to live. A value is believed only if its MAC is right, it names its own key, and
//! nothing has happened since it was written to whom it is about; so whoever writes to Redis can neither forge a grant,
//! nor move one to another company, nor bring an old one back. It refuses to know how a context is made: with Redis
//! empty, wrong or gone, answers are slower, never different.

use crate::{
    auth::{redis::Redis, seal::Seal},
    shared::ambient,
};
use kisum_events::{
    AccessContext, AccessSubject, AsOf, CompanyId, Giver, MembershipId, Position, SessionId, Slug, Timestamp, UserId,
};
use kisum_guard::{Answer, Asker, Memory, Verdict, XOrg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// Seconds that a value is kept, before jitter (contract, *Redis*).
const KEPT_S: u64 = 15 * 60;
/// How far that varies either way, so that a herd that was filled together does not expire together.
const JITTER_PERCENT: u64 = 20;

/// Short names of companies that are remembered.
const NAMES_MAX: usize = 10_000;

/// Longest wait for all that is read of Redis for one answer; a guard gives the whole answer 150 ms.
const PATIENCE: Duration = Duration::from_millis(40);

/// A value as it is stored, behind its MAC.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sealed<T> {
    key: String,
    /// What it was computed from.
    as_of: AsOf,
    value: T,
}

/// Where a person's context in a company stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    membership: MembershipId,
    /// Highest position among the states.
    access_version: Position,
    /// Position of the company's last `entitlement.changed`.
    entitlement_version: Position,
    /// Whose own access it rests on besides.
    relies_on: Vec<Giver>,
}

impl Place {
    fn key(&self, company: CompanyId) -> String {
        let Self { membership, access_version, entitlement_version, relies_on: _ } = self;
        format!("access:{company}:{membership}:{access_version}:{entitlement_version}")
    }
}

fn place_key(company: CompanyId, user: UserId) -> String {
    format!("access:at:{company}:{user}")
}

fn company_key(slug: &Slug) -> String {
    format!("company-map:{slug}")
}

/// Why nothing of Redis is used; its name in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unusable {
    /// Redis does not answer.
    Unavailable,
    /// It holds nothing.
    Miss,
    /// It holds what this service did not write under this key.
    Mismatch,
    /// Something has happened since to whom it is about, or may have.
    Overtaken,
    /// Something in it has changed by itself since.
    Outlived,
}

impl Unusable {
    const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Miss => "miss",
            Self::Mismatch => "mismatch",
            Self::Overtaken => "overtaken",
            Self::Outlived => "outlived",
        }
    }
}

/// The contexts in Redis.
#[derive(Clone)]
pub(in crate::auth) struct ContextCache {
    redis: Redis,
    seal: Seal,
    /// What Redis said of companies' short names.
    names: Arc<Mutex<HashMap<Slug, Named>>>,
}

/// A company by its short name.
#[derive(Clone, Copy, Debug)]
struct Named {
    company: CompanyId,
    as_of: AsOf,
}

impl ContextCache {
    /// A cache whose values are sealed under `CACHE_MAC_KEY`.
    pub(in crate::auth) fn new(redis: Redis, seal: Seal) -> Self {
        Self { redis, seal, names: Arc::default() }
    }

    /// An active member's answer, if it is there and `memory` vouches for it from `least` on.
    pub(in crate::auth) async fn get(
        &self,
        memory: &Memory,
        asker: Asker,
        company: &XOrg,
        least: AsOf,
        now: Timestamp,
    ) -> Option<Answer> {
        // What cannot be vouched for need not be asked for.
        if !memory.is_proven_for(asker) {
            return None;
        }
        let found = tokio::time::timeout(PATIENCE, self.find(memory, asker, company, least, now)).await;
        let found = found.unwrap_or(Err(Unusable::Unavailable));
        let outcome = found.as_ref().map_or_else(|unusable| unusable.name(), |_| "hit");
        metrics::counter!("kisum_access_cache_total", "level" => "redis", "outcome" => outcome).increment(1);
        found.ok()
    }

    async fn find(
        &self,
        memory: &Memory,
        asker: Asker,
        org: &XOrg,
        least: AsOf,
        now: Timestamp,
    ) -> Result<Answer, Unusable> {
        let company = match org {
            XOrg::Id(id) => *id,
            XOrg::Slug(slug) => {
                let named = self.named(slug).await?;
                let vouched = memory.vouch(asker, &of_company(asker, named.company), named.as_of, least);
                if vouched.is_none() {
                    self.forget(slug);
                    return Err(Unusable::Overtaken);
                }
                named.company
            }
        };
        let Sealed { as_of, value: place, .. } = self.read::<Place>(&place_key(company, asker.user)).await?;
        let subject = AccessSubject {
            user_id: asker.user,
            session_id: asker.session,
            company_id: Some(company),
            membership_id: Some(place.membership),
            relies_on: place.relies_on.clone(),
        };
        let sealed = self.read::<AccessContext>(&place.key(company)).await?;
        check(&sealed, as_of, now)?;
        // Asked last, so that it covers the time that Redis took; and for both, since each may have been put back.
        let vouch = |as_of| memory.vouch(asker, &subject, as_of, least).ok_or(Unusable::Overtaken);
        vouch(sealed.as_of)?;
        let proven = vouch(as_of)?;
        Ok(Answer {
            verdict: Verdict::Active(Arc::new(sealed.value)),
            as_of: proven,
            subject,
            access_version: place.access_version,
            entitlement_version: place.entitlement_version,
        })
    }

    /// Which company Redis says has a short name. What it said once is as good as what it would say now: either is
    /// believed only while nothing has happened to the company since it was written.
    async fn named(&self, slug: &Slug) -> Result<Named, Unusable> {
        if let Some(named) = self.names().get(slug) {
            return Ok(*named);
        }
        let Sealed { as_of, value: company, .. } = self.read::<CompanyId>(&company_key(slug)).await?;
        let named = Named { company, as_of };
        let mut names = self.names();
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.insert(slug.clone(), named);
        Ok(named)
    }

    fn forget(&self, slug: &Slug) {
        self.names().remove(slug);
    }

    fn names(&self) -> MutexGuard<'_, HashMap<Slug, Named>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an active member's answer. Nobody waits for it.
    pub(in crate::auth) fn put(&self, org: &XOrg, answer: &Arc<Answer>) {
        if self.redis.is_quiet() {
            return;
        }
        let (cache, org, answer) = (self.clone(), org.clone(), Arc::clone(answer));
        tokio::spawn(async move { cache.store(&org, &answer).await });
    }

    /// As [`ContextCache::put`], waited for; says whether Redis took it.
    pub(in crate::auth) async fn store(&self, org: &XOrg, answer: &Answer) -> bool {
        let Some(commands) = self.commands(org, answer) else { return true };
        let stored: Option<()> = self.redis.ask(&commands).await;
        stored.is_some()
    }

    fn commands(&self, org: &XOrg, answer: &Answer) -> Option<redis::Pipeline> {
        let Verdict::Active(context) = &answer.verdict else { return None };
        let Answer { as_of, access_version, entitlement_version, .. } = *answer;
        let (company, membership) = (context.company_id, context.membership_id);
        let relies_on = answer.subject.relies_on.clone();
        let place = Place { membership, access_version, entitlement_version, relies_on };
        let mut commands = redis::pipe();
        let mut set = |key: String, value: Option<Vec<u8>>| {
            if let Some(value) = value {
                commands.cmd("SET").arg(key).arg(value).arg("EX").arg(kept_s()).ignore();
            }
        };
        // The context first: a place never leads to what is not there yet.
        let key = place.key(company);
        set(key.clone(), write(&self.seal, key, as_of, context.as_ref()));
        let key = place_key(company, context.user_id);
        set(key.clone(), write(&self.seal, key, as_of, place));
        if let XOrg::Slug(slug) = org {
            let key = company_key(slug);
            set(key.clone(), write(&self.seal, key, as_of, company));
        }
        Some(commands)
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Sealed<T>, Unusable> {
        let mut commands = redis::pipe();
        commands.cmd("GET").arg(key);
        let (value,): (Option<Vec<u8>>,) = self.redis.ask(&commands).await.ok_or(Unusable::Unavailable)?;
        read(&self.seal, key, &value.ok_or(Unusable::Miss)?)
    }
}

/// A company itself, whoever its members are: nothing that happens to a membership is about it.
fn of_company(asker: Asker, company: CompanyId) -> AccessSubject {
    AccessSubject {
        user_id: asker.user,
        session_id: SessionId::new(Uuid::nil()),
        company_id: Some(company),
        membership_id: Some(MembershipId::new(Uuid::nil())),
        relies_on: vec![],
    }
}

/// Whether a context, found by its place, belongs to the same history and still holds.
fn check(context: &Sealed<AccessContext>, place: AsOf, now: Timestamp) -> Result<(), Unusable> {
    if (context.as_of.auth.epoch, context.as_of.core.epoch) != (place.auth.epoch, place.core.epoch) {
        return Err(Unusable::Overtaken);
    }
    let kept = Duration::from_secs(KEPT_S.saturating_add(spread_s()));
    let is_over = context.value.valid_until.is_some_and(|until| until <= now);
    // What the catalog newly offers is no event about anybody, and shows once the context is made anew.
    if is_over || now.since(context.value.meta.generated_at) >= kept { Err(Unusable::Outlived) } else { Ok(()) }
}

const fn spread_s() -> u64 {
    KEPT_S * JITTER_PERCENT / 100
}

fn kept_s() -> u64 {
    let spread = spread_s();
    // Without randomness every context would be kept equally long, which is no reason to fail.
    let drawn = ambient::random::<2>().map_or(0, |bytes| u64::from(u16::from_be_bytes(bytes)));
    KEPT_S.saturating_sub(spread).saturating_add(drawn.saturating_mul(spread.saturating_mul(2)) / u64::from(u16::MAX))
}

fn write<T: Serialize>(seal: &Seal, key: String, as_of: AsOf, value: T) -> Option<Vec<u8>> {
    serde_json::to_vec(&Sealed { key, as_of, value }).ok().map(|body| seal.close(&body))
}

fn read<T: DeserializeOwned>(seal: &Seal, key: &str, value: &[u8]) -> Result<Sealed<T>, Unusable> {
    let body = seal.open(value).ok_or(Unusable::Mismatch)?;
    let sealed: Sealed<T> = serde_json::from_slice(body).map_err(|_| Unusable::Mismatch)?;
    if sealed.key == key { Ok(sealed) } else { Err(Unusable::Mismatch) }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
