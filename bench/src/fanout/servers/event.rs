//! The event that the servers of this program make around the data they are given, of the size of Nuncio's.

use async_graphql::{ID, SimpleObject};
use serde::{Deserialize, Serialize};

/// The body of a request that publishes.
#[derive(Deserialize)]
pub(super) struct Input<D> {
    pub(super) data: D,
}

/// An event as a subscriber sees it.
#[derive(Clone, Serialize)]
pub(super) struct Event<D> {
    id: String,
    r#type: String,
    time: String,
    data: D,
    sequence: u64,
    cursor: String,
}

impl<D> Event<D> {
    pub(super) fn new(sequence: u64, data: D) -> Self {
        Self {
            id: format!("0192f1a4-7c55-7b3e-9a51-{sequence:012}"),
            r#type: "message".to_owned(),
            time: "2026-01-01T00:00:00.000000Z".to_owned(),
            data,
            sequence,
            cursor: format!("AQEBBCr1TQ{sequence:08}"),
        }
    }

    /// The same for a GraphQL schema.
    pub(super) fn into_object(self) -> EventObject
    where
        D: Into<serde_json::Value>,
    {
        let Self { id, r#type, time, data, sequence, cursor } = self;
        EventObject { id: ID(id), r#type, time, data: async_graphql::Json(data.into()), sequence, cursor }
    }
}

/// An event in a GraphQL schema.
#[derive(Clone, SimpleObject)]
#[graphql(name = "Event")]
pub(super) struct EventObject {
    id: ID,
    r#type: String,
    time: String,
    data: async_graphql::Json<serde_json::Value>,
    sequence: u64,
    cursor: String,
}
