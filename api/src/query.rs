//! The query strings of the endpoints that read events.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use form_urlencoded::Parse;
use nuncio_model::cloudevents::is_writable;
use nuncio_model::limits::MAX_PAGE;
use nuncio_model::{Code, Pattern};

use crate::error::ApiError;
use crate::filter::{Filter, Filters};

/// The most channels and patterns one stream may name.
const MAX_CHANNELS: usize = 100;
/// The longest that a long poll is held.
const MAX_WAIT_SECONDS: u64 = 60;

/// The names and values of a query, decoded, in their order.
pub(crate) fn pairs(query: &str) -> Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

/// What to read, as a query says it. What it does not know it leaves alone: proxies and clients add their own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Channels and patterns, as they were written.
    pub(crate) channels: Vec<String>,
    /// A cursor: strictly after it.
    pub(crate) after: Option<String>,
    /// A cursor: strictly before its event.
    pub(crate) before: Option<String>,
    /// From this time on.
    pub(crate) since: Option<DateTime<Utc>>,
    /// How many at most, from the oldest.
    pub(crate) first: Option<usize>,
    /// How many at most, of the newest.
    pub(crate) last: Option<usize>,
    /// For how long to wait for something new, in seconds.
    pub(crate) wait: Option<u64>,
    /// Which events are wanted.
    pub(crate) filter: Option<Filter>,
    /// Whether a stream's events are named by their type.
    pub(crate) typed: bool,
}

impl Reading {
    /// Reads a query, with the filters that were compiled before; everything that is wrong is told at once.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with an entry per parameter; `INVALID_FILTER` where the filter is among them.
    pub(crate) fn parse(query: Option<&str>, filters: &Filters) -> Result<Self, ApiError> {
        let mut reading = Self::default();
        let mut error = ApiError::invalid("the query is not good");
        for (name, value) in pairs(query.unwrap_or_default()) {
            if let Err(message) = reading.set(&name, &value, filters) {
                error = error.field(name, message);
            }
        }
        if error.fields.iter().any(|field| field.field == "filter") {
            error.code = Code::InvalidFilter;
        }
        if error.fields.is_empty() { Ok(reading) } else { Err(error) }
    }

    /// Refuses what a stream has no use for: left alone, it would silently do nothing.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with an entry per parameter.
    pub(crate) fn check_for_stream(&self) -> Result<(), ApiError> {
        let pages = [
            ("before", self.before.is_some()),
            ("first", self.first.is_some()),
            ("wait", self.wait.is_some()),
        ];
        let error = ApiError::invalid("a stream goes on for good; these parameters are for pages");
        let given = pages.into_iter().filter(|(_, given)| *given);
        given.fold(error, |error, (name, _)| error.field(name, "does not go with a stream")).if_any_field()
    }

    fn set(&mut self, name: &str, value: &str, filters: &Filters) -> Result<(), String> {
        match name {
            "channel" => self.channels.push(value.to_owned()),
            "after" => once(&mut self.after, value.to_owned())?,
            "before" => once(&mut self.before, value.to_owned())?,
            "since" => once(&mut self.since, time(value)?)?,
            "first" => once(&mut self.first, number(value, 1..=MAX_PAGE)?)?,
            "last" => once(&mut self.last, number(value, 0..=MAX_PAGE)?)?,
            "wait" => once(&mut self.wait, number(value, 0..=MAX_WAIT_SECONDS)?)?,
            "events" if value == "typed" => self.typed = true,
            "events" => return Err("may only be: typed".to_owned()),
            "filter" if !value.is_empty() => once(&mut self.filter, filters.parse(value)?)?,
            _ => {}
        }
        Ok(())
    }

    /// The patterns that the query names, each once.
    ///
    /// # Errors
    /// `INVALID_PATTERN`, or `INVALID_REQUEST` where there is none or there are too many.
    pub(crate) fn patterns(&self) -> Result<Vec<Pattern>, ApiError> {
        if !(1..=MAX_CHANNELS).contains(&self.channels.len()) {
            let error = ApiError::invalid("the query must name the channels to read");
            return Err(error.field("channel", format!("must be given 1 to {MAX_CHANNELS} times")));
        }
        let mut patterns =
            self.channels.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>()?;
        patterns.sort();
        patterns.dedup();
        Ok(patterns)
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    if place.replace(value).is_some() { Err("is given twice".to_owned()) } else { Ok(()) }
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
}

/// A time in a query.
///
/// # Errors
/// What to mend.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
    let hint = "must be RFC 3339, like 2026-01-31T12:00:00Z; a `+` must be written as %2B";
    time.filter(|time| is_writable(*time)).ok_or_else(|| hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_whole() {
        let query = "channel=a&channel=orders.%23&after=x&last=5&events=typed&filter=+type%3D%3D'a'+&_=1";
        let reading = Reading::parse(Some(query), &Filters::default()).expect("good");
        assert_eq!(reading.patterns().expect("good patterns").len(), 2);
        let (after, last) = (Some("x".to_owned()), Some(5));
        let channels = vec!["a".to_owned(), "orders.#".to_owned()];
        let filter = Some(Filter::compile("type=='a'").expect("good"));
        assert_eq!(reading, Reading { channels, after, last, filter, typed: true, ..Reading::default() });
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let error =
            Reading::parse(Some("first=0&last=-1&since=now&wait=1e9&after=a&after=b"), &Filters::default())
                .expect_err("all bad");
        let fields: Vec<_> = error.fields.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(fields, ["first", "last", "since", "wait", "after"]);
        let error =
            Reading::parse(Some("first=0&filter=type+%3D%3D"), &Filters::default()).expect_err("no CEL");
        assert_eq!((error.code, error.fields.len()), (Code::InvalidFilter, 2));
        assert!(error.fields[1].message.starts_with("line 1, column 8: "), "{}", error.fields[1].message);
        assert!(Reading::parse(Some("filter=true&filter=true"), &Filters::default()).is_err());
    }

    #[test]
    fn a_stream_names_one_to_a_hundred_channels() {
        for (count, good) in [(0, false), (1, true), (100, true), (101, false)] {
            let channels = vec!["a".to_owned(); count];
            assert_eq!(Reading { channels, ..Reading::default() }.patterns().is_ok(), good, "{count}");
        }
    }
}
