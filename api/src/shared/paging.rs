//! Pages of a list: `limit` and an opaque `cursor` (contract, *HTTP*).
//!
//! It owns the limits, the cursor's form and the page. A cursor is good for the list that answered it alone: the same
//! list, of the same company or person, under the same filters; any other is refused, whatever it would find. It refuses
//! to know what is listed.

use super::{extract::holds_escaped_nul, problem::Problem};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;
use utoipa::{IntoParams, ToSchema};

/// Items of a page when nobody asks for a number.
pub const LIMIT_DEFAULT: u16 = 50;
/// Items of a page at most.
pub const LIMIT_MAX: u16 = 200;
/// Characters of a cursor at most: it holds a key, not a document.
const CURSOR_LEN_MAX: usize = 512;
/// Bytes of a list's mark. A cursor that goes astray meets the mark of another list once in 2^72; whoever makes one on
/// purpose gains nothing, since a cursor selects no company and gives no right.
const MARK_LEN: usize = 9;

/// Which page is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items of the page, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
    /// Where the page before ended, as that page's `nextCursor` says.
    cursor: Option<String>,
}

/// A list as far as a cursor of it goes: its name, whose it is, and what is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOf {
    mark: String,
}

impl ListOf {
    /// The list `name` of `whose`, such as a company's id, under `filters`.
    pub fn new(name: &str, whose: impl fmt::Display, filters: &impl Serialize) -> Self {
        // What cannot be written as JSON is no filter of ours; it then marks the list as unfiltered, and no more.
        let filters = serde_json::to_string(filters).unwrap_or_default();
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{name}|{whose}|{filters}").as_bytes());
        Self { mark: URL_SAFE_NO_PAD.encode(digest.as_ref().get(..MARK_LEN).unwrap_or_default()) }
    }
}

/// A page that was asked for; `K` is the key of the last item of the page before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// Items at most.
    pub limit: u16,
    /// The key after which the page begins.
    pub after: Option<K>,
    of: ListOf,
}

impl PageQuery {
    /// What was asked for beside a list's own filters, which serde cannot read from a query through another struct.
    pub const fn new(limit: Option<u16>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// Checks what was asked for of a list.
    ///
    /// # Errors
    /// 400 for a limit outside 1–200 or a cursor that this list did not answer.
    pub fn request<K: DeserializeOwned>(self, of: ListOf) -> Result<PageRequest<K>, Problem> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::validation("The parameter limit is not a number from 1 to 200."));
        }
        let after = self.cursor.as_deref().map(|cursor| decode(cursor, &of)).transpose()?;
        Ok(PageRequest { limit, after, of })
    }
}

fn decode<K: DeserializeOwned>(cursor: &str, of: &ListOf) -> Result<K, Problem> {
    let refused = || Problem::validation("The parameter cursor is not one that this list answered.");
    if cursor.len() > CURSOR_LEN_MAX {
        return Err(refused());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
    if holds_escaped_nul(&bytes) {
        return Err(refused());
    }
    let (mark, key): (String, K) = serde_json::from_slice(&bytes).map_err(|_| refused())?;
    if mark == of.mark { Ok(key) } else { Err(refused()) }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Send it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of rows that were read with one more than the limit: the extra one says that there are more.
    pub fn of<R, K: Serialize>(
        mut rows: Vec<R>,
        request: &PageRequest<K>,
        key: impl Fn(&R) -> K,
        view: impl Fn(R) -> T,
    ) -> Self {
        let limit = usize::from(request.limit);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more).map(|row| (&request.of.mark, key(row)));
        let next_cursor = last.and_then(|last| serde_json::to_vec(&last).ok()).map(|json| URL_SAFE_NO_PAD.encode(json));
        Self { items: rows.into_iter().map(view).collect(), next_cursor }
    }
}

impl<K> PageRequest<K> {
    /// Rows to read: one more than the page holds.
    pub fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(whose: &str, filter: Option<&str>) -> ListOf {
        ListOf::new("numbers", whose, &filter)
    }

    fn asked(cursor: Option<String>, of: ListOf) -> Result<PageRequest<i32>, Problem> {
        PageQuery { limit: Some(2), cursor }.request(of)
    }

    #[test]
    fn a_page_names_the_next_one_only_while_there_is_one() {
        let first = asked(None, list("a", None)).unwrap_or_else(|e| panic!("{e}"));
        let page = Page::of(vec![1, 2, 3], &first, |row| *row, |row| row);
        assert_eq!(page.items, [1, 2]);
        let next = asked(page.next_cursor, list("a", None)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(next, PageRequest { limit: 2, after: Some(2), of: list("a", None) });
        assert_eq!(Page::of(vec![3], &next, |row| *row, |row| row).next_cursor, None);
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_alone() {
        let first = asked(None, list("a", Some("x"))).unwrap_or_else(|e| panic!("{e}"));
        let cursor = Page::of(vec![1, 2, 3], &first, |row| *row, |row| row).next_cursor;
        assert!(asked(cursor.clone(), list("a", Some("x"))).is_ok());
        let others =
            [list("b", Some("x")), list("a", Some("y")), list("a", None), ListOf::new("more", "a", &Some("x"))];
        for other in others {
            assert!(asked(cursor.clone(), other).is_err());
        }
    }

    #[test]
    fn a_limit_or_cursor_out_of_form_is_refused() {
        for limit in [0, 201, u16::MAX] {
            let asked = PageQuery { limit: Some(limit), cursor: None }.request::<i32>(list("a", None));
            assert!(asked.is_err(), "{limit}");
        }
        for cursor in ["", "%%", "bm9uc2Vuc2U", "Mg", &"a".repeat(513)] {
            assert!(asked(Some(cursor.to_owned()), list("a", None)).is_err(), "{cursor}");
        }
    }
}
