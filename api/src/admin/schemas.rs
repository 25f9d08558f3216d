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
