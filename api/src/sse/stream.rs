//! One open stream: what it sends next.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use nuncio_model::{Action, Cursor, Pattern};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::frame;
use crate::app::App;
use crate::auth::Standing;
use crate::auth::standing::{RIGHT_REVOKED, lost};
use crate::connections::{Open, Turn};
use crate::error::ApiError;
use crate::feed::{FeedError, Gap, Member, Next};
use crate::hub::{Bell, Cause, Content, Page};
use crate::live::{Framing, Out, Timing};
use crate::server::Seat;

/// How many bytes of events are taken at once; the last one may go beyond.
const TURN_BYTES: usize = 64 << 10;
/// Over how long clients are asked to spread their coming back when this node stops.
const SPREAD: std::ops::Range<u64> = 500..5_000;

/// A stream that has its socket: the task that serves one reader.
///
/// The reader keeps a place in its group and what of [`TURN_BYTES`] its socket has not taken; a slow one reads on from
/// the log at its own pace.
pub(crate) struct Stream {
    pub(super) app: Arc<App>,
    pub(super) standing: Standing,
    /// Whether it was not known when this last looked who may still have what.
    pub(super) paused: bool,
    /// What is to be read, until there is a member who knows it.
    pub(super) patterns: Option<Arc<[Pattern]>>,
    pub(super) bell: Arc<Bell>,
    /// What the bell rang for, kept for its memory.
    pub(super) causes: Vec<Cause>,
    pub(super) timing: Timing,
    pub(super) framing: Framing,
    pub(super) resuming: bool,
    pub(super) member: Option<Member>,
    pub(super) step: Step,
    /// The last place that the client was told.
    pub(super) told: Option<Cursor>,
    pub(super) out: Out<TcpStream>,
    /// How many events were given out since that was last noted.
    pub(super) given: u64,
    /// Its place among the connections of this node.
    pub(super) open: Open,
    /// Counts among all connections for as long as the socket is open.
    pub(super) _seat: Seat,
}

pub(super) type Joined = Result<(Member, Option<Gap>), FeedError>;

/// What is done next, once the socket has taken all that there was.
pub(super) enum Step {
    /// The place to begin at is being looked for.
    Join(BoxFuture<'static, Joined>),
    /// There may be events.
    Take,
    /// A page of older events is being looked for.
    Fetch(BoxFuture<'static, Result<Arc<Page>, FeedError>>),
    /// There is nothing until the bell rings.
    Wait,
    /// Nothing more is sent.
    End,
}

impl Future for Stream {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let stream = self.get_mut();
        let served = stream.serve(context);
        stream.note();
        served
    }
}

impl Stream {
    fn serve(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.bell.register(context.waker());
        self.heed();
        self.look_around();
        if self.out.has_left(context) {
            return Poll::Ready(());
        }
        while ready!(self.turn(context)).is_some() {}
        Poll::Ready(())
    }

    /// Notes what was given to the socket, for whoever looks at the connections.
    fn note(&mut self) {
        let (events, pending) = (std::mem::take(&mut self.given), self.out.pending());
        let member = self.member.as_ref().filter(|_| pending > 0);
        let place = member.map(|member| member.cursor().position);
        self.open.note(Turn { events, bytes: self.out.taken(), pending, operations: 1, place });
    }

    /// Looks at what the bell has rung for.
    fn heed(&mut self) {
        let mut causes = std::mem::take(&mut self.causes);
        self.bell.take(&mut causes);
        for cause in causes.drain(..) {
            match cause {
                Cause::Member(_) if matches!(self.step, Step::Wait) => self.step = Step::Take,
                // It is taken from as soon as it can be; and nobody asks anything of a stream of events.
                Cause::Member(_) | Cause::Orders => {}
                Cause::Draining => self.go_away("DRAINING"),
                Cause::Credentials => self.check_credentials(),
                Cause::Disconnected => self.go_away("DISCONNECTED"),
                Cause::Time => {
                    self.check_credentials();
                    if self.timing.is_silent() {
                        self.beat();
                    }
                }
            }
        }
        self.causes = causes;
    }

    /// One step; none where the stream is over.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Option<()>> {
        if ready!(self.out.poll_drain(&mut self.timing, context)).is_err() {
            return Poll::Ready(None);
        }
        match &mut self.step {
            Step::Join(join) => {
                let joined = ready!(join.poll_unpin(context));
                self.begin(joined);
            }
            Step::Take if self.paused => return Poll::Pending,
            Step::Take => self.take(),
            Step::Fetch(fetch) => {
                let fetched = ready!(fetch.poll_unpin(context));
                self.turn_to(fetched);
            }
            Step::Wait => return Poll::Pending,
            Step::End => {
                let _ = ready!(self.out.poll_shutdown(context));
                return Poll::Ready(None);
            }
        }
        Poll::Ready(Some(()))
    }

    /// Tells where the stream begins.
    fn begin(&mut self, joined: Joined) {
        let (member, gap) = match joined {
            Ok(joined) => joined,
            Err(error) => return self.fail(error),
        };
        // Also with a gap this is where the reader is: events that are left inside the gap are still to come.
        let place = member.cursor();
        let mut out = Vec::with_capacity(256);
        frame::ready(&mut out, place, self.resuming && gap.is_none(), gap.as_ref());
        gap.iter().for_each(|gap| frame::gap(&mut out, gap));
        self.send(out);
        self.told = Some(place);
        (self.member, self.patterns) = (Some(member), None);
        self.step = Step::Take;
    }

    /// Takes the events that are there.
    fn take(&mut self) {
        // The bell may ring a little late for this, and no event may go out by then.
        if let Err(over) = self.standing.check_end(&self.app.clock) {
            return self.go_away(over.name());
        }
        let Some(member) = &mut self.member else { return };
        let (out, given, mut bytes, mut last) = (&mut self.out, &mut self.given, 0, None);
        let next = member.take(|entry| {
            if let Content::Text(frame) = &entry.content {
                bytes += frame.len();
                *given += 1;
                out.push(frame.clone());
            }
            last = Some(entry.position);
            bytes < TURN_BYTES
        });
        if let Some(position) = last {
            self.told = Some(Cursor { position, ..member.cursor() });
        }
        self.step = match next {
            Next::Idle => Step::Wait,
            Next::More => Step::Take,
            Next::Behind => Step::Fetch(member.fetch().boxed()),
        };
    }

    fn turn_to(&mut self, fetched: Result<Arc<Page>, FeedError>) {
        let Some(member) = &mut self.member else { return };
        match fetched.and_then(|page| member.turn_to(page)) {
            Ok(()) => {}
            Err(FeedError::Lost(lost)) => {
                member.skip(&lost);
                let mut out = Vec::with_capacity(128);
                frame::gap(&mut out, &lost.gap());
                self.send(out);
            }
            Err(error) => return self.fail(error),
        }
        self.step = Step::Take;
    }

    /// A sign of life; one that waits to be written already is enough.
    fn beat(&mut self) {
        // Events of other channels move a place on, and ring for nobody.
        if matches!(self.step, Step::Wait) && !self.paused {
            self.take();
        }
        if !self.out.is_empty() || matches!(self.step, Step::End) {
            return;
        }
        let here = self.member.as_ref().map(Member::cursor);
        let moved = here.filter(|here| self.told != Some(*here));
        self.told = here.or(self.told);
        let mut out = Vec::new();
        frame::beat(&mut out, moved);
        self.send(out);
    }

    /// Looks whether it is known who may still have what. What was not known for a while may have changed.
    fn look_around(&mut self) {
        let paused = self.app.is_paused();
        if self.paused && !paused {
            self.check_credentials();
        }
        self.paused = paused;
    }

    fn check_credentials(&mut self) {
        match self.standing.look(&self.app) {
            Ok(false) => {}
            Ok(true) => self.check_rights(),
            Err(over) => self.go_away(over.name()),
        }
    }

    /// The credentials stand for something else than before.
    fn check_rights(&mut self) {
        let identity = self.standing.identity();
        if let Some(end) = identity.expires_at {
            self.timing.ring_at(Instant::now() + (end - self.app.clock.now()).to_std().unwrap_or_default());
        }
        let of_member = self.member.as_ref().map(Member::patterns);
        let patterns = of_member.or(self.patterns.as_deref()).unwrap_or_default();
        if lost(identity, patterns.iter().map(|pattern| (Action::Subscribe, pattern))).is_some() {
            self.go_away(RIGHT_REVOKED);
        }
    }

    /// Ends the stream, as soon as the reader has taken what it is being sent.
    fn go_away(&mut self, reason: &'static str) {
        if matches!(self.step, Step::End) {
            return;
        }
        let mut out = Vec::with_capacity(96);
        frame::goaway(&mut out, reason, Duration::from_millis(rand::random_range(SPREAD)));
        self.send(out);
        self.out.push(self.framing.end());
        (self.step, self.member) = (Step::End, None);
    }

    /// A defect of ours ends the stream: the client comes back, to another node perhaps.
    fn fail(&mut self, error: FeedError) {
        ApiError::from(error).log("stream");
        self.go_away("INTERNAL");
    }

    fn send(&mut self, frames: Vec<u8>) {
        self.out.push(self.framing.wrap(frames));
    }
}
