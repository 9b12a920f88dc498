//! Contexts in Redis: `access:{company}:{membership}:{accessVersion}:{entitlementVersion}`.
//!
//! It owns key, seal and time to live. A value is believed only if its MAC is right and it names its own key and both
//! epochs, so that whoever writes to Redis can neither forge a grant nor move one to another company. It refuses to
//! know how a context is made: with Redis empty, wrong or gone, answers are slower, never different.

use crate::{
    auth::{redis::Redis, seal::Seal},
    shared::ambient,
};
use kisum_events::{AccessContext, AsOf, CompanyId, MembershipId, Position, Timestamp};
use serde::{Deserialize, Serialize};

/// Seconds that a context is kept, before jitter (contract, *Redis*).
const KEPT_S: u64 = 15 * 60;
/// How far that varies either way, so that a herd that was filled together does not expire together.
const JITTER_PERCENT: u64 = 20;

/// What a cached context depends on; another version is another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) struct ContextKey {
    /// The company.
    pub(in crate::auth) company: CompanyId,
    /// The membership.
    pub(in crate::auth) membership: MembershipId,
    /// Highest position among the states.
    pub(in crate::auth) access_version: Position,
    /// Position of the company's last `entitlement.changed`.
    pub(in crate::auth) entitlement_version: Position,
}

impl ContextKey {
    fn text(&self) -> String {
        let Self { company, membership, access_version, entitlement_version } = self;
        format!("access:{company}:{membership}:{access_version}:{entitlement_version}")
    }
}

/// A value as it is stored, behind its MAC.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    key: String,
    auth_epoch: u32,
    core_epoch: u32,
    context: AccessContext,
}

/// Why a stored value is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unusable {
    /// It is not what this service wrote under this key.
    Forged,
    /// It belongs to another history of one of the logs.
    OtherEpoch,
    /// Something in it has changed by itself meanwhile.
    Outlived,
}

impl Unusable {
    const fn name(self) -> &'static str {
        match self {
            Self::Forged => "mismatch",
            Self::OtherEpoch => "other_epoch",
            Self::Outlived => "outlived",
        }
    }
}

/// The contexts in Redis.
#[derive(Clone)]
pub(in crate::auth) struct ContextCache {
    redis: Redis,
    seal: Seal,
}

impl ContextCache {
    /// A cache whose values are sealed under `CACHE_MAC_KEY`.
    pub(in crate::auth) const fn new(redis: Redis, seal: Seal) -> Self {
        Self { redis, seal }
    }

    /// The context of these versions, if it is there and still holds.
    pub(in crate::auth) async fn get(&self, key: &ContextKey, as_of: AsOf, now: Timestamp) -> Option<AccessContext> {
        let text = key.text();
        let mut commands = redis::pipe();
        commands.cmd("GET").arg(&text);
        let answer: Option<(Option<Vec<u8>>,)> = self.redis.ask(&commands).await;
        let (outcome, context) = match answer {
            None => ("unavailable", None),
            Some((None,)) => ("miss", None),
            Some((Some(value),)) => match read(&self.seal, &text, &value, as_of, now) {
                Ok(context) => ("hit", Some(context)),
                Err(unusable) => (unusable.name(), None),
            },
        };
        metrics::counter!("kisum_access_cache_total", "level" => "redis", "outcome" => outcome).increment(1);
        context
    }

    /// Keeps a context. Nobody waits for it.
    pub(in crate::auth) fn put(&self, key: &ContextKey, as_of: AsOf, context: AccessContext) {
        let text = key.text();
        let Some(value) = write(&self.seal, &text, as_of, context) else { return };
        let mut commands = redis::pipe();
        commands.cmd("SET").arg(text).arg(value).arg("EX").arg(kept_s()).ignore();
        let redis = self.redis.clone();
        tokio::spawn(async move {
            let _unavailable: Option<()> = redis.ask(&commands).await;
        });
    }
}

fn kept_s() -> u64 {
    let spread = KEPT_S.saturating_mul(JITTER_PERCENT) / 100;
    // Without randomness every context would be kept equally long, which is no reason to fail.
    let drawn = ambient::random::<2>().map_or(0, |bytes| u64::from(u16::from_be_bytes(bytes)));
    KEPT_S.saturating_sub(spread).saturating_add(drawn.saturating_mul(spread.saturating_mul(2)) / u64::from(u16::MAX))
}

fn write(seal: &Seal, key: &str, as_of: AsOf, context: AccessContext) -> Option<Vec<u8>> {
    let entry = Entry { key: key.to_owned(), auth_epoch: as_of.auth.epoch, core_epoch: as_of.core.epoch, context };
    serde_json::to_vec(&entry).ok().map(|body| seal.close(&body))
}

fn read(seal: &Seal, key: &str, value: &[u8], as_of: AsOf, now: Timestamp) -> Result<AccessContext, Unusable> {
    let body = seal.open(value).ok_or(Unusable::Forged)?;
    let entry: Entry = serde_json::from_slice(body).map_err(|_| Unusable::Forged)?;
    if entry.key != key {
        return Err(Unusable::Forged);
    }
    if (entry.auth_epoch, entry.core_epoch) != (as_of.auth.epoch, as_of.core.epoch) {
        return Err(Unusable::OtherEpoch);
    }
    if entry.context.valid_until.is_some_and(|until| until <= now) {
        return Err(Unusable::Outlived);
    }
    Ok(entry.context)
}

#[cfg(test)]
mod tests {
    use super::{KEPT_S, Seal, Unusable, kept_s, read, write};
    use kisum_events::{AccessContext, AsOf, ContextMeta, Cursor, DelegationRights, Limits, TenantRole, Timestamp};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
    const ID: &str = "0198c5a2-7b1e-7000-8000-000000000001";

    fn context(valid_until: Option<Timestamp>) -> AccessContext {
        AccessContext {
            user_id: ID.parse().unwrap(),
            company_id: ID.parse().unwrap(),
            membership_id: ID.parse().unwrap(),
            tenant_role: TenantRole::User,
            core_app_visible: false,
            modules: vec![],
            owned_modules: vec![],
            permissions: vec![],
            limits: Limits::new(),
            delegation: DelegationRights::default(),
            valid_until,
            meta: ContextMeta { token_version: 0, access_version: 7, entitlement_version: 3, generated_at: NOW },
        }
    }

    fn as_of(auth: u32, core: u32) -> AsOf {
        AsOf { auth: Cursor { epoch: auth, position: 9 }, core: Cursor { epoch: core, position: 4 } }
    }

    fn key(seed: u8) -> Seal {
        Seal::new(&[seed; 32])
    }

    #[test]
    fn what_was_put_is_what_is_got() {
        let value = write(&key(1), "access:a", as_of(1, 1), context(None)).unwrap();
        assert_eq!(read(&key(1), "access:a", &value, as_of(1, 1), NOW), Ok(context(None)));
    }

    #[test]
    fn a_value_under_another_key_is_a_forgery() {
        let value = write(&key(1), "access:a", as_of(1, 1), context(None)).unwrap();
        assert_eq!(read(&key(1), "access:b", &value, as_of(1, 1), NOW), Err(Unusable::Forged));
        assert_eq!(read(&key(2), "access:a", &value, as_of(1, 1), NOW), Err(Unusable::Forged));
        assert_eq!(read(&key(1), "access:a", b"{}", as_of(1, 1), NOW), Err(Unusable::Forged));
    }

    #[test]
    fn a_value_of_another_epoch_is_a_miss() {
        let value = write(&key(1), "access:a", as_of(1, 1), context(None)).unwrap();
        for other in [as_of(2, 1), as_of(1, 2)] {
            assert_eq!(read(&key(1), "access:a", &value, other, NOW), Err(Unusable::OtherEpoch));
        }
    }

    #[test]
    fn a_context_ends_when_something_in_it_does() {
        let value = write(&key(1), "access:a", as_of(1, 1), context(Some(NOW))).unwrap();
        assert_eq!(read(&key(1), "access:a", &value, as_of(1, 1), NOW), Err(Unusable::Outlived));
        let just_before = NOW.minus(Duration::from_micros(1));
        assert!(read(&key(1), "access:a", &value, as_of(1, 1), just_before).is_ok());
    }

    #[test]
    fn contexts_are_kept_a_quarter_of_an_hour_give_or_take_a_fifth() {
        for _ in 0..200 {
            assert!((KEPT_S * 4 / 5..=KEPT_S * 6 / 5).contains(&kept_s()));
        }
    }
}
