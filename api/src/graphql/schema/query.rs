//! `Query`: what is stored.

use async_graphql::{Context, Object, Result};
use chrono::{DateTime, Utc};
use nuncio_model::Action;
use nuncio_model::limits::{DEFAULT_PAGE, MAX_PAGE};

use super::super::error::of_api;
use super::Request;
use super::channel::Channel;
use super::event::EventPage;
use super::scalars::{Cursor, Time};
use crate::auth;
use crate::error::ApiError;
use crate::feed::Start;
use crate::history::{page_back, page_on};

/// How many fields a page of the log counts for: it asks much more of the database than a field does.
const PAGE_COST: usize = 20;
/// The same of a channel as it stands.
const CHANNEL_COST: usize = 5;

/// The root of queries.
pub(crate) struct Query;

#[Object]
impl Query {
    /// The project's newest place: subscribe after it to get what comes from now on.
    async fn cursor(&self, context: &Context<'_>) -> Result<Cursor> {
        let request = Request::of(context)?;
        let project = request.project_id();
        let head = request.app.store.head(project).await.map_err(|error| of_api(error.into()))?;
        Ok(nuncio_model::Cursor { project, epoch: head.epoch, position: head.position }.into())
    }

    /// Stored events of a channel or pattern, oldest first. `last` or `before` picks the newest. `filter` is a CEL
    /// expression over the event: pages may then be empty and still move the cursor on.
    #[graphql(complexity = "PAGE_COST + child_complexity")]
    #[expect(clippy::too_many_arguments, reason = "these are the arguments of the contract")]
    async fn history(
        &self,
        context: &Context<'_>,
        channel: String,
        after: Option<Cursor>,
        before: Option<Cursor>,
        since: Option<Time>,
        first: Option<i32>,
        last: Option<i32>,
        filter: Option<String>,
    ) -> Result<EventPage> {
        let request = Request::of(context)?;
        let patterns = request.readable(&channel)?;
        let (after, before) = (after.map(|cursor| cursor.0), before.map(|cursor| cursor.0));
        let since = since.map(|time| time.0);
        let wanted = Wanted::parse(after, since, before, first, last).map_err(of_api)?;
        let filter = filter.map(|text| request.app.filters.get(&text)).transpose().map_err(of_api)?;
        let (store, project) = (&request.app.store, request.project_id());
        let page = match &wanted {
            Wanted::On { start, limit } => {
                page_on(store, project, &patterns, start.as_ref(), *limit, filter.as_ref()).await
            }
            Wanted::Back { before, limit } => {
                page_back(store, project, &patterns, before.as_deref(), *limit, filter.as_ref()).await
            }
        };
        let page = page.map_err(of_api)?;
        request.app.meter.of(project).delivered(page.events.len() as u64);
        Ok(page.into())
    }

    /// A channel as it stands; null where nothing was ever published to it.
    #[graphql(complexity = "CHANNEL_COST + child_complexity")]
    async fn channel(&self, context: &Context<'_>, name: String) -> Result<Option<Channel>> {
        let request = Request::of(context)?;
        let name = nuncio_model::Channel::parse_any(&name).map_err(|error| of_api(error.into()))?;
        auth::require(&request.identity(), Action::Subscribe, &name).map_err(of_api)?;
        let (store, project) = (&request.app.store, request.project_id());
        let found = store.channel(project, &name).await.map_err(|error| of_api(error.into()))?;
        let Some(found) = found else { return Ok(None) };
        let head = store.head(project).await.map_err(|error| of_api(error.into()))?;
        let subscribers = request.app.feeds.listeners(project, &name);
        Ok(Some(Channel::new(project, head, found, subscribers)))
    }
}

/// The page of history that is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// The first after a place, or of all.
    On { start: Option<Start>, limit: usize },
    /// The newest before a cursor, or of all.
    Back { before: Option<String>, limit: usize },
}

impl Wanted {
    fn parse(
        after: Option<String>,
        since: Option<DateTime<Utc>>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Self, ApiError> {
        if first.is_some() && last.is_some() {
            return Err(ApiError::invalid("first and last exclude each other"));
        }
        let limit = usize::try_from(first.or(last).unwrap_or(DEFAULT_PAGE as i32)).unwrap_or(0);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(ApiError::invalid(format!("first and last must be from 1 to {MAX_PAGE}")));
        }
        let on = after.is_some() || since.is_some();
        match before.is_some() || last.is_some() {
            true if on => Err(ApiError::invalid(
                "after and since read on, before and last read back: only one way at a time",
            )),
            true => Ok(Self::Back { before, limit }),
            false if on => Ok(Self::On { start: Some(Start::parse(after, since, None)?), limit }),
            false => Ok(Self::On { start: None, limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_in_one_direction() {
        let text = || Some("c".to_owned());
        let on = |start, limit| Wanted::On { start, limit };
        assert_eq!(Wanted::parse(None, None, None, None, None).expect("all"), on(None, 100));
        let after = Wanted::parse(text(), None, None, Some(3), None).expect("after");
        assert_eq!(after, on(Some(Start::After("c".to_owned())), 3));
        let back = Wanted::parse(None, None, text(), Some(7), None).expect("before");
        assert_eq!(back, Wanted::Back { before: text(), limit: 7 });
        for (after, before, first, last) in [
            (None, None, Some(1), Some(1)),
            (None, None, Some(0), None),
            (None, None, None, Some(1_001)),
            (text(), text(), None, None),
            (text(), None, None, Some(1)),
        ] {
            assert!(Wanted::parse(after, None, before, first, last).is_err());
        }
    }
}
