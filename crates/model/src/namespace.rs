//! The settings of a namespace: of all channels below one first segment.

use serde::{Deserialize, Serialize};

use crate::limits;

/// What `presence` does in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceMode {
    /// Who is there, with join and leave.
    #[default]
    Full,
    /// Nothing is kept.
    Off,
}

/// Settings of a namespace, as the admin API shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NamespaceSettings {
    /// How long events are kept, in seconds; null keeps them for good.
    pub retention_seconds: Option<i64>,
    /// How many events each channel keeps; null sets no bound.
    pub retention_events: Option<i64>,
    /// For how long a repeat of `(channel, source, id)` is recognised, in seconds.
    pub dedupe_seconds: i64,
    /// The largest `data` of one event, in bytes.
    pub max_event_bytes: i64,
    /// What presence does.
    pub presence: PresenceMode,
    /// Whether signals may be sent.
    pub signals: bool,
}

impl Default for NamespaceSettings {
    fn default() -> Self {
        Self {
            retention_seconds: Some(604_800),
            retention_events: None,
            dedupe_seconds: 86_400,
            max_event_bytes: 262_144,
            presence: PresenceMode::Full,
            signals: true,
        }
    }
}

impl NamespaceSettings {
    /// What is wrong with these settings: one entry per field, by its JSON name.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut check = |field, ok: bool, message: &str| {
            if !ok {
                problems.push((field, message.to_owned()));
            }
        };
        let ten_years = 315_360_000;
        let seconds_ok = self.retention_seconds.is_none_or(|s| (60..=ten_years).contains(&s));
        check("retentionSeconds", seconds_ok, "must be null or from 60 to 315360000");
        let count_ok = self.retention_events.is_none_or(|n| (1..=1_000_000_000).contains(&n));
        check("retentionEvents", count_ok, "must be null or from 1 to 1000000000");
        let dedupe_ok = (0..=MAX_DEDUPE_SECONDS).contains(&self.dedupe_seconds);
        check("dedupeSeconds", dedupe_ok, "must be from 0 to 604800");
        let size_ok = (1..=limits::MAX_EVENT_BYTES as i64).contains(&self.max_event_bytes);
        check("maxEventBytes", size_ok, "must be from 1 to 16777216");
        problems
    }
}

/// The longest deduplication window: a week.
pub const MAX_DEDUPE_SECONDS: i64 = 604_800;

/// Whether the text can be a namespace's name: one plain segment.
pub fn is_name(text: &str) -> bool {
    crate::Channel::parse(text).is_ok_and(|channel| channel.namespace() == channel.as_str())
}
