//! People of the demo who sign in for the check, and out again.

use crate::platform::{Ask, Platform};
use anyhow::Result;
use reqwest::Method;
use serde_json::json;

/// Holds module `finance` and `finance.bills.read` in the company, nothing else.
pub(super) const USER: &str = "user@acme-live.example";
/// Holds everything there.
pub(super) const SUPERADMIN: &str = "superadmin@acme-live.example";
/// The company.
pub(super) const COMPANY: &str = "acme-live";

/// A person who is signed in.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    /// Their access token.
    pub(super) token: String,
    /// Who they are.
    pub(super) user_id: String,
}

/// Signs in, always with a new session, and remembers to sign out.
pub(super) async fn sign_in(platform: &Platform, email: &str, signed: &mut Vec<Signed>) -> Result<Signed> {
    let addresses = platform.addresses();
    let body = json!({ "email": email, "password": addresses.demo_password, "client": "native" });
    let answer = platform.public(&addresses.auth, None, Ask::new(Method::POST, "/auth/login").body(body)).await?;
    let person = Signed { token: answer.text("/accessToken")?, user_id: answer.text("/user/id")? };
    signed.push(person.clone());
    Ok(person)
}

/// Ends the sessions of the check; one that it ended itself answers 401, which is as good.
pub(super) async fn sign_out(platform: &Platform, signed: Vec<Signed>) -> Result<()> {
    let auth = &platform.addresses().auth;
    for person in signed {
        let ask = Ask::new(Method::POST, "/auth/logout").body(json!({}));
        let answer = platform.public(auth, Some(&person.token), ask).await?;
        if !answer.is_success() && answer.status != 401 {
            return Err(answer.unexpected("the end of the session"));
        }
    }
    Ok(())
}
