//! One connection from `connection_init` to its end.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::Response;
use axum::http::HeaderMap;
use nuncio_model::{Code, Identity};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::super::error;
use super::super::http::Endpoint;
use super::super::request::Incoming;
use super::super::response;
use super::super::schema::GapSlot;
use super::close::CloseReason;
use super::operation::{Operations, Output};
use super::protocol::{self, Action, InitPayload, Protocol};
use super::wire::{End, Wire};
use crate::app::App;
use crate::auth::{Watch, authenticate};
use crate::cors::check_origin;
use crate::error::ApiError;

/// How many responses are fed before the socket is flushed and the client is listened to again.
const TURN: usize = 64;
/// At how many bytes the outgoing buffer is written before more is put into it.
const FULL: usize = 4 << 10;

/// What is known of a connection before its first message.
pub(super) struct Opening {
    /// Whoever the upgrade request's own header stands for.
    pub(super) by_header: Option<Arc<Identity>>,
    /// `Origin` and `Host` of the upgrade request.
    pub(super) origin: HeaderMap,
    /// How long after the node begins to stop this connection is closed.
    pub(super) goaway_after: Duration,
}

/// A connection.
pub(super) struct Connection {
    endpoint: Endpoint,
    opening: Opening,
    protocol: Protocol,
    operations: Operations,
    /// Who is asking, since the acknowledgement.
    identity: Option<Arc<Identity>>,
    watch: Option<Watch>,
    init_until: Instant,
    ping_at: Instant,
    goaway_at: Option<Instant>,
}

/// What a connection met next.
enum Met {
    Message(Result<tokio_tungstenite::tungstenite::Utf8Bytes, End>),
    Output(Output),
    Time,
    Lapsed,
    Draining,
}

impl Connection {
    pub(super) fn new(endpoint: Endpoint, opening: Opening) -> Self {
        let settings = &endpoint.app.settings.sockets;
        let protocol = Protocol::new(settings.max_operations);
        let now = Instant::now();
        let (init_until, ping_at) = (now + settings.init_timeout, now + settings.ping_every);
        let operations = Operations::default();
        Self {
            endpoint,
            opening,
            protocol,
            operations,
            identity: None,
            watch: None,
            init_until,
            ping_at,
            goaway_at: None,
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, wire: &mut Wire<S>) -> End {
        loop {
            let (until, drain) = (self.next_time(), self.app().drain.clone());
            let met = tokio::select! {
                message = wire.receive() => Met::Message(message),
                output = self.operations.next() => Met::Output(output),
                () = sleep_until(until) => Met::Time,
                () = lapse(&mut self.watch) => Met::Lapsed,
                () = drain.cancelled(), if self.goaway_at.is_none() => Met::Draining,
            };
            if let Err(end) = self.turn(wire, met).await {
                return end;
            }
        }
    }

    /// Does what is to be done now, and flushes once.
    async fn turn<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        met: Met,
    ) -> Result<(), End> {
        match met {
            Met::Message(message) => self.on_message(wire, &message?).await?,
            Met::Output(output) => {
                self.on_output(wire, output).await?;
                for _ in 1..TURN {
                    let Some(output) = self.operations.ready() else { break };
                    self.on_output(wire, output).await?;
                }
            }
            Met::Time => self.on_time(wire).await?,
            Met::Lapsed => return Err(End::Close(CloseReason::Forbidden)),
            Met::Draining => self.goaway_at = Some(Instant::now() + self.opening.goaway_after),
        }
        wire.flush().await
    }

    fn app(&self) -> &Arc<App> {
        &self.endpoint.app
    }

    /// When something is to be done even if nothing happens.
    fn next_time(&self) -> Instant {
        let first = if self.protocol.is_ready() { self.ping_at } else { self.init_until };
        self.goaway_at.map_or(first, |goaway| goaway.min(first))
    }

    async fn on_time<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> Result<(), End> {
        let now = Instant::now();
        if self.goaway_at.is_some_and(|goaway| goaway <= now) {
            return Err(End::Close(CloseReason::GoingAway));
        }
        if !self.protocol.is_ready() {
            let late = self.init_until <= now;
            return if late { Err(End::Close(CloseReason::InitTimeout)) } else { Ok(()) };
        }
        if self.ping_at <= now {
            self.ping_at = now + self.app().settings.sockets.ping_every;
            feed(wire, r#"{"type":"ping"}"#).await?;
        }
        Ok(())
    }

    async fn on_message<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        text: &str,
    ) -> Result<(), End> {
        match self.protocol.receive(text) {
            Action::None => Ok(()),
            Action::Send(text) => feed(wire, text).await,
            Action::Close(reason) => Err(End::Close(reason)),
            Action::Initialise(payload) => {
                let identity = self.admit(payload).map_err(|error| {
                    error.log("");
                    End::Close(CloseReason::Forbidden)
                })?;
                self.watch = Some(Watch::over(self.app(), identity.clone()));
                self.identity = Some(identity);
                self.ping_at = Instant::now() + self.app().settings.sockets.ping_every;
                feed(wire, self.protocol.acknowledge()).await
            }
            Action::Stop(id) => {
                self.operations.stop(&id);
                Ok(())
            }
            Action::Refuse(id) => {
                let error =
                    ApiError::new(Code::TooManyOperations, "too many operations run on this connection");
                send_error(wire, &id, error::response(error)).await
            }
            Action::Start(id, incoming) => self.start(wire, id, incoming).await,
        }
    }

    /// Who is asking, if a page of its origin may: by the payload, else by the header of the upgrade request.
    fn admit(&self, payload: InitPayload) -> Result<Arc<Identity>, ApiError> {
        let bearer = |text: String| {
            text.get(..7)
                .is_some_and(|s| s.eq_ignore_ascii_case("bearer "))
                .then(|| text[7..].trim().to_owned())
        };
        let identity = match payload.token.or_else(|| payload.authorization.and_then(bearer)) {
            Some(text) => authenticate(self.app(), &text)?,
            None => self
                .opening
                .by_header
                .clone()
                .ok_or_else(|| ApiError::unauthenticated("there are no credentials"))?,
        };
        check_origin(&*self.app().project(&identity)?, &self.opening.origin)?;
        Ok(identity)
    }

    async fn start<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        id: String,
        incoming: Incoming,
    ) -> Result<(), End> {
        // Operations start after the acknowledgement alone; without an identity nothing may be executed.
        let Some(identity) = self.identity.clone() else {
            return Err(End::Close(CloseReason::NotInitialised));
        };
        let gap = GapSlot::default();
        match incoming.prepare(&self.endpoint.app, &identity, gap.clone()) {
            Ok(request) => {
                self.operations.start(&id, &self.endpoint.schema, request, gap);
                Ok(())
            }
            Err(error) => {
                self.protocol.finish(&id);
                send_error(wire, &id, error::response(error)).await
            }
        }
    }

    async fn on_output<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        output: Output,
    ) -> Result<(), End> {
        match output {
            Output::Response(id, response, gap) if is_end(&response) => {
                drop(gap);
                self.operations.stop(&id);
                self.protocol.finish(&id);
                send_error(wire, &id, *response).await
            }
            Output::Response(id, mut response, gap) => {
                error::finish(&mut response);
                let gap = gap.lock().take();
                feed(wire, protocol::next(&id, &response::write(&response, gap.as_ref()))).await
            }
            Output::Done(id) => {
                self.operations.stop(&id);
                self.protocol.finish(&id);
                feed(wire, protocol::complete(&id)).await
            }
            Output::Panicked => {
                tracing::error!("a resolver panicked");
                Err(End::Close(CloseReason::Defect))
            }
        }
    }
}

/// Puts a text into the outgoing buffer; waits while that is full.
async fn feed<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    text: impl AsRef<[u8]>,
) -> Result<(), End> {
    if wire.pending() > FULL {
        wire.flush().await?;
    }
    wire.push(&[text.as_ref()]);
    Ok(())
}

/// Waits for the end of the credentials; for good where there are none yet.
async fn lapse(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => drop(watch.lapse().await),
        None => std::future::pending().await,
    }
}

/// An `error` ends an operation: it stands for all errors that left no data.
fn is_end(response: &Response) -> bool {
    response.data == async_graphql::Value::Null && !response.errors.is_empty()
}

async fn send_error<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    id: &str,
    mut response: Response,
) -> Result<(), End> {
    error::finish(&mut response);
    let mut payload = Vec::with_capacity(256);
    response::write_errors(&mut payload, &response.errors);
    feed(wire, protocol::error(id, &payload)).await
}
