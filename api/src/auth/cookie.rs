//! How a refresh token travels: in a cookie that scripts cannot read, or in a body, never in both.
//!
//! It owns the cookie's name and attributes, and the rule that a request carrying it must come from an allowed
//! origin. It refuses to know what the token is worth.

use super::tokens::RefreshToken;
use crate::shared::problem::{Problem, reason};
use http::{HeaderMap, HeaderValue, header};
use std::time::Duration;

/// The `__Host-` prefix makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis §4.1.3.2).
const NAME: &str = "__Host-kisum_refresh";

/// A refresh token as a request presented it.
#[derive(Debug)]
pub(super) struct Presented {
    /// The token.
    pub(super) token: RefreshToken,
    /// Whether it came in the cookie: then its successor goes back in the cookie.
    pub(super) by_cookie: bool,
}

/// Finds the refresh token of a request: none, one in the cookie, or one in the body.
///
/// # Errors
/// 400 for a cookie and a body together or for several cookies; 403 `bad_origin` for a cookie from an origin that is
/// not allowed; 401 for a text that is no refresh token.
pub(super) fn presented(
    headers: &HeaderMap,
    body: Option<String>,
    allowed: &[HeaderValue],
) -> Result<Option<Presented>, Problem> {
    let mut cookies = cookie_values(headers);
    let cookie = cookies.next();
    if cookies.next().is_some() {
        return Err(Problem::validation(format!("The cookie {NAME} is there more than once.")));
    }
    let (text, by_cookie) = match (cookie, body) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Problem::validation("Send the refresh token in the cookie or in the body, not in both."));
        }
        (Some(cookie), None) => {
            require_origin(headers, allowed)?;
            (cookie.to_owned(), true)
        }
        (None, Some(body)) => (body, false),
    };
    let token = text.parse().map_err(|_| Problem::unauthorized("The refresh token is not valid."))?;
    Ok(Some(Presented { token, by_cookie }))
}

/// Whether the request carries the cookie at all.
pub(super) fn is_sent(headers: &HeaderMap) -> bool {
    cookie_values(headers).next().is_some()
}

/// `Set-Cookie` that hands over a token for as long as it may live unused.
pub(super) fn give(token: &RefreshToken, max_age: Duration) -> Option<HeaderValue> {
    attributes(&token.reveal(), max_age.as_secs())
}

/// `Set-Cookie` that takes the token away.
pub(super) fn clear() -> Option<HeaderValue> {
    attributes("", 0)
}

fn attributes(value: &str, max_age: u64) -> Option<HeaderValue> {
    let cookie = format!("{NAME}={value}; Path=/; Max-Age={max_age}; HttpOnly; Secure; SameSite=Strict");
    let mut value = HeaderValue::try_from(cookie).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn cookie_values(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, value)| *name == NAME && !value.is_empty())
        .map(|(_, value)| value)
}

/// A browser adds the cookie by itself, whoever's page sends the request; `Origin` says whose it is.
fn require_origin(headers: &HeaderMap, allowed: &[HeaderValue]) -> Result<(), Problem> {
    match headers.get(header::ORIGIN) {
        Some(origin) if allowed.contains(origin) => Ok(()),
        Some(_) | None => Err(Problem::forbidden(reason::BAD_ORIGIN, "This origin may not use the refresh cookie.")),
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME, clear, give, presented};
    use crate::auth::tokens::{RefreshKey, RefreshToken};
    use http::{HeaderMap, HeaderName, HeaderValue, header};
    use std::time::Duration;

    const ORIGIN: &str = "https://app.kisum.example";

    fn token() -> RefreshToken {
        RefreshKey::new(&[7; 32]).first("0198c5a2-7b1e-7000-8000-000000000001".parse().unwrap()).unwrap()
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn status(headers: &HeaderMap, body: Option<String>) -> Result<Option<bool>, u16> {
        presented(headers, body, &[HeaderValue::from_static(ORIGIN)])
            .map(|found| found.map(|presented| presented.by_cookie))
            .map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn the_cookie_counts_only_from_an_allowed_origin() {
        let cookie = format!("theme=dark; {NAME}={}", token().reveal());
        assert_eq!(status(&headers(&[(header::COOKIE, &cookie), (header::ORIGIN, ORIGIN)]), None), Ok(Some(true)));
        assert_eq!(status(&headers(&[(header::COOKIE, &cookie)]), None), Err(403));
        for other in ["https://evil.example", "null", "https://app.kisum.example.evil.example"] {
            assert_eq!(status(&headers(&[(header::COOKIE, &cookie), (header::ORIGIN, other)]), None), Err(403));
        }
    }

    #[test]
    fn a_body_needs_no_origin_and_tolerates_no_cookie() {
        let cookie = format!("{NAME}={}", token().reveal());
        assert_eq!(status(&HeaderMap::new(), Some(token().reveal())), Ok(Some(false)));
        let both = headers(&[(header::COOKIE, &cookie), (header::ORIGIN, ORIGIN)]);
        assert_eq!(status(&both, Some(token().reveal())), Err(400));
        assert_eq!(status(&HeaderMap::new(), None), Ok(None));
        assert_eq!(status(&HeaderMap::new(), Some("nonsense".to_owned())), Err(401));
    }

    #[test]
    fn two_cookies_of_the_name_are_refused() {
        let cookie = format!("{NAME}={}; {NAME}={}", token().reveal(), token().reveal());
        assert_eq!(status(&headers(&[(header::COOKIE, &cookie), (header::ORIGIN, ORIGIN)]), None), Err(400));
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let given = give(&token(), Duration::from_secs(60)).unwrap();
        let given = given.to_str().unwrap();
        assert!(given.starts_with("__Host-kisum_refresh="));
        assert!(given.ends_with("; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Strict"));
        assert!(clear().unwrap().to_str().unwrap().starts_with("__Host-kisum_refresh=; Path=/; Max-Age=0;"));
    }
}
