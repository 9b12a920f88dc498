//! Pages of a list: `limit` and an opaque `cursor` (contract, *HTTP*).
//!
//! It owns the limits, the cursor's form and the page. It refuses to know what is listed.

use super::problem::Problem;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

/// Items of a page when nobody asks for a number.
pub const LIMIT_DEFAULT: u16 = 50;
/// Items of a page at most.
pub const LIMIT_MAX: u16 = 200;
/// Characters of a cursor at most: it holds a key, not a document.
const CURSOR_LEN_MAX: usize = 512;

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

/// A page that was asked for; `K` is the key of the last item of the page before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// Items at most.
    pub limit: u16,
    /// The key after which the page begins.
    pub after: Option<K>,
}

impl PageQuery {
    /// What was asked for beside a list's own filters, which serde cannot read from a query through another struct.
    pub const fn new(limit: Option<u16>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// Checks what was asked for.
    ///
    /// # Errors
    /// 400 for a limit outside 1–200 or a cursor that is not ours.
    pub fn request<K: DeserializeOwned>(self) -> Result<PageRequest<K>, Problem> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::validation("The parameter limit is not a number from 1 to 200."));
        }
        let after = self.cursor.as_deref().map(decode).transpose()?;
        Ok(PageRequest { limit, after })
    }
}

fn decode<K: DeserializeOwned>(cursor: &str) -> Result<K, Problem> {
    let refused = || Problem::validation("The parameter cursor is not one that this list answered.");
    if cursor.len() > CURSOR_LEN_MAX {
        return Err(refused());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
    serde_json::from_slice(&bytes).map_err(|_| refused())
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
    pub fn of<R, K: Serialize>(mut rows: Vec<R>, limit: u16, key: impl Fn(&R) -> K, view: impl Fn(R) -> T) -> Self {
        let more = rows.len() > usize::from(limit);
        rows.truncate(usize::from(limit));
        let last = rows.last().filter(|_| more).and_then(|row| serde_json::to_vec(&key(row)).ok());
        let next_cursor = last.map(|json| URL_SAFE_NO_PAD.encode(json));
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

    #[test]
    fn a_page_names_the_next_one_only_while_there_is_one() {
        let page = Page::of(vec![1, 2, 3], 2, |row| *row, |row| row);
        assert_eq!(page.items, [1, 2]);
        let query = PageQuery { limit: Some(2), cursor: page.next_cursor };
        let next: PageRequest<i32> = query.request().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(next, PageRequest { limit: 2, after: Some(2) });
        assert_eq!(Page::of(vec![3], 2, |row| *row, |row| row).next_cursor, None);
    }

    #[test]
    fn a_limit_or_cursor_out_of_form_is_refused() {
        for limit in [0, 201, u16::MAX] {
            assert!(PageQuery { limit: Some(limit), cursor: None }.request::<i32>().is_err(), "{limit}");
        }
        for cursor in ["", "%%", "bm9uc2Vuc2U", &"a".repeat(513)] {
            assert!(PageQuery { limit: None, cursor: Some(cursor.to_owned()) }.request::<i32>().is_err(), "{cursor}");
        }
    }
}
