//! async-graphql with async-graphql-axum as they are shipped: one `events` subscription for each subscriber, a tokio
//! broadcast behind them. Each event is resolved and serialised once for every subscriber.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_graphql::{Context, EmptyMutation, Object, Schema, Subscription};
use async_graphql_axum::GraphQLSubscription;
use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::routing::post;
use futures_util::{Stream, stream};
use tokio::net::TcpListener;
use tokio::sync::broadcast::{self, Sender};

use super::CAPACITY;
use super::event::{Event, EventObject, Input};
use crate::Result;

/// Serves until it is killed.
pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let (sender, _) = broadcast::channel::<EventObject>(CAPACITY);
    let schema = Schema::build(Query, EmptyMutation, Subscriptions).data(sender.clone()).finish();
    let stock = Arc::new(Stock { sender, published: AtomicU64::new(0) });
    let router = Router::new()
        .route_service("/graphql", GraphQLSubscription::new(schema))
        .route("/publish", post(publish))
        .with_state(stock);
    Ok(axum::serve(listener, router).await?)
}

struct Stock {
    sender: Sender<EventObject>,
    published: AtomicU64,
}

async fn publish(State(stock): State<Arc<Stock>>, Json(input): Json<Input<serde_json::Value>>) -> StatusCode {
    let event = Event::new(stock.published.fetch_add(1, Ordering::Relaxed), input.data);
    let _nobody_is_fine = stock.sender.send(event.into_object());
    StatusCode::CREATED
}

struct Query;

#[Object]
impl Query {
    async fn nothing(&self) -> bool {
        true
    }
}

struct Subscriptions;

#[Subscription]
impl Subscriptions {
    async fn events(
        &self,
        context: &Context<'_>,
        channel: String,
    ) -> async_graphql::Result<impl Stream<Item = EventObject>> {
        if channel.is_empty() {
            return Err("a channel has a name".into());
        }
        let events = context.data::<Sender<EventObject>>()?.subscribe();
        // One that lags behind the broadcast ends here, and the driver tells.
        Ok(stream::unfold(events, |mut events| async { Some((events.recv().await.ok()?, events)) }))
    }
}
