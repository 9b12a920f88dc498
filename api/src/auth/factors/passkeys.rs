//! Passkeys (WebAuthn): what a browser is asked, and whether its answer is good.
//!
//! It owns the relying party, its origins, and the one ceremony there is for signing in and stepping up: the challenge is
//! kept, the credential is always the one that the person's state holds now, so that a counter that goes back is seen
//! whichever process was asked. User verification is always required: a passkey counts for two factors. It refuses to
//! keep anything.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use kisum_domains::User;
use kisum_events::{FactorId, FactorKind, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use webauthn_rs::prelude::{
    CredentialID, DiscoverableAuthentication, DiscoverableKey, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Webauthn, WebauthnBuilder, WebauthnError,
};

/// What people see the relying party called.
const RP_NAME: &str = "Kisum";

/// The relying party.
#[derive(Clone)]
pub(in crate::auth) struct Passkeys(Arc<Webauthn>);

/// What was asked when a passkey is to be used.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::auth) struct Asked(DiscoverableAuthentication);

/// What was asked when a passkey is to be added.
#[derive(Serialize, Deserialize)]
pub(in crate::auth) struct AskedToRegister(PasskeyRegistration);

/// What a browser's authenticator answered.
#[derive(Clone)]
pub(in crate::auth) struct Assertion(PublicKeyCredential);

/// An answer that is not good; why is for the log alone.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum PasskeyError {
    /// Not of the form that the standard has.
    #[error("it is not of the standard's form")]
    Form(#[from] serde_json::Error),
    /// Not a proof.
    #[error("it proves nothing")]
    Refused(#[from] WebauthnError),
    /// Of a credential that the person does not have.
    #[error("it is of no passkey of this person")]
    Unknown,
}

impl Assertion {
    /// Reads a browser's `PublicKeyCredential` in its JSON form.
    ///
    /// # Errors
    /// [`PasskeyError::Form`].
    pub(in crate::auth) fn read(credential: Map<String, Value>) -> Result<Self, PasskeyError> {
        Ok(Self(serde_json::from_value(Value::Object(credential))?))
    }

    /// Who it says it is, which a signature has yet to show.
    pub(in crate::auth) fn user(&self) -> Option<UserId> {
        let handle = self.0.get_user_unique_id()?;
        uuid::Uuid::from_slice(handle).ok().map(UserId::new)
    }
}

impl Passkeys {
    /// The relying party of a domain. Pages of `https://{domain}` may use it, and those of the origins that are within
    /// the domain.
    ///
    /// # Errors
    /// When the domain is none.
    pub(in crate::auth) fn new(domain: &str, origins: &[HeaderValue]) -> Result<Self, WebauthnError> {
        let own = Url::parse(&format!("https://{domain}")).map_err(|_| WebauthnError::Configuration)?;
        let mut builder = WebauthnBuilder::new(domain, &own)?.rp_name(RP_NAME);
        for origin in origins.iter().filter_map(|origin| Url::parse(origin.to_str().ok()?).ok()) {
            let host = origin.host_str().unwrap_or_default();
            if host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')) {
                builder = builder.append_allowed_origin(&origin);
            }
        }
        builder.build().map(Arc::new).map(Self)
    }

    /// Asks for a passkey: one of this person's, or any that the browser finds.
    ///
    /// # Errors
    /// When the challenge cannot be made.
    pub(in crate::auth) fn ask(&self, person: Option<&User>) -> Result<(Value, Asked), PasskeyError> {
        let (mut options, asked) = self.0.start_discoverable_authentication()?;
        // Whether the browser offers passkeys unasked is the page's decision.
        options.mediation = None;
        let mut options = public_key(&options)?;
        if let Some(user) = person {
            let allowed = held(user).map(|(_, passkey)| described(passkey.cred_id())).collect();
            options.insert("allowCredentials".to_owned(), Value::Array(allowed));
        }
        Ok((Value::Object(options), Asked(asked)))
    }

    /// Checks an answer. Says which passkey it is, and how that is to be kept from now on where it has changed.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub(in crate::auth) fn check(
        &self,
        (id, user): (UserId, &User),
        assertion: &Assertion,
        asked: &Asked,
    ) -> Result<(FactorId, Option<String>), PasskeyError> {
        if assertion.0.get_user_unique_id().is_some() && assertion.user() != Some(id) {
            return Err(PasskeyError::Unknown);
        }
        let is_meant = |passkey: &Passkey| passkey.cred_id().as_slice() == assertion.0.get_credential_id();
        let (factor, mut passkey) = held(user).find(|(_, it)| is_meant(it)).ok_or(PasskeyError::Unknown)?;
        let key = DiscoverableKey::from(&passkey);
        let result = self.0.finish_discoverable_authentication_v2(&assertion.0, asked.0.clone(), &key)?;
        let has_changed = passkey.update_credential(&result).unwrap_or(false);
        let changed = has_changed.then(|| serde_json::to_string(&passkey)).transpose()?;
        Ok((factor, changed))
    }

    /// Asks for a new passkey.
    ///
    /// # Errors
    /// When the challenge cannot be made.
    pub(in crate::auth) fn ask_to_register(
        &self,
        id: UserId,
        user: &User,
    ) -> Result<(Value, AskedToRegister), PasskeyError> {
        let text = |sealed: Option<&String>| sealed.cloned().unwrap_or_default();
        let had = held(user).map(|(_, passkey)| passkey.cred_id().clone()).collect();
        let (email, name) = (text(user.email.get()), text(user.name.get()));
        let (options, asked) = self.0.start_passkey_registration(id.uuid(), &email, &name, Some(had))?;
        let mut options = public_key(&options)?;
        if let Some(Value::Object(selection)) = options.get_mut("authenticatorSelection") {
            // So that it can be found without an address (WebAuthn §5.4.6); an authenticator without room may refuse.
            selection.insert("residentKey".to_owned(), json!("preferred"));
        }
        Ok((Value::Object(options), AskedToRegister(asked)))
    }

    /// Checks a new passkey. Answers with what is to be kept of it.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub(in crate::auth) fn register(
        &self,
        credential: Map<String, Value>,
        asked: &AskedToRegister,
    ) -> Result<String, PasskeyError> {
        let credential: RegisterPublicKeyCredential = serde_json::from_value(Value::Object(credential))?;
        let passkey = self.0.finish_passkey_registration(&credential, &asked.0)?;
        Ok(serde_json::to_string(&passkey)?)
    }
}

/// The person's passkeys. One that cannot be read is none.
fn held(user: &User) -> impl Iterator<Item = (FactorId, Passkey)> {
    let passkeys = user.factors_of(FactorKind::Passkey);
    passkeys.filter_map(|(factor, material)| Some((factor.id, serde_json::from_str(&material.secret).ok()?)))
}

fn described(id: &CredentialID) -> Value {
    json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(id) })
}

/// What stands under `publicKey`.
fn public_key(options: &impl Serialize) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::to_value(options)? {
        Value::Object(mut options) => match options.remove("publicKey") {
            Some(Value::Object(options)) => Ok(options),
            _ => Ok(Map::new()),
        },
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Assertion, Passkeys};
    use http::HeaderValue;

    fn origins(passkeys: &Passkeys) -> Vec<String> {
        passkeys.0.get_allowed_origins().iter().map(|url| url.as_str().trim_end_matches('/').to_owned()).collect()
    }

    #[test]
    fn only_origins_within_the_domain_may_use_its_passkeys() {
        let named = ["https://app.kisum.example", "https://evilkisum.example", "https://kisum.example.evil.example"];
        let passkeys = Passkeys::new("kisum.example", &named.map(HeaderValue::from_static)).unwrap();
        assert_eq!(origins(&passkeys), ["https://kisum.example", "https://app.kisum.example"]);
        assert!(Passkeys::new("no domain", &[]).is_err());
    }

    #[test]
    fn an_answer_of_another_form_is_none() {
        let none = serde_json::json!({ "id": 1 });
        assert!(Assertion::read(none.as_object().cloned().unwrap()).is_err());
    }
}
