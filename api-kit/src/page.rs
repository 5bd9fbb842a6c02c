//! Lists a page at a time, by key and not by number, so that nothing is skipped or shown twice
//! while rows are added.

use axum::Json;
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike as _, Utc};
use event_schemas::ids::StoreId;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::params::sane_year;
use crate::problem::{FieldError, Problem};

/// Characters of a cursor; ours have about 150.
const MAX_CURSOR_CHARS: usize = 2048;
/// Form of the cursors. Raise it when the order of a list changes, and old ones are refused.
const CURSOR_VERSION: u8 = 1;

/// Rows of a page: 1 to 100, 20 unless the client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = u16, minimum = 1, maximum = 100, default = 20)]
pub struct Limit(u16);

impl Limit {
    pub const MAX: u16 = 100;

    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Limit {
        Limit(20)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Limit, D::Error> {
        let limit = u16::deserialize(from)?;
        if (1..=Limit::MAX).contains(&limit) {
            return Ok(Limit(limit));
        }
        Err(D::Error::custom("must be from 1 to 100"))
    }
}

/// One page of a list and the way to its neighbours.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    pub page: PageLinks,
}

/// The way to the neighbours of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PageLinks {
    /// Whether there is a page after this one.
    pub has_more: bool,
    /// Pass as `after` to get the next page.
    pub next: Option<String>,
    /// Pass as `before` to get the page before. May lead to an empty page.
    pub prev: Option<String>,
}

/// Which page of which list a client asks for.
#[derive(Clone, Debug)]
pub struct Paging {
    limit: Limit,
    cursor: Option<String>,
    backward: bool,
    store_id: StoreId,
    list: &'static str,
}

/// What a cursor holds. Not secret and not trusted: the store of the token decides what is seen.
#[derive(Deserialize, Serialize)]
struct Cursor {
    v: u8,
    list: String,
    store: StoreId,
    key: Value,
}

impl Paging {
    /// `limit`, `after` and `before` as in the query, `list` the name of the list, so that a cursor
    /// of another one is refused. `422` if both `after` and `before` are given.
    pub fn new(
        limit: Limit,
        after: Option<String>,
        before: Option<String>,
        store_id: StoreId,
        list: &'static str,
    ) -> Result<Paging, Problem> {
        if after.is_some() && before.is_some() {
            let error = FieldError::parameter("before", "conflict", "not together with after");
            return Err(Problem::new("validation_failed").error(error));
        }
        let backward = before.is_some();
        Ok(Paging { limit, cursor: after.or(before), backward, store_id, list })
    }

    /// How many rows to select: one more than shown, to know whether there are more.
    pub fn rows(&self) -> i64 {
        i64::from(self.limit.0) + 1
    }

    /// Whether to select against the order of the list, from the key on.
    pub fn backward(&self) -> bool {
        self.backward
    }

    /// The key to begin after (or before), none on the first page. `400 bad_cursor` if the cursor
    /// is not one this list gave this store.
    pub fn key<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let key = read_cursor(text, self.store_id, self.list);
        let key = key.and_then(|key| serde_json::from_value(key).ok());
        key.map(Some).ok_or_else(|| Problem::new("bad_cursor"))
    }

    /// A cursor for the rows after `key`: of a list that also goes on where it found nothing.
    pub fn cursor(&self, key: &impl Serialize) -> String {
        write_cursor(self.store_id, self.list, key)
    }

    /// The page of the selected `rows`, at most [`Paging::rows`] of them, in the order they were
    /// selected. `key` is what the list is ordered by, without ties.
    pub fn page<T, K: Serialize>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Page<T> {
        let shown = usize::from(self.limit.0);
        let beyond = rows.len() > shown;
        rows.truncate(shown);
        if self.backward {
            rows.reverse();
        }
        let came_from = self.cursor.is_some();
        let (has_more, has_prev) =
            if self.backward { (came_from, beyond) } else { (beyond, came_from) };
        let cursor = |row: &T| write_cursor(self.store_id, self.list, &key(row));
        let next = rows.last().filter(|_| has_more).map(cursor);
        let prev = rows.first().filter(|_| has_prev).map(cursor);
        Page { data: rows, page: PageLinks { has_more: next.is_some(), next, prev } }
    }
}

fn write_cursor(store: StoreId, list: &str, key: &impl Serialize) -> String {
    let key = serde_json::to_value(key).expect("a key is JSON");
    let cursor = Cursor { v: CURSOR_VERSION, list: list.to_owned(), store, key };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).expect("a cursor is JSON"))
}

fn read_cursor(text: &str, store: StoreId, list: &str) -> Option<Value> {
    if text.len() > MAX_CURSOR_CHARS {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let cursor: Cursor = serde_json::from_slice(&bytes).ok()?;
    let ours = cursor.v == CURSOR_VERSION && cursor.list == list && cursor.store == store;
    (ours && harmless(&cursor.key)).then_some(cursor.key)
}

/// Whether PostgreSQL can take every value of a forged key.
fn harmless(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let year = text.parse::<DateTime<Utc>>().map(|time| time.year());
            !text.contains('\0') && year.is_ok_and(sane_year) | year.is_err()
        }
        Value::Array(items) => items.iter().all(harmless),
        Value::Object(members) => members.values().all(harmless),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

impl PageLinks {
    /// `Link` of RFC 8288 for the page at `uri`; none if the page stands alone.
    pub(crate) fn header(&self, uri: &Uri) -> Option<HeaderValue> {
        let rest: Vec<&str> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !matches!(pair.split('=').next(), Some("after" | "before" | "")))
            .collect();
        let link = |name: &str, cursor: &String, rel: &str| {
            let own = format!("{name}={cursor}");
            let query = [rest.as_slice(), &[own.as_str()]].concat().join("&");
            format!("<{}?{query}>; rel=\"{rel}\"", uri.path())
        };
        let next = self.next.iter().map(|cursor| link("after", cursor, "next"));
        let prev = self.prev.iter().map(|cursor| link("before", cursor, "prev"));
        let links: Vec<String> = next.chain(prev).collect();
        (!links.is_empty()).then(|| HeaderValue::try_from(links.join(", ")).ok()).flatten()
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let links = self.page.clone();
        let mut response = Json(self).into_response();
        // For the edge, which knows the whole address and writes the `Link` header.
        response.extensions_mut().insert(links);
        response
    }
}

#[cfg(test)]
mod tests;
