//! `Channel`: a channel as it stands.

use async_graphql::SimpleObject;
use nuncio_model::{ProjectId, cursor};
use nuncio_store::{ChannelHead, Head};

use super::scalars::{Cursor, Int64, Time};

/// A channel as it stands.
#[derive(SimpleObject)]
pub(crate) struct Channel {
    /// Its name.
    pub name: String,
    /// The sequence of its newest event.
    pub sequence: Int64,
    /// The place right after its newest event.
    pub cursor: Cursor,
    /// The oldest place after which none of its events has been removed.
    pub oldest: Cursor,
    /// When its first event was stored.
    pub first_event_at: Option<Time>,
    /// When its newest event was stored.
    pub last_event_at: Option<Time>,
    /// How many subscriptions and streams, by whatever pattern, listen to it on the node that answers.
    pub subscribers: i32,
}

impl Channel {
    /// Puts together what the log and this node know of it.
    pub(crate) fn new(project: ProjectId, head: Head, channel: ChannelHead, subscribers: usize) -> Self {
        let at = |position| cursor::Cursor { project, epoch: head.epoch, position }.into();
        Self {
            sequence: Int64(channel.sequence),
            cursor: at(channel.position),
            oldest: at(channel.trimmed_position),
            first_event_at: Some(Time(channel.first_event_at)),
            last_event_at: Some(Time(channel.last_event_at)),
            subscribers: i32::try_from(subscribers).unwrap_or(i32::MAX),
            name: channel.name,
        }
    }
}
