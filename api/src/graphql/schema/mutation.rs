//! `Mutation`: publishing, and going on with a new token.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use nuncio_model::event::EventError;
use nuncio_model::{Action, Channel, Draft};

use super::super::error::of_api;
use super::super::renewal::{Renewal, nothing_to_renew};
use super::Request;
use super::input::{ChannelEventInput, EventInput};
use super::scalars::{Cursor, Int64};
use crate::auth;
use crate::publish::PublishError;

/// The root of mutations.
pub(crate) struct Mutation;

/// Where a publication ended up.
#[derive(SimpleObject)]
pub(crate) struct Published {
    /// The event's id, made where none was given.
    pub id: ID,
    /// The channel.
    pub channel: String,
    /// Its number within the channel.
    pub sequence: Int64,
    /// The place right after it.
    pub cursor: Cursor,
    /// Whether it had been stored before; this is then the place of the original.
    pub duplicate: bool,
}

#[Object]
impl Mutation {
    /// Stores an event. The answer comes once it is committed.
    async fn publish(&self, context: &Context<'_>, channel: String, event: EventInput) -> Result<Published> {
        let request = Request::of(context)?;
        let mut published = publish(request, vec![ChannelEventInput { channel, event }]).await?;
        published.pop().ok_or_else(|| async_graphql::Error::new("nothing was stored"))
    }

    /// Stores up to 1,000 events, all of them or none; the answers are in their order.
    async fn publish_batch(
        &self,
        context: &Context<'_>,
        events: Vec<ChannelEventInput>,
    ) -> Result<Vec<Published>> {
        publish(Request::of(context)?, events).await
    }

    /// Has the connection that this is sent over go on with a new token of the same project and `sub`: its rights and
    /// its end are then that token's. Running operations that it does not cover end with `FORBIDDEN`.
    async fn refresh_token(&self, context: &Context<'_>, token: String) -> Result<bool> {
        let request = Request::of(context)?;
        let renewal = context.data_opt::<Arc<Renewal>>().ok_or_else(|| of_api(nothing_to_renew()))?;
        renewal.renew(&request.app, &request.asker, &token).await.map_err(of_api)?;
        Ok(true)
    }
}

async fn publish(request: &Request, events: Vec<ChannelEventInput>) -> Result<Vec<Published>> {
    let project = request.project()?;
    let drafts = read_all(events).map_err(|error| of_api(error.into()))?;
    let identity = request.identity();
    for draft in &drafts {
        auth::require(&identity, Action::Publish, &draft.channel).map_err(of_api)?;
    }
    let channels = drafts.iter().map(|draft| &draft.channel);
    request.visitor.publish(&request.app, &identity, channels).map_err(of_api)?;
    let published = request.app.publisher.publish(&project, identity.publisher(), drafts).await;
    let published = published.map_err(|error| of_api(error.into()))?;
    Ok(published.into_iter().map(Published::from).collect())
}

/// Reads every event, so that the answer can name each bad one by its index.
fn read_all(events: Vec<ChannelEventInput>) -> Result<Vec<Draft>, PublishError> {
    let (mut drafts, mut bad) = (Vec::with_capacity(events.len()), Vec::new());
    for (index, ChannelEventInput { channel, event }) in events.into_iter().enumerate() {
        let channel = Channel::parse(&channel).map_err(EventError::from);
        match channel.and_then(|channel| event.into_draft(channel)) {
            Ok(draft) => drafts.push(draft),
            Err(error) => bad.push((index, error)),
        }
    }
    if bad.is_empty() { Ok(drafts) } else { Err(PublishError::Rejected(bad)) }
}

impl From<nuncio_model::event::Published> for Published {
    fn from(published: nuncio_model::event::Published) -> Self {
        Self {
            id: ID(published.id),
            channel: published.channel,
            sequence: Int64(published.sequence),
            cursor: Cursor(published.cursor),
            duplicate: published.duplicate,
        }
    }
}
