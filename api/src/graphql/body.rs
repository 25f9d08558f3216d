//! The body of `POST /graphql`: one operation as a JSON object or, where that is allowed, an array of them.
//!
//! No page elsewhere can make a browser send one: a form cannot have the media type `application/json`, and neither can
//! a script without asking first.

use std::fmt;

use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use serde::Deserializer;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::request::Incoming;
use crate::body::Payload;
use crate::error::ApiError;

/// The one media type of a body.
const JSON: &str = "application/json";

/// What was sent.
#[derive(Debug)]
pub(super) enum Posted {
    /// One operation.
    One(Incoming),
    /// Several, to be answered in their order.
    Batch(Vec<Incoming>),
}

impl Posted {
    /// Reads a body. Who is asking is known by then: nobody else makes us take 24 MiB.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, or `TOO_LARGE`, with the status that HTTP has for it.
    pub(super) async fn read(request: Request, most_in_batch: usize) -> Result<Self, ApiError> {
        check_media_type(request.headers())?;
        let Payload(body) = Payload::from_request(request, &()).await?;
        Self::parse(&body, most_in_batch)
    }

    fn parse(body: &[u8], most_in_batch: usize) -> Result<Self, ApiError> {
        match body.trim_ascii_start().first() {
            None => Err(ApiError::invalid("the body is empty; send a JSON object with query")),
            Some(b'[') => batch(body, most_in_batch).map(Self::Batch),
            Some(_) => Incoming::read(body).map(Self::One),
        }
    }
}

fn batch(body: &[u8], most: usize) -> Result<Vec<Incoming>, ApiError> {
    if most == 0 {
        return Err(ApiError::invalid(
            "this server takes one operation per request: send a JSON object, not an array \
             (NUNCIO_GRAPHQL_BATCH would allow batches)",
        ));
    }
    // The parser's own words may repeat the body.
    let not_json = |_| ApiError::invalid("the body is not JSON");
    let mut json = serde_json::Deserializer::from_slice(body);
    let items = json.deserialize_seq(AtMost(most)).map_err(not_json)?;
    json.end().map_err(not_json)?;
    if !(1..=most).contains(&items.count) {
        let count = items.count;
        return Err(ApiError::invalid(format!(
            "the batch has {count} operations; this server takes 1 to {most} in a request (NUNCIO_GRAPHQL_BATCH)"
        )));
    }
    let read = |(at, item): (usize, &&RawValue)| {
        Incoming::read(item.get().as_bytes()).map_err(|mut error| {
            error.detail = format!("operation {at} of the batch: {}", error.detail);
            error
        })
    };
    items.kept.iter().enumerate().map(read).collect()
}

/// The items of an array. Those that are too many are counted and not kept.
struct Items<'a> {
    kept: Vec<&'a RawValue>,
    count: usize,
}

struct AtMost(usize);

impl<'de> Visitor<'de> for AtMost {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of operations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Items<'de>, A::Error> {
        let mut kept = Vec::with_capacity(self.0);
        while kept.len() < self.0 {
            let Some(item) = items.next_element()? else {
                return Ok(Items { count: kept.len(), kept });
            };
            kept.push(item);
        }
        let mut count = kept.len();
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Items { kept, count })
    }
}

/// Refuses everything but JSON in UTF-8, not compressed.
fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let unsupported =
        |detail: &str| Err(ApiError::invalid(detail).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    let text = text(headers, &CONTENT_TYPE);
    let mut parts = text.split(';').map(str::trim);
    if !parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case(JSON)) {
        return unsupported("send the request as Content-Type: application/json");
    }
    let parameters = parts.filter_map(|part| part.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let is_utf_8 = |charset: &str| ["utf-8", "utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name));
    if !charsets.all(|(_, charset)| is_utf_8(charset.trim().trim_matches('"'))) {
        return unsupported("send the request in UTF-8");
    }
    // A few kilobytes can become gigabytes.
    let encoding = self::text(headers, &CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return unsupported("send the request without Content-Encoding: compressed bodies are not taken");
    }
    Ok(())
}

/// What cannot be read counts as something else than what is asked for.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(all: &[(HeaderName, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn bodies_are_json_in_utf_8_and_not_compressed() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;CHARSET=\"UTF-8\"",
            "application/json; charset=utf8",
        ] {
            assert!(check_media_type(&headers(&[(CONTENT_TYPE, good)])).is_ok(), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "application/graphql",
            "text/plain;application/json",
            "application/json; charset=iso-8859-1",
        ] {
            let error = check_media_type(&headers(&[(CONTENT_TYPE, bad)])).expect_err(bad);
            assert_eq!(error.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{bad}");
        }
        for (encoding, good) in
            [("identity", true), ("gzip", false), ("br", false), ("identity, gzip", false)]
        {
            let all = headers(&[(CONTENT_TYPE, JSON), (CONTENT_ENCODING, encoding)]);
            assert_eq!(check_media_type(&all).is_ok(), good, "{encoding}");
        }
    }

    #[test]
    fn a_batch_has_a_limit_that_is_told() {
        let refused = |body: &str, most| Posted::parse(body.as_bytes(), most).expect_err(body).detail;
        let ten = format!("[{}]", [r#"{"query":"{a}"}"#; 10].join(","));
        assert!(matches!(Posted::parse(ten.as_bytes(), 10), Ok(Posted::Batch(all)) if all.len() == 10));
        assert!(refused(&ten, 9).starts_with("the batch has 10 operations; this server takes 1 to 9 "));
        assert!(refused(&ten, 0).starts_with("this server takes one operation per request"));
        assert!(refused("[]", 10).starts_with("the batch has 0 operations"));
        let endless = format!("[{}1]", "1,".repeat(100_000));
        assert!(refused(&endless, 10).starts_with("the batch has 100001 operations"));
        assert_eq!(
            refused(r#"[{"query":"{a}"},{"query":7}]"#, 10),
            "operation 1 of the batch: query must be a string"
        );
        for broken in ["[", "[1", "[] x", "[{\"query\":\"{a}\"}]]"] {
            assert_eq!(refused(broken, 10), "the body is not JSON", "{broken}");
        }
    }
}
