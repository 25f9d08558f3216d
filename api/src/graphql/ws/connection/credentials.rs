//! Who is asking on a connection: from `connection_init` on, through new tokens and rights that are taken away, to the
//! end of the credentials.

use std::sync::Arc;
use std::task::{Context, Poll};

use nuncio_model::{Code, Identity};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::super::super::error;
use super::super::super::operations::{Ended, Outlet};
use super::super::super::renewal::Renewal;
use super::super::close::CloseReason;
use super::super::protocol::InitPayload;
use super::super::wire::{End, Wire};
use super::{Admitting, Connection, Opening};
use crate::auth::{Standing, authenticate};
use crate::connections::Kind;
use crate::error::ApiError;

impl Connection {
    /// Goes on finding out who is asking, where that is under way.
    pub(super) fn poll_admission<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        context: &mut Context<'_>,
    ) -> Result<(), End> {
        let Some(admitting) = &mut self.admitting else { return Ok(()) };
        let Poll::Ready(admitted) = admitting.as_mut().poll(context) else { return Ok(()) };
        self.admitting = None;
        self.let_in(wire, admitted)
    }

    /// Lets in whoever has been found out to be asking.
    fn let_in<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        admitted: Result<Arc<Identity>, ApiError>,
    ) -> Result<(), End> {
        let identity = admitted.map_err(|error| {
            error.log("");
            let is_too_many = error.code == Code::RateLimited;
            End::Close(if is_too_many { CloseReason::Overloaded } else { CloseReason::Forbidden })
        })?;
        self.ring_at_end_of(&identity);
        let client = self.opening.client.take();
        self.open =
            client.map(|client| self.app().connections.open(Kind::Websocket, *client, &identity, &self.bell));
        self.standing = Some(Standing::new(identity));
        // They may have been revoked since they were checked.
        self.look_at_credentials(wire)?;
        self.ping_in(Instant::now(), self.app().settings.sockets.ping_every);
        wire.allow(self.app().settings.sockets.max_message_bytes);
        self.protocol.acknowledge().iter().for_each(|text| wire.push(&[text.as_bytes()]));
        Ok(())
    }

    /// Who is asking, if a page of its origin may: by the payload, else by the header of the upgrade request.
    pub(super) fn admit(&self, mut payload: InitPayload) -> Admitting {
        let bearer = |text: String| {
            text.get(..7)
                .is_some_and(|s| s.eq_ignore_ascii_case("bearer "))
                .then(|| text[7..].trim().to_owned())
        };
        let text = payload.token.take().or_else(|| payload.authorization().and_then(bearer));
        let by_header = self.opening.by_header.clone();
        let origin = self.opening.origin.clone();
        let (app, address) = (self.app().clone(), self.opening.address);
        let visitor = self.endpoint.visitor.clone();
        Box::pin(async move {
            let identity = match (text, by_header) {
                (Some(text), _) => authenticate(&app, &text, address).await?,
                (None, Some(identity)) => identity,
                (None, None) => return Err(ApiError::unauthenticated("there are no credentials")),
            };
            origin.check(&*app.project(&identity)?)?;
            visitor.connect_in_time(&app, &identity).await?;
            Ok(identity)
        })
    }

    /// Looks whether it is known who may still have what. What was not known for a while may have changed.
    pub(super) fn look_around<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
    ) -> Result<(), End> {
        let paused = self.app().is_paused();
        if self.paused && !paused {
            self.look_at_credentials(wire)?;
        }
        self.paused = paused;
        Ok(())
    }

    /// Looks what the credentials are worth now.
    ///
    /// Where they are worth nothing, the connection is closed and nothing is said of its operations: that is what stock
    /// clients come back from with new ones, and an `error` is final to them.
    pub(super) fn look_at_credentials<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
    ) -> Result<(), End> {
        let Some(standing) = &mut self.standing else { return Ok(()) };
        match standing.look(&self.endpoint.app) {
            Ok(false) => {}
            Ok(true) => self.change(wire),
            Err(over) => return Err(End::Close(CloseReason::Over(over))),
        }
        Ok(())
    }

    /// The connection goes on with other rights, or to another end: what they do not cover is over.
    fn change<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) {
        let Some(identity) = self.standing.as_ref().map(|standing| standing.identity().clone()) else {
            return;
        };
        self.ring_at_end_of(&identity);
        let mut lost = self.subscriptions.change(&identity);
        lost.extend(self.alone.change(&identity));
        for Ended { id, error } in lost {
            self.protocol.finish(&id);
            self.send_error(wire, &id, error::response(error));
        }
    }

    /// Goes on with the token that an operation has brought, if one has.
    pub(super) fn renew<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> Result<(), End> {
        let renewed = self.renewal.as_ref().and_then(|renewal| renewal.take());
        let Some(identity) = renewed else { return Ok(()) };
        self.open.iter().for_each(|open| open.identify(&identity));
        self.standing = Some(Standing::new(identity));
        // It may have been revoked since it was checked.
        self.look_at_credentials(wire)?;
        self.change(wire);
        Ok(())
    }

    fn ring_at_end_of(&self, identity: &Identity) {
        if let Some(end) = identity.expires_at {
            let left = (end - self.app().clock.now()).to_std().unwrap_or_default();
            self.watched.ring_at(Instant::now() + left);
        }
    }

    /// Where an operation may leave a new token.
    pub(super) fn renewal(&mut self) -> Arc<Renewal> {
        let Opening { origin, address, .. } = &self.opening;
        let make = || Arc::new(Renewal::new(origin.clone(), *address, None));
        self.renewal.get_or_insert_with(make).clone()
    }
}
