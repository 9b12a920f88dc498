//! The running platform as the command line sees it: addresses, and requests signed as `admin` or sent as a person.
//!
//! It owns how a request is made and what an answer looks like. It knows no route and no rule.

use crate::ambient;
use anyhow::{Context as _, Result, anyhow, bail};
use kisum_guard::ServiceSigner;
use reqwest::Method;
use serde_json::Value;
use std::{collections::BTreeMap, error::Error, fmt, time::Duration};
use uuid::Uuid;

/// Longest wait for one answer: well beyond the time that a service gives a request before it answers 408, so that what is
/// heard of a slow one is its own word.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a platform is, and what the command line needs to speak to it: the variables of `.kisum/env`.
#[derive(Clone)]
pub struct Addresses {
    /// `ENVIRONMENT`: part of every service token.
    pub environment: String,
    /// `AUTH_URL`: Auth's public listener.
    pub auth: String,
    /// `AUTH_INTERNAL_URL`: Auth's internal listener.
    pub auth_internal: String,
    /// `CORE_INTERNAL_URL`: Core's only listener.
    pub core_internal: String,
    /// `BASIC_URL`: Basic's public listener.
    pub basic: String,
    /// `FINANCE_URL`: Finance's public listener.
    pub finance: String,
    /// `REDIS_URL`, with the administrator's credentials; only the smoke check needs it.
    pub redis: String,
    /// `DEMO_PASSWORD`: of every person of the demo.
    pub demo_password: String,
    /// `DEMO_ADMIN_TOTP_SECRET`: of the platform's first owner, base32.
    pub demo_admin_totp_secret: String,
    /// `ADMIN_PRIVATE_KEY`: the key that the caller `admin` signs its service tokens with, PEM.
    pub admin_private_key: String,
}

impl Addresses {
    /// Reads the variables; a value `file:/path` stands for the file's content.
    ///
    /// # Errors
    /// Names every variable that is missing, or the file that cannot be read.
    pub fn from_variables(variables: &BTreeMap<String, String>) -> Result<Self> {
        let mut missing = Vec::new();
        let mut take = |name: &'static str| match variables.get(name) {
            Some(value) if !value.is_empty() => value.clone(),
            _ => {
                missing.push(name);
                String::new()
            }
        };
        let mut addresses = Self {
            environment: variables.get("ENVIRONMENT").map_or("local", String::as_str).to_owned(),
            auth: take("AUTH_URL"),
            auth_internal: take("AUTH_INTERNAL_URL"),
            core_internal: take("CORE_INTERNAL_URL"),
            basic: take("BASIC_URL"),
            finance: take("FINANCE_URL"),
            redis: take("REDIS_URL"),
            demo_password: take("DEMO_PASSWORD"),
            demo_admin_totp_secret: take("DEMO_ADMIN_TOTP_SECRET"),
            admin_private_key: take("ADMIN_PRIVATE_KEY"),
        };
        if !missing.is_empty() {
            bail!("{} not set: is the platform running, and was `.kisum/env` sourced?", missing.join(", "));
        }
        for secret in [&mut addresses.demo_password, &mut addresses.admin_private_key] {
            if let Some(path) = secret.strip_prefix("file:") {
                *secret = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?.trim().to_owned();
            }
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").field("auth", &self.auth).finish_non_exhaustive()
    }
}

/// Whose internal listener a command goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// Auth.
    Auth,
    /// Core.
    Core,
}

impl Callee {
    const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Core => "core",
        }
    }
}

/// A running platform.
#[derive(Clone, Debug)]
pub struct Platform {
    http: reqwest::Client,
    addresses: Addresses,
    signer: ServiceSigner,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    method: Method,
    path: &'a str,
    body: Option<Value>,
    key: Option<Uuid>,
    from_position: Option<&'a str>,
    company: Option<&'a str>,
    actor: Option<&'a str>,
    address: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// A request for `path`, which begins with a slash.
    pub const fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, body: None, key: None, from_position: None, company: None, actor: None, address: None }
    }

    /// Reads.
    pub const fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path)
    }

    /// With a JSON body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Under an `Idempotency-Key`.
    #[must_use]
    pub const fn key(mut self, key: Uuid) -> Self {
        self.key = Some(key);
        self
    }

    /// To be answered from that `X-Access-Position` or later.
    #[must_use]
    pub const fn from_position(mut self, position: Option<&'a str>) -> Self {
        self.from_position = position;
        self
    }

    /// For the person whose access token this is.
    #[must_use]
    pub const fn actor(mut self, token: &'a str) -> Self {
        self.actor = Some(token);
        self
    }

    /// From a client at that address, as a proxy tells it (`X-Forwarded-For`); it counts where that proxy is trusted.
    #[must_use]
    pub const fn through_proxy_from(mut self, address: &'a str) -> Self {
        self.address = Some(address);
        self
    }

    /// In the company that `x-org` names.
    #[must_use]
    pub const fn company(mut self, company: &'a str) -> Self {
        self.company = Some(company);
        self
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked, for messages.
    pub asked: String,
    /// The status.
    pub status: u16,
    /// The body as JSON; null when there is none.
    pub body: Value,
    /// `X-Access-Position`, where the answer carries it.
    pub position: Option<String>,
}

impl Answer {
    /// Whether it went well.
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// The problem's code, empty when there is none.
    pub fn code(&self) -> &str {
        self.body.pointer("/error/code").and_then(Value::as_str).unwrap_or_default()
    }

    /// The problem's reason, empty when there is none.
    pub fn reason(&self) -> &str {
        self.body.pointer("/error/reason").and_then(Value::as_str).unwrap_or_default()
    }

    /// The problem's message, empty when there is none.
    pub fn message(&self) -> &str {
        self.body.pointer("/error/message").and_then(Value::as_str).unwrap_or_default()
    }

    /// `data` of a success.
    ///
    /// # Errors
    /// Names the request and what was answered instead.
    pub fn data(&self) -> Result<&Value> {
        if self.is_success() {
            Ok(self.body.get("data").unwrap_or(&Value::Null))
        } else {
            Err(self.unexpected("a success"))
        }
    }

    /// A text within `data`, by JSON pointer.
    ///
    /// # Errors
    /// As [`Self::data`], and when the text is not there.
    pub fn text(&self, pointer: &str) -> Result<String> {
        let value = self.data()?.pointer(pointer).and_then(Value::as_str);
        value.map(str::to_owned).ok_or_else(|| anyhow!("{}: the answer has no {pointer}", self.asked))
    }

    /// The error that says what was expected and what came.
    pub fn unexpected(&self, expected: &str) -> anyhow::Error {
        anyhow!("{}: expected {expected}, got {self}", self.asked)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for part in [self.code(), self.reason()].into_iter().filter(|part| !part.is_empty()) {
            write!(f, " {part}")?;
        }
        if self.message().is_empty() { Ok(()) } else { write!(f, " ({})", self.message()) }
    }
}

impl Platform {
    /// A platform at these addresses.
    ///
    /// # Errors
    /// When the administrator's key is no key, or no TLS roots can be loaded.
    pub fn new(addresses: Addresses) -> Result<Self> {
        let signer = ServiceSigner::new(&addresses.environment, "admin", &addresses.admin_private_key)
            .context("ADMIN_PRIVATE_KEY")?;
        let http = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build()?;
        Ok(Self { http, addresses, signer })
    }

    /// Where it is.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// A token with which `admin` asks one internal route once.
    pub fn service_token(&self, callee: Callee, method: &str, path: &str) -> String {
        self.signer.token(callee.name(), method, path, ambient::now())
    }

    /// Asks an internal route as the service `admin`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn internal(&self, callee: Callee, ask: Ask<'_>) -> Result<Answer> {
        let base = match callee {
            Callee::Auth => &self.addresses.auth_internal,
            Callee::Core => &self.addresses.core_internal,
        };
        let token = self.service_token(callee, ask.method.as_str(), ask.path);
        self.send(base, Some(&token), ask).await
    }

    /// Asks a public route, with a person's access token where there is one.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn public(&self, base: &str, token: Option<&str>, ask: Ask<'_>) -> Result<Answer> {
        self.send(base, token, ask).await
    }

    async fn send(&self, base: &str, token: Option<&str>, ask: Ask<'_>) -> Result<Answer> {
        let asked = format!("{} {}{}", ask.method, base.trim_end_matches('/'), ask.path);
        let mut request = self.http.request(ask.method, format!("{}{}", base.trim_end_matches('/'), ask.path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        if let Some(key) = ask.key {
            request = request.header("idempotency-key", key.to_string());
        }
        for (name, value) in [
            ("x-access-position", ask.from_position),
            ("x-org", ask.company),
            ("x-actor-token", ask.actor),
            ("x-forwarded-for", ask.address),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let response = request.send().await.with_context(|| format!("{asked}: no answer"))?;
        let status = response.status().as_u16();
        let position = response.headers().get("x-access-position").and_then(|value| value.to_str().ok());
        let position = position.map(str::to_owned);
        let bytes = response.bytes().await.with_context(|| format!("{asked}: the answer broke off"))?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).with_context(|| format!("{asked}: {status} with a body that is no JSON"))?
        };
        Ok(Answer { asked, status, body, position })
    }
}

/// 3 when a service did not answer at all.
pub fn exit_code(cause: &(dyn Error + 'static)) -> Option<u8> {
    let unanswered = |error: &&reqwest::Error| error.is_connect() || error.is_timeout();
    cause.downcast_ref::<reqwest::Error>().filter(unanswered).map(|_| 3)
}

/// Asks again until the answer is there or the time is over.
///
/// # Errors
/// The first error of `attempt`, or, when the time is over, what it said last.
pub async fn until<T, F>(limit: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Result<T, anyhow::Error>>>,
{
    /// Between two attempts: far below what is measured, far above what would load the services.
    const PAUSE: Duration = Duration::from_millis(5);
    let watch = ambient::Stopwatch::start();
    loop {
        match attempt().await? {
            Ok(value) => return Ok(value),
            Err(last) if watch.elapsed() >= limit => {
                return Err(last.context(format!("not within {} ms", limit.as_millis())));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Addresses, Answer};
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn every_missing_variable_is_named_at_once() {
        let variables = BTreeMap::from([("AUTH_URL".to_owned(), "http://127.0.0.1:1".to_owned())]);
        let error = Addresses::from_variables(&variables).unwrap_err().to_string();
        assert!(
            error.contains("AUTH_INTERNAL_URL, CORE_INTERNAL_URL") && error.contains("ADMIN_PRIVATE_KEY"),
            "{error}"
        );
        assert!(!error.contains("AUTH_URL,"), "{error}");
    }

    #[test]
    fn an_unexpected_answer_says_status_code_reason_and_message() {
        let body = json!({ "success": false,
            "error": { "code": "forbidden", "reason": "missing_permission", "message": "It needs finance.bills.create." } });
        let answer = Answer { asked: "GET http://finance/api/bills".to_owned(), status: 403, body, position: None };
        assert_eq!(
            answer.unexpected("200").to_string(),
            "GET http://finance/api/bills: expected 200, got 403 forbidden missing_permission \
             (It needs finance.bills.create.)"
        );
    }
}
