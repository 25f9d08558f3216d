//! Sizes that hold everywhere, whatever the settings say.

/// The most events one publish request may carry.
pub const MAX_BATCH_EVENTS: usize = 1_000;
/// The most bytes of data gathered into one commit, one event that is larger alone apart.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// The most bytes of an event's `id`.
pub const MAX_ID_BYTES: usize = 256;
/// The most bytes of an event's `type`.
pub const MAX_TYPE_BYTES: usize = 256;
/// The most bytes of an event's `source`, `subject` or `datacontenttype`.
pub const MAX_ATTRIBUTE_BYTES: usize = 1_024;
/// The most extension attributes of an event.
pub const MAX_EXTENSIONS: usize = 32;
/// The most events a page may hold, and the most that `last` may ask for.
pub const MAX_PAGE: usize = 1_000;
/// The events of a page where the reader does not say.
pub const DEFAULT_PAGE: usize = 100;
/// The largest `maxEventBytes` a namespace may set.
pub const MAX_EVENT_BYTES: usize = 16 << 20;
