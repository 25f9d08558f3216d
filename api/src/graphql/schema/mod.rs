//! The GraphQL schema, as the contract has it.

mod channel;
mod event;
mod input;
mod mutation;
mod query;
mod rehearsal;
mod scalars;
mod subscription;

use std::sync::Arc;

use async_graphql::{Context, Result, SchemaBuilder};
use nuncio_model::{Action, Code, Identity, Pattern, ProjectId};
use nuncio_store::Project;
use parking_lot::Mutex;

use super::asker::Asker;
use super::error::of_api;
use crate::app::App;
use crate::auth;
use crate::error::ApiError;
use crate::feed::Gap;
use crate::limits::Visitor;

pub(crate) use event::{EVENT_TYPE, Event, SAME_FOR_ALL};
pub(crate) use mutation::Mutation;
pub(crate) use query::Query;
pub(crate) use rehearsal::Rehearsal;
pub(crate) use subscription::{Asked, AskedSlot, NO_RESUME, OnGap, Placement, Subscription};

/// The schema, ready to execute.
pub(crate) type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// How deep fields may nest; the introspection of ordinary tools needs 13.
const MAX_DEPTH: usize = 20;
/// How many fields an operation may ask for in all.
const MAX_COMPLEXITY: usize = 1_000;
/// How many directives a field may have.
const MAX_DIRECTIVES: usize = 8;

/// Builds the schema with its limits. They come after the parser: see `guard` for what comes before it.
pub(crate) fn build() -> Schema {
    limited().finish()
}

fn limited() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query, Mutation, Subscription)
        .limit_depth(MAX_DEPTH)
        .limit_complexity(MAX_COMPLEXITY)
        .limit_directives(MAX_DIRECTIVES)
        .disable_suggestions()
}

/// The schema in GraphQL's own language, as `docs/schema.graphql` has it.
pub fn sdl() -> String {
    build().sdl()
}

/// Who executes an operation, with what, and where a gap is left for the transport to tell.
pub(super) struct Request {
    pub(super) app: Arc<App>,
    pub(super) asker: Arc<Asker>,
    pub(super) visitor: Visitor,
    pub(super) gap: GapSlot,
}

/// A gap that the next response of an operation carries in its extensions.
pub(super) type GapSlot = Arc<Mutex<Option<Gap>>>;

impl Request {
    pub(super) fn new(app: Arc<App>, identity: Arc<Identity>, visitor: Visitor) -> Self {
        Self { app, asker: Arc::new(Asker::new(identity)), visitor, gap: GapSlot::default() }
    }

    fn of<'a>(context: &Context<'a>) -> Result<&'a Self> {
        // What is executed for many is asked by nobody in particular.
        let nobody = || of_api(ApiError::new(Code::Internal, "it is not known who is asking"));
        context.data_opt::<Self>().ok_or_else(nobody)
    }

    fn identity(&self) -> Arc<Identity> {
        self.asker.identity()
    }

    fn project_id(&self) -> ProjectId {
        self.identity().project
    }

    fn project(&self) -> Result<Arc<Project>> {
        self.app.project(&self.identity()).map_err(of_api)
    }

    /// Reads a pattern that is to be read from, and refuses one that is wider than the rights.
    fn readable(&self, text: &str) -> Result<Arc<[Pattern]>> {
        self.allowed(text).map_err(of_api)
    }

    fn allowed(&self, text: &str) -> std::result::Result<Arc<[Pattern]>, ApiError> {
        let pattern = Pattern::parse(text)?;
        self.asker.hold((Action::Subscribe, &pattern), |identity| {
            auth::require_pattern(identity, Action::Subscribe, &pattern)
        })?;
        Ok(Arc::new([pattern]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_what_the_contract_says() {
        let sdl = sdl();
        for line in [
            "scalar JSON",
            "scalar DateTime",
            "scalar Cursor",
            "scalar Int64",
            "events(channel: String!, after: Cursor, since: DateTime, last: Int, filter: String, onGap: OnGap = FAIL, resume: ID): Event!",
            "history(channel: String!, after: Cursor, before: Cursor, since: DateTime, first: Int, last: Int, filter: String): EventPage!",
            "channel(name: String!): Channel",
            "cursor: Cursor!",
            "publish(channel: String!, event: EventInput!): Published!",
            "publishBatch(events: [ChannelEventInput!]!): [Published!]!",
            "refreshToken(token: String!): Boolean!",
            "type EventPage {",
            "input ChannelEventInput {",
        ] {
            assert!(sdl.contains(line), "{line} is not in:\n{sdl}");
        }
    }

    #[tokio::test]
    async fn the_library_stops_at_the_limits() {
        let nested = format!("{{ __schema {{ types {} name {} }} }}", "{ ofType ".repeat(30), "}".repeat(30));
        assert!(build().execute(&nested).await.is_err());
        let introspection = "{ __schema { types { fields { type { ofType { ofType { ofType { ofType { ofType { ofType { name } } } } } } } } } } }";
        let response = build().execute(introspection).await;
        assert!(response.is_ok(), "{:?}", response.errors);
    }
}
