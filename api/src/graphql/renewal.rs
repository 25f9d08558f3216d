//! `refreshToken`: a connection that is open goes on with a new token.

use std::net::IpAddr;
use std::sync::Arc;

use nuncio_model::Identity;
use nuncio_store::{ReservationKey, Ticket};
use parking_lot::Mutex;

use super::asker::Asker;
use super::streams::owner_of;
use crate::app::App;
use crate::auth::authenticate;
use crate::cors::Origin;
use crate::error::ApiError;

/// Where an operation leaves the token that its connection is to go on with.
#[derive(Debug)]
pub(super) struct Renewal {
    /// The page that opened the connection, judged once more.
    origin: Origin,
    /// Where the client is.
    address: IpAddr,
    /// The stream's reservation: the requests that come for it carry the new token from now on.
    reservation: Option<ReservationKey>,
    renewed: Mutex<Option<Arc<Identity>>>,
}

impl Renewal {
    pub(super) fn new(origin: Origin, address: IpAddr, reservation: Option<ReservationKey>) -> Self {
        Self { origin, address, reservation, renewed: Mutex::new(None) }
    }

    /// Whoever the new token stands for, where the connection was given one since it was last asked.
    pub(super) fn take(&self) -> Option<Arc<Identity>> {
        self.renewed.lock().take()
    }

    /// Looks at the token, and leaves it for the connection.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` where the token is not good, `FORBIDDEN` where it is somebody else's or the page may not use
    /// it; the connection then goes on with the one it has.
    pub(super) async fn renew(&self, app: &App, asker: &Asker, token: &str) -> Result<(), ApiError> {
        let identity = authenticate(app, token, self.address).await?;
        let current = asker.identity();
        if identity.project != current.project {
            return Err(ApiError::forbidden("the new token is of another project than the connection's"));
        }
        if identity.subject.is_none() || identity.subject != current.subject {
            return Err(ApiError::forbidden(
                "the new token must have the same `sub` as the connection's; for another one, or with an API key, \
                 connect again",
            ));
        }
        self.origin.check(&*app.project(&identity)?)?;
        if let Some(key) = self.reservation {
            let owner = owner_of(&identity);
            app.store.pass_on_stream(identity.project, Ticket { key, owner: &owner }).await?;
        }
        *self.renewed.lock() = Some(identity);
        Ok(())
    }
}

/// An operation over plain HTTP has no connection that would go on.
pub(super) fn nothing_to_renew() -> ApiError {
    ApiError::invalid(
        "refreshToken is for a connection that is open: send it over the WebSocket, or on the stream of the single \
         connection mode; a request of its own carries the new token in its Authorization header",
    )
}
