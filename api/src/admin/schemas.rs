//! What `nuncio_model`'s types look like in the OpenAPI document, of which they know nothing.

#![expect(dead_code, reason = "these describe types of nuncio_model and are never made")]

use utoipa::ToSchema;

/// Settings of the channels below a first segment.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = NamespaceSettings)]
pub(crate) struct NamespaceSettings {
    /// How long events are kept, in seconds, from 60; null keeps them for good.
    #[schema(default = 604_800)]
    retention_seconds: Option<i64>,
    /// How many events each channel keeps; null sets no bound.
    retention_events: Option<i64>,
    /// For how long a repeat of `(channel, source, id)` is recognised, in seconds: 0 to 604800.
    #[schema(default = 86_400)]
    dedupe_seconds: i64,
    /// The largest `data` of one event, in bytes: 1 to 16777216.
    #[schema(default = 262_144)]
    max_event_bytes: i64,
    /// `full` or `off`.
    #[schema(default = "full")]
    presence: String,
    /// Whether signals may be sent.
    #[schema(default = true)]
    signals: bool,
}

/// Patterns by what may be done; what is left out may not be done.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = Rights)]
pub(crate) struct Rights {
    /// Patterns that may be read.
    #[schema(required = false)]
    subscribe: Vec<String>,
    /// Patterns that may be written.
    #[schema(required = false)]
    publish: Vec<String>,
    /// Patterns on which signals may be sent and received.
    #[schema(required = false)]
    signal: Vec<String>,
    /// Patterns whose presence may be seen and entered.
    #[schema(required = false)]
    presence: Vec<String>,
    /// Names of consumers that may be used; `*` is all.
    #[schema(required = false)]
    consume: Vec<String>,
}

/// A public key.
#[derive(ToSchema)]
#[schema(as = PublicKey)]
#[serde(untagged)]
pub(crate) enum PublicKey {
    /// In PEM: `-----BEGIN PUBLIC KEY-----` (SPKI).
    Pem(String),
    /// As a JWK (RFC 7517).
    Jwk(std::collections::HashMap<String, serde_json::Value>),
}
