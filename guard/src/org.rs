//! `x-org`: the only input that selects the company of a request (contract).
//!
//! It owns the form of the header. It refuses to know which companies exist, and there is no other way in: no query
//! parameter, no default.

use crate::problem::Problem;
use http::HeaderMap;
use kisum_events::{CompanyId, Slug};
use std::fmt;

/// The header's name.
pub const X_ORG: &str = "x-org";

/// A company as a request names it: checked in form before it becomes part of any key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum XOrg {
    /// By id.
    Id(CompanyId),
    /// By its readable name.
    Slug(Slug),
}

impl XOrg {
    /// Reads the header: exactly one, a UUID or `[a-z0-9-]{2,63}`.
    ///
    /// # Errors
    /// 400 `validation_error` when it is missing, stands twice, or is of another form.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut given = headers.get_all(X_ORG).iter();
        let (Some(value), None) = (given.next(), given.next()) else {
            return Err(Problem::validation("Send exactly one x-org header that names the company."));
        };
        value
            .to_str()
            .ok()
            .and_then(Self::parse)
            .ok_or_else(|| Problem::validation("The x-org header is neither a UUID nor a company's short name."))
    }

    /// Reads the header's text. A text of a UUID's form is a UUID, never a slug; other spellings of a UUID (without
    /// hyphens, in braces) are not taken for one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 36
            && let Ok(id) = text.parse()
        {
            return Some(Self::Id(id));
        }
        text.parse().ok().map(Self::Slug)
    }
}

impl fmt::Display for XOrg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Slug(slug) => slug.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{X_ORG, XOrg};
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_ORG, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_company_is_named_by_id_or_by_slug() {
        let by_id = XOrg::from_headers(&headers(&[b"018F3A5C-0000-7000-8000-000000000001"])).unwrap();
        assert!(matches!(by_id, XOrg::Id(_)));
        assert_eq!(by_id.to_string(), "018f3a5c-0000-7000-8000-000000000001");
        let by_slug = XOrg::from_headers(&headers(&[b"acme-live"])).unwrap();
        assert_eq!(by_slug.to_string(), "acme-live");
        // 32 hex digits are a possible slug.
        assert!(matches!(XOrg::parse("018f3a5c000070008000000000000001"), Some(XOrg::Slug(_))));
    }

    #[test]
    fn anything_but_one_well_formed_header_is_a_validation_error() {
        let cases: [&[&[u8]]; 10] = [
            &[],
            &[b"acme-live", b"acme-live"],
            &[b""],
            &[b"a"],
            &[b"Acme"],
            &[b"acme live"],
            &[b"acme:live"],
            &[b"acme-live,bright-books"],
            &[b"acm\xe9"],
            &[b"{018f3a5c-0000-7000-8000-000000000001}"],
        ];
        for case in cases {
            let problem = XOrg::from_headers(&headers(case)).unwrap_err();
            assert_eq!((problem.status, problem.code), (StatusCode::BAD_REQUEST, "validation_error"), "{case:?}");
        }
        assert!(XOrg::parse(&"a".repeat(64)).is_none());
    }
}
