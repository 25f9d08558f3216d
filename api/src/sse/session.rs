//! One open stream: what it sends next.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use nuncio_model::{Cursor, Identity, Pattern, ProjectId};
use tokio::time::Instant;

use super::frame;
use crate::app::App;
use crate::auth::{Lapse, Watch};
use crate::error::ApiError;
use crate::feed::{Chunk, FeedError, OnGap, Reader, Start};

/// How many events are taken at once; what they take in memory is bounded by the size of an event.
const CHUNK_EVENTS: usize = 64;
/// Over how long clients are asked to spread their coming back when this node stops.
const SPREAD: std::ops::Range<u64> = 500..5_000;

/// An open stream.
pub(super) struct Session {
    app: Arc<App>,
    project: ProjectId,
    watch: Watch,
    patterns: Arc<[Pattern]>,
    typed: bool,
    start: Start,
    phase: Phase,
    /// The last place that the client was told.
    told: Option<Cursor>,
    beat_at: Instant,
}

enum Phase {
    /// Nothing has been sent.
    New,
    /// The place to begin at is being looked for.
    Starting,
    /// Events are sent as they come.
    Live(Box<Reader>),
    /// Nothing more is sent.
    Over,
}

/// What a live stream met next.
enum Met {
    Draining,
    Lapsed(Lapse),
    Quiet,
    Chunk(Result<Chunk, FeedError>),
}

impl Session {
    pub(super) fn new(
        app: Arc<App>,
        identity: Arc<Identity>,
        patterns: Arc<[Pattern]>,
        start: Start,
        typed: bool,
    ) -> Self {
        let beat_at = Instant::now() + app.settings.keep_alive;
        let (project, watch) = (identity.project, Watch::over(&app, identity));
        Self { app, project, watch, patterns, typed, start, phase: Phase::New, told: None, beat_at }
    }

    /// The bytes of the stream. It is asked for more only when the socket has taken what there was: a slow reader
    /// keeps one chunk in memory and reads on from the log at its own pace.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut session| async move {
            let bytes = session.turn().await?;
            session.beat_at = Instant::now() + session.app.settings.keep_alive;
            Some((Ok(bytes), session))
        })
    }

    /// The next bytes; none at the end.
    async fn turn(&mut self) -> Option<Bytes> {
        loop {
            let bytes = match &mut self.phase {
                Phase::New => {
                    self.phase = Phase::Starting;
                    Some(frame::hello(self.app.settings.reconnect))
                }
                Phase::Starting => Some(self.begin().await),
                Phase::Live(_) => self.live().await,
                Phase::Over => return None,
            };
            if bytes.is_some() {
                return bytes;
            }
        }
    }

    /// Finds the place to begin at. While the database is away, signs of life are sent, and it is looked for again.
    async fn begin(&mut self) -> Bytes {
        let (app, project) = (self.app.clone(), self.project);
        let open = app.feeds.open(project, self.patterns.clone(), &self.start, OnGap::Skip);
        let opened = tokio::select! {
            biased;
            () = app.drain.cancelled() => return self.go_away("DRAINING"),
            lapse = self.watch.lapse() => return self.go_away(reason_of(lapse)),
            () = tokio::time::sleep_until(self.beat_at) => return frame::beat(None),
            opened = open => opened,
        };
        match opened {
            Ok((reader, gap)) => {
                let resumed = matches!(self.start, Start::After(_)) && gap.is_none();
                // Also with a gap this is where the reader is: events that are left inside the gap are still to come.
                let place = reader.cursor();
                let mut out = Vec::with_capacity(256);
                frame::ready(&mut out, place, resumed, gap.as_ref());
                gap.iter().for_each(|gap| frame::gap(&mut out, gap));
                self.told = Some(place);
                self.phase = Phase::Live(Box::new(reader));
                out.into()
            }
            Err(error) => self.fail(error),
        }
    }

    /// Waits for what comes next on a live stream; none where that is nothing to send.
    async fn live(&mut self) -> Option<Bytes> {
        match self.meet().await {
            Met::Draining => Some(self.go_away("DRAINING")),
            Met::Lapsed(lapse) => Some(self.go_away(reason_of(lapse))),
            Met::Quiet => Some(self.beat()),
            Met::Chunk(Ok(chunk)) => self.events(&chunk),
            Met::Chunk(Err(FeedError::Lost(lost))) => {
                let Phase::Live(reader) = &mut self.phase else { return None };
                reader.skip(&lost);
                let mut out = Vec::with_capacity(128);
                frame::gap(&mut out, &lost.gap());
                Some(out.into())
            }
            Met::Chunk(Err(error)) => Some(self.fail(error)),
        }
    }

    async fn meet(&mut self) -> Met {
        let Phase::Live(reader) = &mut self.phase else { return Met::Draining };
        tokio::select! {
            biased;
            () = self.app.drain.cancelled() => Met::Draining,
            lapse = self.watch.lapse() => Met::Lapsed(lapse),
            chunk = reader.next(CHUNK_EVENTS) => Met::Chunk(chunk),
            () = tokio::time::sleep_until(self.beat_at) => Met::Quiet,
        }
    }

    fn events(&mut self, chunk: &Chunk) -> Option<Bytes> {
        let last = chunk.events.last()?;
        let mut out = Vec::with_capacity(512 * chunk.events.len());
        for event in &chunk.events {
            frame::event(&mut out, event, self.typed);
        }
        self.told = Some(last.cursor());
        Some(out.into())
    }

    fn beat(&mut self) -> Bytes {
        let Phase::Live(reader) = &self.phase else { return frame::beat(None) };
        let here = reader.cursor();
        let moved = self.told.replace(here) != Some(here);
        frame::beat(moved.then_some(here))
    }

    fn go_away(&mut self, reason: &'static str) -> Bytes {
        self.phase = Phase::Over;
        frame::goaway(reason, Duration::from_millis(rand::random_range(SPREAD)))
    }

    /// A defect of ours ends the stream: the client comes back, to another node perhaps.
    fn fail(&mut self, error: FeedError) -> Bytes {
        ApiError::from(error).log("stream");
        self.go_away("INTERNAL")
    }
}

/// What a client is told that must come back with other credentials.
fn reason_of(lapse: Lapse) -> &'static str {
    match lapse {
        Lapse::Expired => "TOKEN_EXPIRED",
        Lapse::Revoked => "REVOKED",
    }
}
