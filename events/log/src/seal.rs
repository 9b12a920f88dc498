//! Sealing: AES-256-GCM under one key for each person, itself wrapped by a configured key (security 13).
//!
//! Deleting a person's row of `person_key` makes every sealed part of theirs unreadable for ever.

use crate::{SealError, ambient};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, engine::general_purpose::STANDARD};
use kisum_events::{EventId, Log, StreamName, UserId};
use serde_json::{Map, Value};
use sqlx::PgPool;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use uuid::Uuid;

const KEY_BYTES: usize = 32;
/// Layout of a sealed part: format byte, key id, nonce, ciphertext with tag.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + 16 + NONCE_LEN;
/// Keys remembered for sealing; unsealing always reads the row, so that an erased person stays erased.
const REMEMBERED_MAX: usize = 10_000;

/// A person's key, unwrapped.
#[derive(Clone)]
pub(crate) struct PersonKey {
    id: Uuid,
    key: Arc<LessSafeKey>,
}

/// What a sealed part is bound to: moved elsewhere, it does not open.
pub(crate) enum Place<'a> {
    /// The payload of an event.
    Event(EventId),
    /// The state of a stream at a version.
    State(&'a StreamName, u64),
}

/// Wraps, remembers and uses the keys of persons.
#[derive(Clone)]
pub struct Sealer {
    inner: Arc<Inner>,
}

struct Inner {
    /// The first wraps; all unwrap.
    wrapping: Vec<(String, LessSafeKey)>,
    random: SystemRandom,
    remembered: Mutex<HashMap<UserId, PersonKey>>,
}

impl Sealer {
    /// Reads `DATA_ENCRYPTION_KEYS`: `id:base64,…`, 32 bytes each; the first wraps, all unwrap.
    ///
    /// # Errors
    /// [`SealError::Keys`], which never repeats a key.
    pub fn new(keys: &str) -> Result<Self, SealError> {
        let wrapping = keys
            .split(',')
            .map(|entry| {
                let (id, key) = entry
                    .trim()
                    .split_once(':')
                    .ok_or_else(|| SealError::Keys("an entry is not of the form id:base64".to_owned()))?;
                let bytes = STANDARD.decode(key).map_err(|_| SealError::Keys(format!("key '{id}' is not base64")))?;
                let bytes: &[u8; KEY_BYTES] = bytes
                    .as_slice()
                    .try_into()
                    .map_err(|_| SealError::Keys(format!("key '{id}' does not have {KEY_BYTES} bytes")))?;
                Ok((id.to_owned(), cipher(bytes)?))
            })
            .collect::<Result<Vec<_>, SealError>>()?;
        let random = SystemRandom::new();
        Ok(Self { inner: Arc::new(Inner { wrapping, random, remembered: Mutex::default() }) })
    }

    /// Seals nothing and opens nothing: for streams without a person.
    pub fn without_keys() -> Self {
        let random = SystemRandom::new();
        Self { inner: Arc::new(Inner { wrapping: Vec::new(), random, remembered: Mutex::default() }) }
    }

    /// The key to seal with, made when the person has none.
    pub(crate) async fn key_for(&self, pool: &PgPool, person: UserId) -> Result<PersonKey, SealError> {
        if let Some(key) = self.remembered().get(&person) {
            return Ok(key.clone());
        }
        let mut clear = [0_u8; KEY_BYTES];
        self.inner.random.fill(&mut clear).map_err(|_| SealError::Cipher)?;
        let fresh_id = ambient::new_key_id();
        let (wrapped_by, wrapped) = self.wrap(person, fresh_id, &clear)?;
        // Two first seals of one person may race; the constraint decides and both read the winner's key.
        sqlx::query!(
            "insert into person_key (person, key_id, wrapped, wrapped_by) values ($1, $2, $3, $4)
             on conflict (person) do nothing",
            person.uuid(),
            fresh_id,
            wrapped,
            wrapped_by
        )
        .execute(pool)
        .await?;
        let row = sqlx::query!("select key_id, wrapped, wrapped_by from person_key where person = $1", person.uuid())
            .fetch_one(pool)
            .await?;
        let key = self.unwrap(person, row.key_id, &row.wrapped_by, &row.wrapped)?;
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(person, key.clone());
        Ok(key)
    }

    /// Forgets a person's key.
    pub(crate) fn forget(&self, person: UserId) {
        self.remembered().remove(&person);
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<UserId, PersonKey>> {
        self.inner.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrap(&self, person: UserId, id: Uuid, clear: &[u8]) -> Result<(String, Vec<u8>), SealError> {
        let (name, wrapping) = self.first().ok_or(SealError::Cipher)?;
        let mut bytes = self.nonce()?.to_vec();
        let sealed = self.encrypt(wrapping, &bytes, wrap_aad(person, id), clear)?;
        bytes.extend(sealed);
        Ok((name.to_owned(), bytes))
    }

    /// The key that wraps, and its name.
    pub(crate) fn first(&self) -> Option<(&str, &LessSafeKey)> {
        self.inner.wrapping.first().map(|(name, key)| (name.as_str(), key))
    }

    /// A wrapped key as it is to stand from now on: the same one, wrapped by the first.
    pub(crate) fn wrapped_anew(
        &self,
        person: UserId,
        id: Uuid,
        (by, wrapped): (&str, &[u8]),
    ) -> Result<Vec<u8>, SealError> {
        let clear = self.clear(person, id, by, wrapped)?;
        Ok(self.wrap(person, id, &clear)?.1)
    }

    /// Opens a wrapped key as it stands in `person_key`.
    pub(crate) fn unwrap(&self, person: UserId, id: Uuid, by: &str, wrapped: &[u8]) -> Result<PersonKey, SealError> {
        let clear = self.clear(person, id, by, wrapped)?;
        Ok(PersonKey { id, key: Arc::new(cipher(&clear)?) })
    }

    fn clear(&self, person: UserId, id: Uuid, by: &str, wrapped: &[u8]) -> Result<[u8; KEY_BYTES], SealError> {
        let wrapping = self.inner.wrapping.iter().find(|(name, _)| name == by).map(|(_, key)| key);
        let wrapping = wrapping.ok_or_else(|| SealError::UnknownWrappingKey(by.to_owned()))?;
        let (nonce, sealed) = wrapped.split_at_checked(NONCE_LEN).ok_or(SealError::Cipher)?;
        let clear = decrypt(wrapping, nonce, wrap_aad(person, id), sealed)?;
        clear.try_into().map_err(|_| SealError::Cipher)
    }

    /// Seals the fields of one event or state.
    pub(crate) fn seal(
        &self,
        key: &PersonKey,
        (log, person): (Log, UserId),
        place: &Place<'_>,
        fields: &Map<String, Value>,
    ) -> Result<Vec<u8>, SealError> {
        let clear = serde_json::to_vec(fields).map_err(SealError::Shape)?;
        let nonce = self.nonce()?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + clear.len() + 16);
        bytes.push(FORMAT);
        bytes.extend(key.id.as_bytes());
        bytes.extend(nonce);
        bytes.extend(self.encrypt(&key.key, &nonce, aad(log, person, key.id, place), &clear)?);
        Ok(bytes)
    }

    /// Opens what [`Sealer::seal`] sealed.
    pub(crate) fn open(
        &self,
        key: &PersonKey,
        (log, person): (Log, UserId),
        place: &Place<'_>,
        bytes: &[u8],
    ) -> Result<Map<String, Value>, SealError> {
        let (header, sealed) = bytes.split_at_checked(HEADER_BYTES).ok_or(SealError::Cipher)?;
        let (format, header) = header.split_first().ok_or(SealError::Cipher)?;
        let (id, nonce) = header.split_at_checked(16).ok_or(SealError::Cipher)?;
        if *format != FORMAT || id != key.id.as_bytes() {
            return Err(SealError::Cipher);
        }
        let clear = decrypt(&key.key, nonce, aad(log, person, key.id, place), sealed)?;
        serde_json::from_slice(&clear).map_err(SealError::Shape)
    }

    fn nonce(&self) -> Result<[u8; NONCE_LEN], SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        self.inner.random.fill(&mut nonce).map_err(|_| SealError::Cipher)?;
        Ok(nonce)
    }

    fn encrypt(&self, key: &LessSafeKey, nonce: &[u8], aad: String, clear: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Cipher)?;
        let mut bytes = clear.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut bytes).map_err(|_| SealError::Cipher)?;
        Ok(bytes)
    }
}

fn cipher(bytes: &[u8; KEY_BYTES]) -> Result<LessSafeKey, SealError> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::Cipher)?))
}

fn decrypt(key: &LessSafeKey, nonce: &[u8], aad: String, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Cipher)?;
    let mut bytes = sealed.to_vec();
    let clear = key.open_in_place(nonce, Aad::from(aad), &mut bytes).map_err(|_| SealError::Cipher)?;
    Ok(clear.to_vec())
}

fn wrap_aad(person: UserId, id: Uuid) -> String {
    format!("wrap|{person}|{id}")
}

fn aad(log: Log, person: UserId, key: Uuid, place: &Place<'_>) -> String {
    match place {
        Place::Event(id) => format!("event|{log}|{id}|{person}|{key}"),
        Place::State(stream, version) => format!("state|{log}|{stream}|{version}|{person}|{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Sealer};
    use kisum_events::{EventId, Log, UserId};
    use uuid::Uuid;

    fn sealer() -> Sealer {
        Sealer::new("1:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap()
    }

    fn user(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(n))
    }

    #[test]
    fn what_was_sealed_opens_only_for_its_person_and_place() {
        let sealer = sealer();
        let (name, wrapped) = sealer.wrap(user(1), Uuid::from_u128(9), &[3; 32]).unwrap();
        let key = sealer.unwrap(user(1), Uuid::from_u128(9), &name, &wrapped).unwrap();
        let fields = serde_json::json!({"email": "a@b.example"}).as_object().unwrap().clone();
        let here = Place::Event(EventId::new(Uuid::from_u128(5)));
        let elsewhere = Place::Event(EventId::new(Uuid::from_u128(6)));
        let sealed = sealer.seal(&key, (Log::Auth, user(1)), &here, &fields).unwrap();
        assert_eq!(sealer.open(&key, (Log::Auth, user(1)), &here, &sealed).unwrap(), fields);
        assert!(sealer.open(&key, (Log::Auth, user(1)), &elsewhere, &sealed).is_err());
        assert!(sealer.open(&key, (Log::Auth, user(2)), &here, &sealed).is_err());
        assert!(sealer.open(&key, (Log::Core, user(1)), &here, &sealed).is_err());
        assert!(sealer.unwrap(user(2), Uuid::from_u128(9), &name, &wrapped).is_err());
    }

    #[test]
    fn a_flipped_byte_does_not_open() {
        let sealer = sealer();
        let (name, wrapped) = sealer.wrap(user(1), Uuid::from_u128(9), &[3; 32]).unwrap();
        let key = sealer.unwrap(user(1), Uuid::from_u128(9), &name, &wrapped).unwrap();
        let place = Place::Event(EventId::new(Uuid::from_u128(5)));
        let sealed = sealer.seal(&key, (Log::Auth, user(1)), &place, &serde_json::Map::new()).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open(&key, (Log::Auth, user(1)), &place, &changed).is_err(), "byte {at}");
        }
    }
}
