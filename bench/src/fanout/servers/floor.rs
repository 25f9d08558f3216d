//! The floor to measure against: an axum WebSocket per subscriber, one text frame shared by all, a tokio broadcast.
//!
//! Each subscriber takes what is ready with `feed`, then flushes once. It has no rights, no resume, no filters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::SinkExt;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::broadcast::{self, Sender};

use super::CAPACITY;
use super::event::{Event, Input};
use crate::Result;

/// Enough for what a subscriber sends; the library's own choice of 128 KB would make its memory no floor.
const READ_BUFFER: usize = 4 << 10;

/// Serves until it is killed.
pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let (sender, _) = broadcast::channel::<Utf8Bytes>(CAPACITY);
    let router = Router::new()
        .route("/ws", get(subscribe))
        .route("/publish", post(publish))
        .with_state(Arc::new(Floor { sender, published: AtomicU64::new(0) }));
    Ok(axum::serve(listener, router).await?)
}

struct Floor {
    sender: Sender<Utf8Bytes>,
    published: AtomicU64,
}

async fn publish(
    State(floor): State<Arc<Floor>>,
    Json(input): Json<Input<Box<RawValue>>>,
) -> std::result::Result<StatusCode, StatusCode> {
    let event = Event::new(floor.published.fetch_add(1, Ordering::Relaxed), input.data);
    let event = serde_json::to_string(&event).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let frame = format!(r#"{{"id":"1","type":"next","payload":{{"data":{{"events":{event}}}}}}}"#);
    let _nobody_is_fine = floor.sender.send(frame.into());
    Ok(StatusCode::CREATED)
}

async fn subscribe(State(floor): State<Arc<Floor>>, upgrade: WebSocketUpgrade) -> Response {
    let events = floor.sender.subscribe();
    upgrade.read_buffer_size(READ_BUFFER).on_upgrade(|socket| async {
        // An error is the end of the connection, of which there is nobody to tell.
        let _ended = forward(socket, events).await;
    })
}

async fn forward(mut socket: WebSocket, mut events: broadcast::Receiver<Utf8Bytes>) -> Result<()> {
    loop {
        tokio::select! {
            biased;
            event = events.recv() => {
                socket.feed(Message::Text(event?)).await?;
                while let Ok(event) = events.try_recv() {
                    socket.feed(Message::Text(event)).await?;
                }
                socket.flush().await?;
            }
            message = socket.recv() => drop(message.ok_or("the client went away")??),
        }
    }
}
