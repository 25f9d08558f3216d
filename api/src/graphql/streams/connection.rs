//! One open stream: it runs its operations, and writes what they have.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_graphql::Response;
use nuncio_model::Identity;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::super::fanout::{Plan, Receipt, plan};
use super::super::http::Endpoint;
use super::super::operations::{Alone, Ended, FULL, Outlet, Output, Subscriptions};
use super::super::renewal::Renewal;
use super::super::request::Incoming;
use super::super::{error, response};
use super::dialect::Dialect;
use super::single::{Holding, Order};
use crate::auth::Standing;
use crate::connections::{Client, Open, Turn};
use crate::hub::{Bell, Cause};
use crate::live::{Framing, Out, Timing};
use crate::server::Seat;

/// How many responses are taken in a turn.
const TURN: usize = 64;
/// How many turns are made before other connections have theirs.
const TURNS: usize = 8;
/// How long a stream that ends before its operations have rests before it does. The client of graphql-sse waits for good
/// where the end comes together with a result that it has not dealt with yet.
const REST: Duration = Duration::from_millis(300);

/// A stream that has its socket: the task that serves one client.
pub(super) struct Connection {
    endpoint: Endpoint,
    standing: Standing,
    /// Where operations leave a new token, where the stream can go on with one.
    renewal: Option<Arc<Renewal>>,
    /// Whether it was not known when this last looked who may still have what.
    paused: bool,
    dialect: Dialect,
    framing: Framing,
    bell: Arc<Bell>,
    /// What the bell rang for, kept for its memory.
    causes: Vec<Cause>,
    timing: Timing,
    subscriptions: Subscriptions,
    alone: Alone,
    /// Through which other requests start and stop operations here, where they can.
    holding: Option<Holding>,
    /// When the client is sent away, once the node is to stop.
    goaway_at: Option<Instant>,
    state: State,
    out: Out<TcpStream>,
    /// Its place among the connections of this node.
    open: Open,
    /// Counts among all connections for as long as the socket is open.
    _seat: Seat,
}

/// What a stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It gives what its operations have.
    Open,
    /// It ends before its operations have, as soon as the client has taken everything and this time has come. The
    /// client comes back.
    Leaving(Option<Instant>),
    /// All is said.
    Ended,
}

/// What a stream begins with.
pub(super) enum First {
    /// Nothing: it is told later what to run.
    Nothing(Holding),
    /// Its one operation.
    Operation(Plan),
    /// Why its one operation is not executed.
    Refused(Box<Response>),
}

/// A stream that was asked for.
pub(super) struct Session {
    pub(super) endpoint: Endpoint,
    pub(super) identity: Arc<Identity>,
    pub(super) dialect: Dialect,
    pub(super) framing: Framing,
    pub(super) client: Client,
    pub(super) first: First,
    pub(super) renewal: Option<Arc<Renewal>>,
}

impl Session {
    /// Goes on with the socket alone.
    pub(super) fn serve(self, socket: TcpStream, seat: Seat) -> Connection {
        let Self { mut endpoint, identity, dialect, framing, client, first, renewal } = self;
        endpoint.visitor = endpoint.visitor.connected(&endpoint.app);
        let (bell, holding) = match &first {
            First::Nothing(holding) => (holding.bell().clone(), true),
            First::Operation(_) | First::Refused(_) => (Arc::default(), false),
        };
        let app = &endpoint.app;
        let timing = Timing::new(app.clockwork.watch(&bell), app.settings.keep_alive, app.settings.stalled);
        if let Some(end) = identity.expires_at {
            timing.ring_at(Instant::now() + (end - app.clock.now()).to_std().unwrap_or_default());
        }
        // They may have been revoked since they were checked.
        bell.ring(Cause::Credentials);
        if holding {
            bell.ring(Cause::Orders);
        }
        let open = app.connections.open(dialect.kind(), client, &identity, &bell);
        let mut connection = Connection {
            endpoint,
            standing: Standing::new(identity),
            renewal,
            paused: false,
            dialect,
            framing,
            subscriptions: Subscriptions::new(bell.clone(), dialect.tail()),
            bell,
            causes: Vec::new(),
            timing,
            alone: Alone::default(),
            holding: None,
            goaway_at: None,
            state: State::Open,
            out: Out::new(socket),
            open,
            _seat: seat,
        };
        match first {
            First::Nothing(holding) => connection.holding = Some(holding),
            First::Operation(plan) => connection.run("", plan),
            First::Refused(response) => connection.refuse("", *response),
        }
        connection
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let stream = self.get_mut();
        let served = stream.serve(context);
        stream.note();
        served
    }
}

impl Connection {
    fn serve(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.bell.register(context.waker());
        self.heed();
        self.look_around();
        if self.out.has_left(context) {
            return Poll::Ready(());
        }
        for _ in 0..TURNS {
            if ready!(self.turn(context)).is_none() {
                return Poll::Ready(());
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Notes what was given to the socket, for whoever looks at the connections.
    fn note(&mut self) {
        let (events, pending) = (self.subscriptions.given() + self.alone.given(), self.out.pending());
        let place = if pending > 0 { self.subscriptions.slowest() } else { None };
        let operations = self.subscriptions.count() + self.alone.count();
        self.open.note(Turn { events, bytes: self.out.taken(), pending, operations, place });
    }

    /// Looks at what the bell has rung for.
    fn heed(&mut self) {
        let mut causes = std::mem::take(&mut self.causes);
        self.bell.take(&mut causes);
        for cause in causes.drain(..) {
            match cause {
                Cause::Member(number) => self.subscriptions.rung(number),
                Cause::Orders => self.obey(),
                Cause::Draining => {
                    let spread = self.endpoint.app.settings.sockets.drain_spread;
                    let goaway = Instant::now() + spread.mul_f64(rand::random());
                    self.goaway_at = Some(goaway);
                    self.timing.ring_at(goaway);
                }
                Cause::Credentials => self.look_at_credentials(),
                Cause::Disconnected => self.leave(),
                Cause::Time => {
                    self.look_at_credentials();
                    self.on_time();
                }
            }
        }
        self.causes = causes;
    }

    fn on_time(&mut self) {
        if self.goaway_at.is_some_and(|goaway| goaway <= Instant::now()) {
            self.leave();
        }
        if self.timing.is_silent() && self.out.is_empty() && self.state == State::Open {
            self.send(self.dialect.beat());
        }
    }

    /// Looks whether it is known who may still have what. What was not known for a while may have changed.
    fn look_around(&mut self) {
        let paused = self.endpoint.app.is_paused();
        if self.paused && !paused {
            self.look_at_credentials();
        }
        self.paused = paused;
    }

    fn look_at_credentials(&mut self) {
        let mut batch = Batch(Vec::new());
        self.judge(&mut batch);
        self.say(batch);
    }

    /// Looks what the credentials are worth now. Where they are worth nothing, nothing is said of the operations: so
    /// that the client comes back with new ones.
    fn judge(&mut self, batch: &mut Batch) {
        match self.standing.look(&self.endpoint.app) {
            Ok(false) => {}
            Ok(true) => self.change(batch),
            Err(_) => self.leave(),
        }
    }

    /// The stream goes on with other rights, or to another end: operations that they do not cover are over.
    fn change(&mut self, batch: &mut Batch) {
        let identity = self.standing.identity().clone();
        if let Some(end) = identity.expires_at {
            let left = (end - self.endpoint.app.clock.now()).to_std().unwrap_or_default();
            self.timing.ring_at(Instant::now() + left);
        }
        if self.state != State::Open {
            return;
        }
        let mut lost = self.subscriptions.change(&identity);
        lost.extend(self.alone.change(&identity));
        for Ended { id, error } in lost {
            self.fail(batch, &id, error::response(error));
        }
    }

    /// Goes on with the token that an operation has brought, if one has.
    fn renew(&mut self, batch: &mut Batch) {
        let renewed = self.renewal.as_ref().and_then(|renewal| renewal.take());
        let Some(identity) = renewed else { return };
        self.open.identify(&identity);
        self.standing = Standing::new(identity);
        // It may have been revoked since it was checked.
        self.judge(batch);
        self.change(batch);
    }

    /// One step; none where the stream is over.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Option<()>> {
        if ready!(self.out.poll_drain(&mut self.timing, context)).is_err() {
            return Poll::Ready(None);
        }
        match self.state {
            State::Open => {
                self.gather(context);
                if self.out.is_empty() && self.state == State::Open {
                    return Poll::Pending;
                }
            }
            State::Leaving(None) => {
                let end = Instant::now() + REST;
                self.state = State::Leaving(Some(end));
                self.timing.ring_at(end);
            }
            State::Leaving(Some(end)) if Instant::now() < end => return Poll::Pending,
            State::Leaving(Some(_)) => {
                self.state = State::Ended;
                self.out.push(self.framing.end());
            }
            State::Ended => {
                let _ = ready!(self.out.poll_shutdown(context));
                return Poll::Ready(None);
            }
        }
        Poll::Ready(Some(()))
    }

    /// Takes what the operations have, to be written at once.
    fn gather(&mut self, context: &mut Context<'_>) {
        // The bell may ring a little late for this, and nothing may go out by then.
        if self.standing.check_end(&self.endpoint.app.clock).is_err() {
            return self.leave();
        }
        let mut batch = Batch(Vec::new());
        for _ in 0..TURN {
            if batch.pending() >= FULL || self.state != State::Open {
                break;
            }
            let Poll::Ready(output) = self.alone.poll_next(context, self.paused) else { break };
            self.renew(&mut batch);
            self.on_output(&mut batch, output);
        }
        loop {
            if !self.paused && self.state == State::Open {
                self.subscriptions.deliver(&mut batch);
            }
            // What that asked for, or anything before, may have come; if not, it wakes this task.
            while let Poll::Ready(ended) = self.subscriptions.poll_arrived(context) {
                self.fail(&mut batch, &ended.id, error::response(ended.error));
            }
            let waits = self.paused || self.state != State::Open || !self.subscriptions.are_due();
            if batch.pending() >= FULL || waits {
                break;
            }
        }
        self.say(batch);
    }

    fn on_output(&mut self, batch: &mut Batch, output: Output) {
        match output {
            Output::Response(id, response, _) if response::is_end(&response) => {
                self.alone.stop(&id);
                self.fail(batch, &id, *response);
            }
            Output::Response(id, mut response, gap) => {
                error::finish(&mut response);
                let gap = gap.lock().take();
                let payload = response::write(&response, gap.as_ref());
                batch.push(&[&self.dialect.head(&id), &payload, self.dialect.tail()]);
            }
            Output::Done(id) => {
                self.alone.stop(&id);
                self.complete(batch, &id);
            }
            Output::Panicked => {
                tracing::error!("a resolver panicked");
                self.leave();
            }
        }
    }

    fn fail(&mut self, batch: &mut Batch, id: &str, mut response: Response) {
        error::finish(&mut response);
        batch.push(&[&self.dialect.error(id, &response.errors)]);
        self.complete(batch, id);
    }

    fn complete(&mut self, batch: &mut Batch, id: &str) {
        batch.push(&[&self.dialect.complete(id)]);
        match &self.holding {
            Some(holding) => holding.ended(id),
            // There was this one alone.
            None => self.state = State::Ended,
        }
    }

    /// Does what other requests ask for.
    fn obey(&mut self) {
        let Some(holding) = &self.holding else { return };
        for order in holding.orders() {
            match order {
                Order::Start(id, request) => self.start(&id, &request),
                Order::Stop(id) => {
                    self.subscriptions.stop(&id);
                    self.alone.stop(&id);
                }
                Order::Leave => self.leave(),
            }
        }
    }

    fn start(&mut self, id: &str, request: &[u8]) {
        let planned = Incoming::read(request).map_err(|error| Box::new(error::response(error)));
        let identity = self.standing.identity();
        let planned = planned.and_then(|incoming| plan(&self.endpoint, identity, incoming, Receipt::Unknown));
        match planned.and_then(|plan| self.count(&plan).map(|()| plan)) {
            Ok(plan) => self.run(id, plan),
            Err(refused) => self.refuse(id, *refused),
        }
    }

    /// Counts a subscription that others share; the others count themselves, and a request was counted where it came in.
    fn count(&self, plan: &Plan) -> Result<(), Box<Response>> {
        let Plan::Shared(shared) = plan else { return Ok(()) };
        let Endpoint { app, visitor, .. } = &self.endpoint;
        let counted = visitor.subscribe(app, self.standing.identity(), &shared.asked.patterns);
        counted.map_err(|error| Box::new(error::response(error)))
    }

    fn run(&mut self, id: &str, plan: Plan) {
        match plan {
            Plan::Shared(shared) => {
                let head = self.dialect.head(id);
                self.subscriptions.start((id, head), &self.endpoint, self.standing.identity(), shared);
            }
            Plan::Alone(mut operation) => {
                if let Some(renewal) = &self.renewal {
                    operation.request = operation.request.data(renewal.clone());
                }
                let with = (&self.endpoint.schema, &self.endpoint.documents);
                self.alone.start(id, with, *operation);
            }
        }
    }

    fn refuse(&mut self, id: &str, response: Response) {
        let mut batch = Batch(Vec::new());
        self.fail(&mut batch, id, response);
        self.say(batch);
    }

    /// Ends the stream before its operations: whoever is told of no end comes back.
    fn leave(&mut self) {
        if self.state == State::Open {
            self.state = State::Leaving(None);
        }
    }

    /// Sends what was gathered; with the last operation the stream ends.
    fn say(&mut self, batch: Batch) {
        let ended = self.state == State::Ended && !batch.0.is_empty();
        self.send(batch.0);
        if ended {
            self.out.push(self.framing.end());
        }
    }

    fn send(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.out.push(self.framing.wrap(bytes));
        }
    }
}

/// What goes out with one write.
struct Batch(Vec<u8>);

impl Outlet for Batch {
    fn pending(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
    }
}
