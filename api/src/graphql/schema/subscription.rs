//! `Subscription`: stored events, then live ones.

use std::collections::VecDeque;
use std::sync::Arc;

use async_graphql::{Context, Enum, Result};
use futures_util::Stream;
use futures_util::stream::unfold;

use super::super::error::of_api;
use super::event::Event;
use super::scalars::{Cursor, Time};
use super::{GapSlot, Request};
use crate::feed::{self, FeedError, Reader, Start};

/// How many events are taken at a time; they are the only ones held in memory for a subscription.
const CHUNK: usize = 64;

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

#[async_graphql::Subscription]
impl Subscription {
    /// Stored events of a channel or pattern, then live ones, in order, each once.
    async fn events(
        &self,
        context: &Context<'_>,
        channel: String,
        after: Option<Cursor>,
        since: Option<Time>,
        last: Option<i32>,
        #[graphql(default_with = "Some(OnGap::Fail)")] on_gap: Option<OnGap>,
    ) -> Result<impl Stream<Item = Result<Event>> + use<>> {
        let request = Request::of(context)?;
        let patterns = request.readable(&channel)?;
        let start = Start::parse(after.map(|cursor| cursor.0), since.map(|time| time.0), last.map(i64::from))
            .map_err(of_api)?;
        // An explicit null means what leaving it out means.
        let on_gap = on_gap.unwrap_or(OnGap::Fail).into();
        let opened = request.app.feeds.open(request.project_id(), patterns, &start, on_gap).await;
        let (reader, gap) = opened.map_err(|error| of_api(error.into()))?;
        *request.gap.lock() = gap;
        let live = Live { reader, ready: VecDeque::new(), on_gap, gap: request.gap.clone(), ended: false };
        Ok(unfold(live, |mut live| async move { live.next().await.map(|item| (item, live)) }))
    }
}

/// A running subscription: its reader, and the few events taken from it that are still to go out.
struct Live {
    reader: Reader,
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
                Ok(chunk) => self.ready.extend(chunk.events),
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
