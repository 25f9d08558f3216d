//! Where credentials stand in a request.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::{ADMIN_KEY, API_KEY};
use crate::error::ApiError;

/// The text after `Bearer` in the `Authorization` header (RFC 6750, section 2.1).
///
/// # Errors
/// Where there are two such headers, as a proxy and Nuncio might then believe different ones; or another scheme.
pub(super) fn from_header(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::unauthenticated("the request has more than one Authorization header"));
    }
    let (scheme, text) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::unauthenticated(
            "the Authorization header must be: Bearer, a space, and a key or token",
        ));
    }
    Ok(Some(text.trim()))
}

/// The token in `?access_token=` (RFC 6750, section 2.3).
///
/// # Errors
/// Where it is a key: a URL ends up in logs and histories, and a key stays good for long.
pub(super) fn from_query(query: Option<&str>) -> Result<Option<String>, ApiError> {
    let pairs = crate::query::pairs(query.unwrap_or_default());
    let mut tokens = pairs.filter(|(name, _)| name == "access_token").map(|(_, value)| value.into_owned());
    let Some(token) = tokens.next() else { return Ok(None) };
    if tokens.next().is_some() {
        return Err(ApiError::unauthenticated("access_token is given twice"));
    }
    if token.starts_with(API_KEY) || token.starts_with(ADMIN_KEY) {
        return Err(ApiError::unauthenticated(
            "a key must not stand in a URL: make a new key, and use a token here",
        ));
    }
    Ok(Some(token))
}

/// There are no credentials at all.
pub(super) fn missing() -> ApiError {
    ApiError::unauthenticated(
        "the request needs an Authorization header: Bearer, a space, and a key or token",
    )
}
