//! What a client is willing to take, by its `Accept` headers (RFC 9110, section 12.5.1).

use std::cmp::Reverse;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The media types that a client takes, and how much it wants each.
#[derive(Debug)]
pub(crate) struct Accept(Vec<Range>);

/// One entry: `text/html;level=1;q=0.5`, `text/*`, `*/*`.
#[derive(Debug)]
struct Range {
    /// In lower case.
    kind: String,
    weight: Weight,
}

/// A `q` in thousandths.
type Weight = u16;

/// How much a media type is wanted: by the weight of the entry that matches it best, then by how well that one matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    weight: Weight,
    closeness: Closeness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Anything,
    AnySubtype,
    Named,
}

impl Accept {
    /// What the headers say. Without any that can be read a client takes everything.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges = values.flat_map(|value| split(value, b',')).filter_map(Range::parse);
        let mut ranges: Vec<_> = ranges.collect();
        if ranges.is_empty() {
            ranges.extend(Range::parse("*/*"));
        }
        Self(ranges)
    }

    /// How much the client wants this media type; not at all where nothing matches it, or with `q=0`.
    pub(crate) fn wants(&self, media_type: &str) -> Option<Wanted> {
        let matching = self.0.iter().filter_map(|range| Some((range.closeness(media_type)?, range.weight)));
        // Of entries that are equally close the first counts.
        let (closeness, weight) = matching.min_by_key(|(closeness, _)| Reverse(*closeness))?;
        (weight > 0).then_some(Wanted { weight, closeness })
    }

    /// Whether the client names this media type and takes it: a wildcard is not enough.
    pub(crate) fn names(&self, media_type: &str) -> bool {
        self.wants(media_type).is_some_and(Wanted::is_named)
    }
}

impl Wanted {
    /// Whether the client names the media type: a wildcard is not enough.
    pub(crate) fn is_named(self) -> bool {
        self.closeness == Closeness::Named
    }
}

impl Range {
    /// Nothing where it is no media range, or its `q` no weight.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = split(text, b';').into_iter();
        let kind = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let (r#type, subtype) = kind.split_once('/')?;
        if r#type.is_empty() || subtype.is_empty() || r#type == "*" && subtype != "*" {
            return None;
        }
        let mut parameters = parts.filter_map(|part| part.split_once('='));
        let weight = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let weight = weight.map_or(Some(1_000), |(_, value)| parse_weight(value.trim()))?;
        Some(Self { kind, weight })
    }

    fn closeness(&self, media_type: &str) -> Option<Closeness> {
        if self.kind == media_type {
            return Some(Closeness::Named);
        }
        match self.kind.strip_suffix("/*")? {
            "*" => Some(Closeness::Anything),
            start => (media_type.split('/').next() == Some(start)).then_some(Closeness::AnySubtype),
        }
    }
}

/// `0` to `1` with at most three digits behind the point, in thousandths.
fn parse_weight(text: &str) -> Option<Weight> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let good = matches!(whole, "0" | "1") && rest.len() <= 3 && rest.bytes().all(|b| b.is_ascii_digit());
    let thousandths: Weight = format!("{rest:0<3}").parse().ok().filter(|_| good)?;
    let weight = if whole == "1" { 1_000 + thousandths } else { thousandths };
    (weight <= 1_000).then_some(weight)
}

/// Splits at a separator, but not within quotes: a boundary may hold commas.
fn split(text: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// What headers of these values say.
    pub(crate) fn accept(values: &[&str]) -> Accept {
        let header = |value: &&str| (ACCEPT, HeaderValue::from_str(value).expect("a header"));
        let mut headers = HeaderMap::new();
        values.iter().map(header).for_each(|(name, value)| {
            headers.append(name, value);
        });
        Accept::of(&headers)
    }

    #[test]
    fn a_media_type_is_named_whatever_its_parameters() {
        let apollo = accept(&["multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json"]);
        assert!(apollo.names("multipart/mixed") && !apollo.names("text/event-stream"));
        assert!(!accept(&["*/*, text/*"]).names("text/event-stream"));
        assert!(!accept(&["text/event-stream;q=0.000"]).names("text/event-stream"));
    }

    #[test]
    fn weights_have_three_digits_at_most() {
        for (text, weight) in [
            ("1", Some(1_000)),
            ("0.5", Some(500)),
            ("0.001", Some(1)),
            ("1.000", Some(1_000)),
            ("0.", Some(0)),
        ] {
            assert_eq!(parse_weight(text), weight, "{text}");
        }
        for text in ["", "2", "1.001", "0.0001", "-1", ".5", "0.x", "1e3"] {
            assert_eq!(parse_weight(text), None, "{text}");
        }
    }
}
