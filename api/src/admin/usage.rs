//! `/admin/v1/projects/{project}/usage`: what a project used, by day.

#![expect(
    unused_qualifications,
    reason = "utoipa writes a path before the types of queries, at their own place"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use chrono::{NaiveDate, TimeDelta};
use nuncio_store::DayUsage;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::openapi::Problem;

/// The most days of an answer.
const MAX_DAYS: i64 = 366;
/// How many days are told where nobody says how many.
const DEFAULT_DAYS: i64 = 30;
/// The form of a day.
const DAY: &str = "%Y-%m-%d";

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(get))
}

/// What was used on a day.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DayOfUsage)]
pub(super) struct Shown {
    /// The day, of UTC.
    day: NaiveDate,
    #[serde(flatten)]
    used: Used,
    /// The most connections open at a time, those of all nodes together.
    #[schema(minimum = 0)]
    peak_connections: i64,
}

/// What was used.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Used)]
struct Used {
    /// Events stored, however they came. Repeats are none.
    #[schema(minimum = 0)]
    events: i64,
    /// Bytes of their data.
    #[schema(minimum = 0)]
    event_bytes: i64,
    /// Events sent to clients, by subscriptions, streams, long polls and pages of history.
    #[schema(minimum = 0)]
    deliveries: i64,
    /// WebSockets, streams and long polls opened.
    #[schema(minimum = 0)]
    connections_opened: i64,
}

/// What was used on some days.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(super) struct Days {
    /// One item for each day, the oldest first.
    items: Vec<Shown>,
    /// All days together.
    total: Used,
}

/// Which days.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// The first day (UTC), like `2026-11-01`; 29 days before the last where it is left out.
    #[param(value_type = Option<NaiveDate>)]
    from: Option<String>,
    /// The last day (UTC); today where it is left out. At most 366 days in all.
    #[param(value_type = Option<NaiveDate>)]
    to: Option<String>,
}

/// See what a project used on each day.
///
/// Nodes add what they counted every ten seconds: the newest figures are that old.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/usage", tag = "usage", operation_id = "get_usage",
    params(("project" = String, Path, description = "The project's name"), Span),
    responses((status = 200, body = Days), (status = "4XX", body = Problem))
)]
async fn get(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(span): Query<Span>,
) -> Result<Json<Days>, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let (first, last) = span.days(app.clock.now().date_naive())?;
    let used = app.store.usage(project.id, first, last).await?;
    Ok(Json(Days::of(first, last, &used)))
}

impl Span {
    fn days(&self, today: NaiveDate) -> Result<(NaiveDate, NaiveDate), ApiError> {
        let mut error = ApiError::invalid("the query is not good");
        let mut read = |field: &str, text: Option<&str>| {
            let day = text.map(read_day);
            if day == Some(None) {
                error.fields.push(wrong(field, "must be a day like 2026-11-01"));
            }
            day.flatten()
        };
        let (from, to) = (read("from", self.from.as_deref()), read("to", self.to.as_deref()));
        let last = to.unwrap_or(today);
        let first = from.unwrap_or(last - TimeDelta::days(DEFAULT_DAYS - 1));
        if error.fields.is_empty() && !(0..MAX_DAYS).contains(&(last - first).num_days()) {
            error.fields.push(wrong("from", "must be the day `to` or up to 365 days before"));
        }
        error.if_any_field()?;
        Ok((first, last))
    }
}

/// A day as RFC 3339 writes it, with a year of four digits.
fn read_day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, DAY).ok().filter(|_| text.len() == 10 && !text.starts_with(['+', '-']))
}

fn wrong(field: &str, message: &str) -> crate::error::FieldError {
    crate::error::FieldError { field: field.to_owned(), message: message.to_owned(), index: None, code: None }
}

impl Days {
    /// All days of the span: on those that are not told nothing was used.
    fn of(first: NaiveDate, last: NaiveDate, used: &[DayUsage]) -> Self {
        let (mut total, mut rest) = (Used::default(), used.iter().peekable());
        let days = first.iter_days().take_while(|day| *day <= last);
        let items = days.map(|day| {
            let of_day = rest.next_if(|used| used.day == day).copied();
            let of_day = of_day.unwrap_or(DayUsage { day, ..DayUsage::default() });
            total.add(&of_day);
            Shown::from(of_day)
        });
        Self { items: items.collect(), total }
    }
}

impl Used {
    fn add(&mut self, day: &DayUsage) {
        self.events += day.events;
        self.event_bytes += day.event_bytes;
        self.deliveries += day.deliveries;
        self.connections_opened += day.connections_opened;
    }
}

impl From<DayUsage> for Shown {
    fn from(of_day: DayUsage) -> Self {
        let mut used = Used::default();
        used.add(&of_day);
        Self { day: of_day.day, used, peak_connections: of_day.peak_connections }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        NaiveDate::parse_from_str(text, DAY).expect("a day")
    }

    fn span(from: Option<&str>, to: Option<&str>) -> Result<(NaiveDate, NaiveDate), Vec<String>> {
        let span = Span { from: from.map(str::to_owned), to: to.map(str::to_owned) };
        let fields = |error: ApiError| error.fields.into_iter().map(|field| field.field).collect();
        span.days(day("2026-11-25")).map_err(fields)
    }

    #[test]
    fn a_span_is_of_up_to_366_days() {
        assert_eq!(span(None, None), Ok((day("2026-10-27"), day("2026-11-25"))));
        assert_eq!(span(Some("2026-11-25"), None), Ok((day("2026-11-25"), day("2026-11-25"))));
        assert_eq!(span(None, Some("2024-03-01")), Ok((day("2024-02-01"), day("2024-03-01"))));
        assert!(span(Some("2024-01-01"), Some("2024-12-31")).is_ok());
        for (from, to) in [("2024-01-01", "2025-01-01"), ("2024-01-02", "2024-01-01")] {
            assert_eq!(span(Some(from), Some(to)), Err(vec!["from".to_owned()]));
        }
        let both = Err(vec!["from".to_owned(), "to".to_owned()]);
        assert_eq!(span(Some("2026-02-30"), Some("+262142-01-01")), both);
    }

    #[test]
    fn days_without_anything_are_there_as_zeros() {
        let used =
            [DayUsage { day: day("2026-11-02"), events: 5, peak_connections: 2, ..DayUsage::default() }];
        let days = Days::of(day("2026-11-01"), day("2026-11-03"), &used);
        let told: Vec<_> = days.items.iter().map(|item| (item.used.events, item.peak_connections)).collect();
        assert_eq!((told, days.total.events), (vec![(0, 0), (5, 2), (0, 0)], 5));
    }
}
