//! One connection from `connection_init` to its end.

mod credentials;

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_graphql::Response;
use futures_util::future::BoxFuture;
use nuncio_model::{Code, Identity};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::super::error;
use super::super::fanout::{Plan, plan};
use super::super::http::Endpoint;
use super::super::operations::{Alone, FULL, Outlet, Output, Subscriptions};
use super::super::renewal::Renewal;
use super::super::request::Incoming;
use super::super::response;
use super::close::CloseReason;
use super::confirm::{CONFIRM_WITHIN, Confirm};
use super::dialect::Dialect;
use super::message::{self, TAIL};
use super::protocol::{Action, Protocol};
use super::wire::{End, Wire};
use crate::app::App;
use crate::auth::Standing;
use crate::clockwork::Watched;
use crate::connections::{Client, Open, Turn};
use crate::cors::Origin;
use crate::error::ApiError;
use crate::hub::{Bell, Cause};

/// How many messages of the client, and how many responses, are taken in a turn.
const TURN: usize = 64;
/// How many turns are made before other connections have theirs.
const TURNS: usize = 8;

/// What is known of a connection before its first message.
pub(super) struct Opening {
    /// Whoever the upgrade request's own header stands for.
    pub(super) by_header: Option<Arc<Identity>>,
    /// Where the client is.
    pub(super) address: IpAddr,
    /// Who the client is, until it is let in. Apart, so that it takes no memory after that.
    pub(super) client: Option<Box<Client>>,
    /// The page that it was opened by, if one did.
    pub(super) origin: Origin,
    /// How long after the node begins to stop this connection is closed.
    pub(super) goaway_after: Duration,
}

/// Finds out who is asking.
type Admitting = BoxFuture<'static, Result<Arc<Identity>, ApiError>>;

/// A connection.
pub(super) struct Connection {
    endpoint: Endpoint,
    opening: Opening,
    protocol: Protocol,
    bell: Arc<Bell>,
    watched: Watched,
    subscriptions: Subscriptions,
    alone: Alone,
    /// Who has the first turn next.
    alone_first: bool,
    /// While it is being found out who is asking.
    admitting: Option<Admitting>,
    /// Who is asking, since the acknowledgement.
    standing: Option<Standing>,
    /// Where operations leave a new token; made for the first that might.
    renewal: Option<Arc<Renewal>>,
    /// Whether it was not known in the last turn who may still have what.
    paused: bool,
    init_until: Instant,
    ping_at: Instant,
    confirm: Confirm,
    goaway_at: Option<Instant>,
    causes: Vec<Cause>,
    /// Its place among the connections of this node, since the acknowledgement.
    open: Option<Open>,
}

impl Connection {
    pub(super) fn new(endpoint: Endpoint, opening: Opening, dialect: Dialect) -> Self {
        let settings = &endpoint.app.settings.sockets;
        let (protocol, bell) = (Protocol::new(dialect, settings.max_operations), Arc::<Bell>::default());
        let init_until = Instant::now() + settings.init_timeout;
        let watched = endpoint.app.clockwork.watch(&bell);
        watched.ring_at(init_until);
        Self {
            endpoint,
            opening,
            protocol,
            watched,
            subscriptions: Subscriptions::new(bell.clone(), TAIL),
            bell,
            alone: Alone::default(),
            alone_first: true,
            admitting: None,
            standing: None,
            renewal: None,
            paused: false,
            init_until,
            ping_at: init_until,
            confirm: Confirm::default(),
            goaway_at: None,
            causes: Vec::new(),
            open: None,
        }
    }

    /// Serves the connection as far as that can be done now, until its end. Each turn ends with one write of all that it
    /// made ready.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        context: &mut Context<'_>,
    ) -> Poll<End> {
        for _ in 0..TURNS {
            let more = match self.turn(wire, context) {
                Ok(more) => more,
                Err(end) => return Poll::Ready(end),
            };
            let before = wire.pending();
            let flushed = wire.poll_flush(context);
            self.note(before - wire.pending(), wire.pending());
            match flushed {
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Ready(Ok(())) if more => {}
                Poll::Ready(Ok(())) | Poll::Pending => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Makes ready what there is, as far as the socket has room; whether there may be more.
    fn turn<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        context: &mut Context<'_>,
    ) -> Result<bool, End> {
        self.bell.register(context.waker());
        let mut causes = std::mem::take(&mut self.causes);
        self.bell.take(&mut causes);
        causes.drain(..).try_for_each(|cause| self.heed(wire, cause))?;
        self.causes = causes;
        self.look_around(wire)?;
        let mut taken = 0;
        self.poll_admission(wire, context)?;
        // Nothing is taken while it is being found out who asks: legacy clients do not wait for that.
        while self.admitting.is_none() && wire.pending() < FULL && taken < TURN {
            let Poll::Ready(text) = wire.poll_receive(context) else { break };
            self.on_message(wire, &text?)?;
            self.poll_admission(wire, context)?;
            taken += 1;
        }
        let given = self.serve_operations(wire, context)?;
        self.confirm_soon();
        // What that asked for, or anything before, may have come.
        while let Poll::Ready(ended) = self.subscriptions.poll_arrived(context) {
            self.protocol.finish(&ended.id);
            self.send_error(wire, &ended.id, error::response(ended.error));
        }
        let due = self.subscriptions.are_due() && !self.paused;
        Ok(due || taken == TURN || given == TURN || wire.pending() >= FULL)
    }

    /// Gives the operations what is ready for them; how many responses of their own those had that run alone.
    ///
    /// Whoever comes first may take all the room there is: those that run alone and those that are shared come first
    /// by turns.
    fn serve_operations<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        context: &mut Context<'_>,
    ) -> Result<usize, End> {
        let alone_first = self.alone_first;
        if wire.pending() < FULL {
            self.alone_first = !alone_first;
        }
        if !alone_first && !self.paused {
            self.subscriptions.deliver(wire);
        }
        let mut given = 0;
        while wire.pending() < FULL && given < TURN {
            let Poll::Ready(output) = self.alone.poll_next(context, self.paused) else { break };
            self.renew(wire)?;
            self.on_output(wire, output)?;
            given += 1;
        }
        if alone_first && !self.paused {
            self.subscriptions.deliver(wire);
        }
        Ok(given)
    }

    /// Notes what this turn gave to the socket, for whoever looks at the connections.
    fn note(&mut self, taken: usize, pending: usize) {
        let events = self.subscriptions.given() + self.alone.given();
        let Some(open) = &self.open else { return };
        let place = if pending > 0 { self.subscriptions.slowest() } else { None };
        let operations = self.subscriptions.count() + self.alone.count();
        open.note(Turn { events, bytes: taken as u64, pending, operations, place });
    }

    fn app(&self) -> &Arc<App> {
        &self.endpoint.app
    }

    fn heed<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        cause: Cause,
    ) -> Result<(), End> {
        match cause {
            Cause::Member(number) => self.subscriptions.rung(number),
            Cause::Time => {
                self.look_at_credentials(wire)?;
                self.on_time(wire)?;
            }
            Cause::Credentials => self.look_at_credentials(wire)?,
            // What a client asks of its socket it sends on it.
            Cause::Orders => {}
            Cause::Disconnected => return Err(End::Close(CloseReason::Disconnected)),
            Cause::Draining => {
                let goaway = Instant::now() + self.opening.goaway_after;
                self.goaway_at = Some(goaway);
                self.watched.ring_at(goaway);
            }
        }
        Ok(())
    }

    fn on_time<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> Result<(), End> {
        let now = Instant::now();
        if self.goaway_at.is_some_and(|goaway| goaway <= now) {
            return Err(End::Close(CloseReason::GoingAway));
        }
        if !self.protocol.is_ready() {
            // While it is being found out who asks, it is not the client that is late.
            let late = self.init_until <= now && self.admitting.is_none();
            return if late { Err(End::Close(CloseReason::InitTimeout)) } else { Ok(()) };
        }
        if self.ping_at <= now {
            if self.subscriptions.are_resuming() {
                self.confirm.begin();
            }
            let text = self.confirm.ping(self.protocol.dialect().keep_alive());
            wire.push(&[text.as_bytes()]);
            self.subscriptions.pinged();
            self.ping_in(now, self.app().settings.sockets.ping_every);
        }
        Ok(())
    }

    fn ping_in(&mut self, now: Instant, wait: Duration) {
        self.ping_at = now + wait;
        self.watched.ring_at(self.ping_at);
    }

    /// Sees to it that what was sent to those who come back with an id is soon known to have been received.
    fn confirm_soon(&mut self) {
        if self.confirm.is_out() || !self.subscriptions.are_unconfirmed() {
            return;
        }
        let now = Instant::now();
        if self.ping_at > now + CONFIRM_WITHIN {
            self.ping_in(now, CONFIRM_WITHIN);
        }
    }

    fn on_message<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        text: &str,
    ) -> Result<(), End> {
        match self.protocol.receive(text) {
            Action::None => {}
            Action::Send(text) => wire.push(&[text.as_bytes()]),
            Action::Pong(number) => {
                if self.confirm.pong(number) {
                    self.subscriptions.confirmed();
                }
            }
            Action::Close(reason) => return Err(End::Close(reason)),
            Action::Initialise(payload) => {
                self.admitting = Some(self.admit(payload));
            }
            Action::Stop(id) => self.stop(wire, &id),
            Action::Refuse(id) => {
                let error =
                    ApiError::new(Code::TooManyOperations, "too many operations run on this connection");
                self.send_error(wire, &id, error::response(error));
            }
            Action::Start(id, incoming) => self.start(wire, &id, incoming)?,
        }
        Ok(())
    }

    fn start<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        id: &str,
        incoming: Incoming,
    ) -> Result<(), End> {
        // Operations start after the acknowledgement alone; without an identity nothing may be executed.
        let Some(identity) = self.standing.as_ref().map(|standing| standing.identity().clone()) else {
            return Err(End::Close(CloseReason::NotInitialised));
        };
        let receipt = self.protocol.dialect().receipt();
        let planned = plan(&self.endpoint, &identity, incoming, receipt);
        match planned.and_then(|plan| self.count(&identity, plan)) {
            Ok(Plan::Shared(shared)) => {
                let head = message::result_head(self.protocol.dialect(), id);
                self.subscriptions.start((id, head), &self.endpoint, &identity, shared);
            }
            Ok(Plan::Alone(mut operation)) => {
                operation.request = operation.request.data(self.renewal());
                let with = (&self.endpoint.schema, &self.endpoint.documents);
                self.alone.start(id, with, *operation);
            }
            Err(refused) => {
                self.protocol.finish(id);
                self.send_error(wire, id, *refused);
            }
        }
        Ok(())
    }

    /// Counts an operation; a subscription that nobody shares counts itself. One that would be answered now is refused
    /// while it is not known who may still have what.
    fn count(&self, identity: &Identity, plan: Plan) -> Result<Plan, Box<Response>> {
        let Endpoint { app, visitor, .. } = &self.endpoint;
        let counted = match &plan {
            Plan::Shared(shared) => visitor.subscribe(app, identity, &shared.asked.patterns),
            Plan::Alone(operation) if operation.is_subscription => Ok(()),
            Plan::Alone(_) if self.paused => {
                Err(ApiError::unavailable("this node does not know for now what is in force; try again"))
            }
            Plan::Alone(_) => visitor.request(app, identity),
        };
        counted.map(|()| plan).map_err(|error| Box::new(error::response(error)))
    }

    fn stop<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>, id: &str) {
        self.subscriptions.stop(id);
        self.alone.stop(id);
        if self.protocol.dialect().confirms_stop() {
            wire.push(&[&message::complete(id)]);
        }
    }

    fn on_output<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        output: Output,
    ) -> Result<(), End> {
        let dialect = self.protocol.dialect();
        match output {
            Output::Response(id, response, _) if message::is_end(dialect, &response) => {
                self.alone.stop(&id);
                self.protocol.finish(&id);
                self.send_error(wire, &id, *response);
            }
            Output::Response(id, mut response, gap) => {
                error::finish(&mut response);
                let gap = gap.lock().take();
                let payload = response::write(&response, gap.as_ref());
                wire.push(&[&message::result_head(dialect, &id), &payload, TAIL]);
            }
            Output::Done(id) => {
                self.alone.stop(&id);
                self.protocol.finish(&id);
                wire.push(&[&message::complete(&id)]);
            }
            Output::Panicked => {
                tracing::error!("a resolver panicked");
                return Err(End::Close(CloseReason::Defect));
            }
        }
        Ok(())
    }

    fn send_error<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<S>,
        id: &str,
        response: Response,
    ) {
        wire.push(&[&message::error(self.protocol.dialect(), id, response)]);
    }
}
