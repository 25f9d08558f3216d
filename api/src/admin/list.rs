//! Lists: `?limit=&pageToken=` → `{"items":[…],"nextPageToken"}`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;

/// How many items a page has where the reader does not say.
const DEFAULT_LIMIT: usize = 50;
/// The most items of a page.
const MAX_LIMIT: usize = 200;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// How many items at most: 1 to 200, 50 where it is left out.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
    /// `nextPageToken` of the page before.
    page_token: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<T> {
    /// The items.
    items: Vec<T>,
    /// Names the next page; null on the last.
    next_page_token: Option<String>,
}

impl Paging {
    /// How many items.
    ///
    /// # Errors
    /// `INVALID_REQUEST` where `limit` is out of range.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = &self.limit else { return Ok(DEFAULT_LIMIT) };
        let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| wrong("limit", format!("must be a whole number from 1 to {MAX_LIMIT}")))
    }

    /// The key of the last item of the page before: a text.
    ///
    /// # Errors
    /// `INVALID_REQUEST` where the token was made up.
    pub(super) fn after_text(&self) -> Result<String, ApiError> {
        let Some(token) = &self.page_token else { return Ok(String::new()) };
        let key = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        key.filter(|key| !key.contains('\0')).ok_or_else(made_up)
    }

    /// The key of the last item of the page before: a number.
    ///
    /// # Errors
    /// `INVALID_REQUEST` where the token was made up.
    pub(super) fn after_number(&self) -> Result<i64, ApiError> {
        match self.after_text()?.as_str() {
            "" => Ok(0),
            text => text.parse().map_err(|_| made_up()),
        }
    }
}

impl<T> List<T> {
    /// A page of rows that were asked for with one more than `limit`: the one more tells that there is a next page.
    pub(super) fn of<R>(
        mut rows: Vec<R>,
        limit: usize,
        key: impl Fn(&R) -> String,
        item: impl Fn(R) -> T,
    ) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_page_token = rows.last().filter(|_| more).map(|row| URL_SAFE_NO_PAD.encode(key(row)));
        Self { items: rows.into_iter().map(item).collect(), next_page_token }
    }
}

fn made_up() -> ApiError {
    wrong("pageToken", "is not one that was given out".to_owned())
}

fn wrong(field: &str, message: String) -> ApiError {
    ApiError::invalid("the query is not good").field(field, message)
}
