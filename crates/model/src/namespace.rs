//! The settings of a namespace: of all channels below one first segment.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Code;
use crate::event::EventError;
use crate::limits;
use crate::schema::{self, SchemaTexts, Schemas};

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

/// Those who publish, by how they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublisherKind {
    /// Whoever may write to the project's exchange in RabbitMQ.
    Amqp,
    /// API keys, which servers have.
    Keys,
    /// Tokens, which apps have.
    Tokens,
}

impl PublisherKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Amqp, Self::Keys, Self::Tokens];

    fn as_str(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Keys => "keys",
            Self::Tokens => "tokens",
        }
    }
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
    /// Who may publish, besides having the right to. Without any, nobody.
    pub publishers: BTreeSet<PublisherKind>,
    /// The JSON Schema of `data` for each event type; `*` stands for types that have none of their own.
    pub schemas: SchemaTexts,
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
            publishers: PublisherKind::ALL.into(),
            schemas: SchemaTexts::new(),
            presence: PresenceMode::Full,
            signals: true,
        }
    }
}

impl NamespaceSettings {
    /// What is wrong with these settings: one entry per field, by its JSON name.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut check = |field: &str, ok: bool, message: &str| {
            if !ok {
                problems.push((field.to_owned(), message.to_owned()));
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
        let checkable = self.schemas.is_empty() || self.max_event_bytes <= schema::MAX_CHECKED_BYTES;
        check("maxEventBytes", checkable, "must be at most 1048576 where there are schemas");
        problems.extend(schema::problems(&self.schemas));
        problems
    }
}

/// Settings of a namespace, ready for use. Cheap to clone but for the texts of the schemas.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The settings as they are written.
    pub settings: NamespaceSettings,
    schemas: Schemas,
}

impl Rules {
    /// Makes the settings ready for use.
    pub fn new(settings: NamespaceSettings) -> Self {
        let schemas = Schemas::compile(&settings.schemas);
        Self { settings, schemas }
    }

    /// The same, and what was made ready before is taken from there where it is still right.
    pub fn after(before: Option<&Self>, settings: NamespaceSettings) -> Self {
        match before {
            Some(before) if before.settings.schemas == settings.schemas => {
                Self { settings, schemas: before.schemas.clone() }
            }
            _ => Self::new(settings),
        }
    }

    /// What the data of events must be like.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// Refuses those who may not publish here, whatever rights they have.
    ///
    /// # Errors
    /// `FORBIDDEN`.
    pub fn check_publisher(&self, publisher: PublisherKind) -> Result<(), EventError> {
        let may = &self.settings.publishers;
        if may.contains(&publisher) {
            return Ok(());
        }
        let by: Vec<&str> = may.iter().map(|kind| kind.as_str()).collect();
        let message = if by.is_empty() {
            "this namespace takes no events (its `publishers` are empty)".to_owned()
        } else {
            format!("this namespace takes events by {} alone (its `publishers`)", by.join(" and "))
        };
        Err(EventError { code: Code::Forbidden, message })
    }
}

/// The longest deduplication window: a week.
pub const MAX_DEDUPE_SECONDS: i64 = 604_800;

/// Whether the text can be a namespace's name: one plain segment.
pub fn is_name(text: &str) -> bool {
    crate::Channel::parse(text).is_ok_and(|channel| channel.namespace() == channel.as_str())
}
