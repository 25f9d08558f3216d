//! What `nuncio_model`'s types look like in the OpenAPI document, of which they know nothing.

#![expect(dead_code, reason = "these describe types of nuncio_model and are never made")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

/// The same settings in three forms: as they are shown, as they are changed, and as a namespace is made.
macro_rules! namespace_settings {
    ($(#[$of:meta])* $name:ident ($needed:literal) { $($more:tt)* }) => {
        $(#[$of])*
        #[derive(ToSchema)]
        #[schema(rename_all = "camelCase", as = $name)]
        pub(crate) struct $name {
            $($more)*
            /// How long events are kept, in seconds; null keeps them for good.
            #[schema(default = 604_800, minimum = 60, maximum = 315_360_000, required = $needed)]
            retention_seconds: Option<i64>,
            /// How many events each channel keeps; null sets no bound.
            #[schema(minimum = 1, maximum = 1_000_000_000, required = $needed)]
            retention_events: Option<i64>,
            /// For how long a repeat of `(channel, source, id)` is recognised, in seconds; 0 is never.
            #[schema(default = 86_400, minimum = 0, maximum = 604_800, required = $needed)]
            dedupe_seconds: i64,
            /// The largest `data` of one event, in bytes; at most 1048576 where there are schemas.
            #[schema(default = 262_144, minimum = 1, maximum = 16_777_216, required = $needed)]
            max_event_bytes: i64,
            /// Who may publish, besides having the right to: `amqp` is whoever may write to the project's exchange,
            /// `keys` are API keys, `tokens` those of apps. Without any, nobody may.
            #[schema(required = $needed)]
            publishers: Vec<PublisherKind>,
            #[schema(required = $needed, schema_with = schemas_by_type)]
            schemas: BTreeMap<String, Value>,
            /// `full` or `off`.
            #[schema(default = "full", required = $needed)]
            presence: PresenceMode,
            /// Whether signals may be sent.
            #[schema(default = true, required = $needed)]
            signals: bool,
        }
    };
}

namespace_settings! {
    /// Settings of the channels below a first segment.
    NamespaceSettings (true) {}
}

namespace_settings! {
    /// What is to be changed of a namespace's settings; what is left out stays.
    NamespaceChanges (false) {}
}

namespace_settings! {
    /// A namespace to be made. Settings that are left out are the project's defaults.
    NewNamespace (false) {
        /// The first segment of its channels.
        #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
        name: String,
    }
}

/// What the JSON Schemas of a namespace look like; what a JSON Schema is, its own description says.
fn schemas_by_type() -> Schema {
    let any = |kind: Type| ObjectBuilder::new().schema_type(kind).build();
    let text = OneOfBuilder::new();
    let text = text.item(any(Type::Boolean)).item(any(Type::Object)).item(any(Type::Null)).build();
    ObjectBuilder::new()
        .description(Some(
            "The JSON Schema of `data` for each event type. `*` stands for the types that have none of their own; \
             `false` takes no events. A schema is replaced whole, and in a change null takes it away.",
        ))
        .additional_properties(Some(Schema::from(text)))
        .examples([json!({"order.created": {"type": "object", "required": ["id"]}, "*": false})])
        .build()
        .into()
}

/// Those who publish, by how they come.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", as = PublisherKind)]
pub(crate) enum PublisherKind {
    Amqp,
    Keys,
    Tokens,
}

/// What presence does.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", as = PresenceMode)]
pub(crate) enum PresenceMode {
    Full,
    Off,
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
    Jwk(BTreeMap<String, Value>),
}

/// What is counted together.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", as = RateLimitScope)]
pub(crate) enum Scope {
    Ip,
    Key,
    Subject,
    Connection,
    Namespace,
    Project,
}

/// What is counted.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", as = RateLimitAction)]
pub(crate) enum Limited {
    Request,
    Connect,
    Subscribe,
    Publish,
    Signal,
}

/// How often what may be done.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = RateLimitSettings)]
pub(crate) struct RateLimitSettings {
    /// What is counted together.
    scope: Scope,
    /// What is counted. For namespaces: `subscribe`, `publish` or `signal`; for connections: anything but `connect`.
    action: Limited,
    /// How many there may be in each period.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    limit: i64,
    /// The length of a period, in seconds.
    #[schema(minimum = 1, maximum = 86_400)]
    period_seconds: i64,
    /// How many there may be at once, at most ten times the limit; null for half of the limit, and at least 1.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    burst: Option<i64>,
    /// The one key (by its prefix), subject or namespace that this is for; null: each has this limit for itself.
    #[schema(max_length = 1024)]
    target: Option<String>,
}

/// What to change of a rate limit.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", as = RateLimitChange)]
pub(crate) struct RateLimitChange {
    /// What is counted together.
    #[schema(required = false, nullable = false)]
    scope: Option<Scope>,
    /// What is counted.
    #[schema(required = false, nullable = false)]
    action: Option<Limited>,
    /// How many there may be in each period.
    #[schema(required = false, nullable = false, minimum = 1, maximum = 1_000_000_000)]
    limit: Option<i64>,
    /// The length of a period, in seconds.
    #[schema(required = false, nullable = false, minimum = 1, maximum = 86_400)]
    period_seconds: Option<i64>,
    /// How many there may be at once; null for half of the limit.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    burst: Option<i64>,
    /// The one key, subject or namespace that this is for; null for each.
    #[schema(max_length = 1024)]
    target: Option<String>,
}

/// What an admin key may do.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", as = AdminRole)]
pub(crate) enum AdminRole {
    /// Look.
    Viewer,
    /// Also change.
    Admin,
    /// Also delete projects and, where the key is for all projects, manage admin keys.
    Owner,
}
