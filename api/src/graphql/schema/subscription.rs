//! `Subscription`: stored events, then live ones.

use std::collections::VecDeque;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Result};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, empty, unfold};
use nuncio_model::Pattern;
use nuncio_model::resume::MAX_RESUME_ID_BYTES;
use parking_lot::Mutex;

use super::super::error::of_api;
use super::super::fanout::Source;
use super::event::Event;
use super::scalars::{Cursor, Time};
use super::{GapSlot, Request};
use crate::error::ApiError;
use crate::feed::{self, FeedError, Reader, Start};
use crate::filter::Filter;

/// How many events are taken at a time; they are the only ones held in memory for a subscription.
const CHUNK: usize = 64;

/// Why an id to resume under is of no use.
pub(crate) const NO_RESUME: &str = "resume works over a WebSocket, for a subscription of events alone and without directives; \
                                    elsewhere go on after the cursor of the last event";

/// The root of subscriptions.
pub(crate) struct Subscription;

/// What happens where a cursor has expired or is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum OnGap {
    /// The operation ends with an error that tells `oldest` and `newest`.
    Fail,
    /// The operation goes on; its next response tells the gap in `extensions.gap`.
    Skip,
}

impl OnGap {
    /// The choice of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "FAIL" => Some(Self::Fail),
            "SKIP" => Some(Self::Skip),
            _ => None,
        }
    }
}

/// What a subscriber asked for.
pub(crate) struct Asked {
    /// What to listen to; the subscriber may.
    pub(crate) patterns: Arc<[Pattern]>,
    /// Which of the events.
    pub(crate) filter: Option<Filter>,
    /// Where to begin.
    pub(crate) start: Start,
    /// What to do where that is not possible.
    pub(crate) on_gap: feed::OnGap,
    /// Under which id the subscriber comes back.
    pub(crate) resume: Option<String>,
}

/// The arguments that say where a subscriber begins.
#[derive(Default)]
pub(crate) struct Placement {
    pub(crate) after: Option<Cursor>,
    pub(crate) since: Option<Time>,
    pub(crate) last: Option<i32>,
    pub(crate) on_gap: Option<OnGap>,
    pub(crate) resume: Option<String>,
}

/// Where the field notes what it was asked, instead of doing it.
pub(crate) type AskedSlot = Arc<Mutex<Option<Asked>>>;

impl Asked {
    /// Reads the arguments.
    ///
    /// # Errors
    /// `FORBIDDEN`, `INVALID_PATTERN`, `INVALID_FILTER`, or `INVALID_REQUEST` where two places to begin at are given or
    /// the id to resume under is none.
    pub(crate) fn parse(
        request: &Request,
        channel: &str,
        filter: Option<&str>,
        placement: Placement,
    ) -> std::result::Result<Self, ApiError> {
        let Placement { after, since, last, on_gap, resume } = placement;
        let patterns = request.allowed(channel)?;
        let start =
            Start::parse(after.map(|cursor| cursor.0), since.map(|time| time.0), last.map(i64::from))?;
        let filter = filter.map(|text| request.app.filters.get(text)).transpose()?;
        // An explicit null means what leaving it out means.
        let on_gap = on_gap.unwrap_or(OnGap::Fail).into();
        if resume.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_RESUME_ID_BYTES) {
            return Err(ApiError::invalid(format!("resume must have 1 to {MAX_RESUME_ID_BYTES} bytes")));
        }
        Ok(Self { patterns, filter, start, on_gap, resume })
    }
}

#[async_graphql::Subscription]
impl Subscription {
    /// Stored events of a channel or pattern, then live ones, in order, each once.
    #[expect(clippy::too_many_arguments, reason = "they are those of the field")]
    async fn events(
        &self,
        context: &Context<'_>,
        channel: String,
        after: Option<Cursor>,
        since: Option<Time>,
        last: Option<i32>,
        filter: Option<String>,
        #[graphql(default_with = "Some(OnGap::Fail)")] on_gap: Option<OnGap>,
        resume: Option<ID>,
    ) -> Result<BoxStream<'static, Result<Event>>> {
        // One execution for all who share it: whoever it is for has been let in before.
        if let Some(source) = context.data_opt::<Source>() {
            return Ok(source.clone().boxed());
        }
        let request = Request::of(context)?;
        let placement = Placement { after, since, last, on_gap, resume: resume.map(|id| id.0) };
        let asked = Asked::parse(request, &channel, filter.as_deref(), placement).map_err(of_api)?;
        if let Some(slot) = context.data_opt::<AskedSlot>() {
            *slot.lock() = Some(asked);
            return Ok(empty().boxed());
        }
        let Asked { patterns, filter, start, on_gap, resume } = asked;
        if resume.is_some() {
            return Err(of_api(ApiError::invalid(NO_RESUME)));
        }
        request.visitor.subscribe(&request.app, &request.identity(), &patterns).map_err(of_api)?;
        let opened = request.app.feeds.open(request.project_id(), patterns, &start, on_gap).await;
        let (reader, gap) = opened.map_err(|error| of_api(error.into()))?;
        *request.gap.lock() = gap;
        let (ready, gap) = (VecDeque::new(), request.gap.clone());
        let live = Live { reader, filter, ready, on_gap, gap, ended: false };
        Ok(unfold(live, |mut live| async move { live.next().await.map(|item| (item, live)) }).boxed())
    }
}

/// A running subscription: its reader, and the few events taken from it that are still to go out.
struct Live {
    reader: Reader,
    filter: Option<Filter>,
    ready: VecDeque<Arc<nuncio_model::Event>>,
    on_gap: feed::OnGap,
    gap: GapSlot,
    ended: bool,
}

impl Live {
    /// The next event, or the error the subscription ends with.
    async fn next(&mut self) -> Option<Result<Event>> {
        while !self.ended {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(Event(event)));
            }
            match self.reader.next(CHUNK).await {
                Ok(chunk) => {
                    let wanted =
                        |event: &Arc<_>| self.filter.as_ref().is_none_or(|filter| filter.matches(event));
                    self.ready.extend(chunk.events.into_iter().filter(wanted));
                }
                Err(FeedError::Lost(lost)) if self.on_gap == feed::OnGap::Skip => {
                    *self.gap.lock() = Some(lost.gap());
                    self.reader.skip(&lost);
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(of_api(error.into())));
                }
            }
        }
        None
    }
}

impl From<OnGap> for feed::OnGap {
    fn from(on_gap: OnGap) -> Self {
        match on_gap {
            OnGap::Fail => Self::Fail,
            OnGap::Skip => Self::Skip,
        }
    }
}
