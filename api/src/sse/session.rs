//! From a request to the stream that answers it.

use std::sync::Arc;

use futures_util::FutureExt;
use nuncio_model::{Identity, Pattern};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::form::Form;
use super::stream::{Step, Stream};
use crate::app::App;
use crate::auth::Standing;
use crate::connections::{Client, Kind};
use crate::feed::{OnGap, Start};
use crate::hub::{Bell, Cause};
use crate::live::{Out, Timing};
use crate::server::Seat;

/// A stream that was asked for.
pub(super) struct Session {
    pub(super) app: Arc<App>,
    pub(super) identity: Arc<Identity>,
    pub(super) patterns: Arc<[Pattern]>,
    pub(super) form: Form,
    pub(super) start: Start,
    pub(super) client: Client,
}

impl Session {
    /// Goes on with the socket alone.
    pub(super) fn serve(self, socket: TcpStream, seat: Seat) -> Stream {
        let Self { app, identity, patterns, form, start, client } = self;
        let bell = Arc::new(Bell::default());
        let timing = Timing::new(app.clockwork.watch(&bell), app.settings.keep_alive, app.settings.stalled);
        if let Some(end) = identity.expires_at {
            timing.ring_at(Instant::now() + (end - app.clock.now()).to_std().unwrap_or_default());
        }
        // They may have been revoked since they were checked.
        bell.ring(Cause::Credentials);
        let (framing, resuming) = (form.framing, matches!(start, Start::After(_)));
        let (feeds, project, group, heard) =
            (app.feeds.clone(), identity.project, form.group(patterns.clone()), bell.clone());
        let join = async move {
            feeds.join(project, &group, || form.render(), (&start, OnGap::Skip), (&heard, 0)).await
        };
        let open = app.connections.open(Kind::Sse, client, &identity, &bell);
        Stream {
            app,
            standing: Standing::new(identity),
            paused: false,
            patterns: Some(patterns),
            bell,
            causes: Vec::new(),
            timing,
            framing,
            resuming,
            member: None,
            step: Step::Join(join.boxed()),
            told: None,
            out: Out::new(socket),
            given: 0,
            open,
            _seat: seat,
        }
    }
}
