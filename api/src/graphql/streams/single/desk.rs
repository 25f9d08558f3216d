//! Where a node learns what the streams that it holds are to do.
//!
//! One statement asks for all of them, at a short period while there are any, and at once when a request to this node has
//! just asked for something.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nuncio_model::ids;
use nuncio_store::{ReservationKey, Result, Store};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::hub::{Bell, Cause};

/// How often the database is asked for orders that came to other nodes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often this node says that it is alive.
const BEAT_EVERY: Duration = Duration::from_secs(10);

/// What a stream is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::graphql::streams) enum Order {
    /// Start the operation of this id with this request.
    Start(String, Vec<u8>),
    /// Stop the operation of this id, if it runs.
    Stop(String),
    /// End: the reservation is gone.
    Leave,
}

/// The streams that this node holds.
#[derive(Clone)]
pub(super) struct Desk(Arc<Inner>);

struct Inner {
    store: Store,
    /// What this node is called as a holder of streams.
    name: String,
    held: Mutex<HashMap<ReservationKey, Arc<Tray>>>,
    over: Mutex<Over>,
    poke: Notify,
}

/// The orders of one stream that it has not taken yet, in their order.
#[derive(Default)]
struct Tray {
    bell: Arc<Bell>,
    orders: Mutex<Vec<Order>>,
}

/// What has ended here, and is still to be forgotten in the database.
#[derive(Default)]
struct Over {
    operations: Vec<(ReservationKey, String)>,
    streams: Vec<ReservationKey>,
}

/// A stream's place at the desk. Its reservation ends when this is dropped.
pub(in crate::graphql::streams) struct Holding {
    desk: Desk,
    key: ReservationKey,
    tray: Arc<Tray>,
    /// Whether the reservation is this stream's to end.
    owned: bool,
}

impl Desk {
    pub(super) fn start(app: &App) -> Self {
        let desk = Self(Arc::new(Inner {
            store: app.store.clone(),
            name: ids::random_text(20),
            held: Mutex::default(),
            over: Mutex::default(),
            poke: Notify::new(),
        }));
        let (keeper, stop) = (desk.clone(), app.drain.clone());
        app.tasks.spawn(async move { keeper.keep(stop).await });
        desk
    }

    /// What this node is called as a holder of streams.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// A place for a stream that is about to be opened; none where this node holds it already. No order for it can be
    /// given out before.
    pub(super) fn hold(&self, key: ReservationKey) -> Option<Holding> {
        let tray = Arc::<Tray>::default();
        let mut held = self.0.held.lock();
        if held.contains_key(&key) {
            return None;
        }
        held.insert(key, tray.clone());
        Some(Holding { desk: self.clone(), key, tray, owned: true })
    }

    /// Has the desk look for orders now.
    pub(super) fn poke(&self) {
        self.0.poke.notify_one();
    }

    async fn keep(&self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut beat, mut away) = (Instant::now(), false);
        loop {
            let holds = !self.0.held.lock().is_empty();
            tokio::select! {
                _ = looks.tick(), if holds => {}
                () = self.0.poke.notified() => {}
                () = stop.cancelled(), if !holds => break,
            }
            let failed = self.look(&mut beat).await.err();
            if let (Some(error), false) = (&failed, away) {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "what streams are to do cannot be read");
            }
            away = failed.is_some();
        }
        // The streams left just now; if this is lost, a sweep forgets them later.
        let _ = self.look(&mut beat).await;
    }

    async fn look(&self, beat: &mut Instant) -> Result<()> {
        let inner = &*self.0;
        if beat.elapsed() >= BEAT_EVERY && !inner.held.lock().is_empty() {
            // Frozen or cut off for so long that others have forgotten it, this node holds nothing any more.
            if !inner.store.heartbeat_holder(&inner.name).await? {
                inner.held.lock().drain().for_each(|(_, tray)| tray.put(Order::Leave));
            }
            *beat = Instant::now();
        }
        self.forget().await?;
        if inner.held.lock().is_empty() {
            return Ok(());
        }
        let orders = inner.store.take_orders(&inner.name).await?;
        if !orders.is_empty() {
            // There may be more than are given out at once.
            inner.poke.notify_one();
        }
        for order in orders {
            // Of a stream that has left meanwhile nothing is wanted any more.
            let Some(tray) = inner.held.lock().get(&order.key).cloned() else { continue };
            tray.put(match order.request {
                Some(request) => Order::Start(order.id, request),
                None => Order::Stop(order.id),
            });
        }
        Ok(())
    }

    /// Has the database forget what is over.
    async fn forget(&self) -> Result<()> {
        let inner = &*self.0;
        let Over { operations, streams } = std::mem::take(&mut *inner.over.lock());
        let ended = async {
            if !operations.is_empty() {
                inner.store.end_operations(&operations).await?;
            }
            if !streams.is_empty() {
                inner.store.close_streams(&inner.name, &streams).await?;
            }
            Ok(())
        };
        let ended = ended.await;
        if ended.is_err() {
            let mut over = inner.over.lock();
            over.operations.extend(operations);
            over.streams.extend(streams);
        }
        ended
    }
}

impl Tray {
    fn put(&self, order: Order) {
        self.orders.lock().push(order);
        self.bell.ring(Cause::Orders);
    }
}

impl Holding {
    /// Rings for [`Cause::Orders`] when there are some.
    pub(in crate::graphql::streams) fn bell(&self) -> &Arc<Bell> {
        &self.tray.bell
    }

    /// Takes what the stream is to do.
    pub(in crate::graphql::streams) fn orders(&self) -> Vec<Order> {
        std::mem::take(&mut self.tray.orders.lock())
    }

    /// An operation has ended by itself: its id may be used again.
    pub(in crate::graphql::streams) fn ended(&self, id: &str) {
        self.desk.0.over.lock().operations.push((self.key, id.to_owned()));
        self.desk.poke();
    }

    /// The reservation is not this stream's after all.
    pub(super) fn disown(mut self) {
        self.owned = false;
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.desk.0.held.lock().remove(&self.key);
        if self.owned {
            self.desk.0.over.lock().streams.push(self.key);
            self.desk.poke();
        }
    }
}
