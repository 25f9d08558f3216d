//! `/admin/v1/projects/{project}/connections`: what clients keep open, on all nodes.

#![expect(
    unused_qualifications,
    reason = "utoipa writes a path before the types of queries, at their own place"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nuncio_store::Note;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Body;
use crate::app::App;
use crate::auth::{Admin, Change, May};
use crate::connections::{Answer, Choice, Errand, Kind, Listed, Listing, Rank, Shown, Sort};
use crate::error::{ApiError, FieldError};
use crate::openapi::Problem;

/// How many items a page has where the reader does not say, and the most it may have.
const LIMITS: (usize, usize) = (50, 200);
/// The most connections that are named in one request.
const MAX_IDS: usize = 200;
/// The longest id, subject, key, node or reason, in characters.
const MAX_TEXT: usize = 256;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(disconnect))
}

/// Connections of all nodes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Connections)]
pub(super) struct Page {
    /// The connections, in the order that was asked for.
    items: Vec<Shown>,
    /// Names the next page; null on the last.
    next_page_token: Option<String>,
    /// How many there are in all.
    total: usize,
    /// The live nodes that did not answer within three seconds: their connections are missing here.
    incomplete: Vec<String>,
}

/// Which connections, and in what order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Those of tokens with this subject.
    #[param(max_length = 256)]
    subject: Option<String>,
    /// Those of the API key of this prefix, or of tokens signed with the key of this id.
    #[param(max_length = 256)]
    key: Option<String>,
    /// Those of this protocol.
    #[param(value_type = Option<Kind>, inline)]
    kind: Option<String>,
    /// Those of this node.
    #[param(max_length = 256)]
    node: Option<String>,
    /// In what order; `newest` where it is left out.
    #[param(value_type = Option<Sort>, inline)]
    sort: Option<String>,
    /// How many items at most: 1 to 200, 50 where it is left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// `nextPageToken` of the page before.
    page_token: Option<String>,
}

/// What is to be ended: connections by their ids, or all of a subject or a key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Disconnect)]
pub(super) struct Order {
    /// The ids of connections.
    #[schema(min_items = 1, max_items = 200)]
    ids: Option<Vec<String>>,
    /// The subject of their tokens.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00]*$")]
    subject: Option<String>,
    /// The prefix of their API key, or the id of the key that their tokens were signed with.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00]*$")]
    key: Option<String>,
    /// Why, for the audit log.
    #[schema(max_length = 256, pattern = r"^[^\x00]*$")]
    reason: Option<String>,
}

/// What was ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Disconnected)]
pub(super) struct Done {
    /// How many connections were told to end.
    disconnected: usize,
    /// The nodes that have done it.
    nodes: Vec<String>,
    /// The live nodes that did not answer within three seconds. Ask again to be sure of those.
    unanswered: Vec<String>,
}

/// List the open connections of all nodes.
///
/// Each node is asked, by way of the database, and answers within about half a second. What the list tells has moved on
/// by the time it is read. `slowest` begins with those whose sockets have taken nothing for longest.
#[utoipa::path(
    get, path = "/admin/v1/projects/{project}/connections", tag = "connections", operation_id = "list_connections",
    params(("project" = String, Path, description = "The project's name"), Filter),
    responses(
        (status = 200, body = Page),
        (status = "4XX", body = Problem),
        (status = 503, description = "The database is away", body = Problem),
    )
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Path(project): Path<String>,
    Query(filter): Query<Filter>,
) -> Result<Json<Page>, ApiError> {
    let (project, mut listing) = (super::project(&app, &admin, &project).await?, filter.listing()?);
    let limit = listing.limit;
    // One more tells that there is a next page.
    listing.limit += 1;
    let heard = app.errands.ask(project.id, &Errand::List(listing)).await?;
    let parts = heard.answers.into_iter().filter_map(|(_, answer)| match answer {
        Answer::Listed(listed) => Some(listed),
        Answer::Disconnected(_) => None,
    });
    Ok(Json(Page::of(parts, limit, heard.silent)))
}

/// End connections, on all nodes.
///
/// A WebSocket is closed with 1001, a stream of events says `nuncio.goaway`, other streams end. Clients may come back at
/// once: to keep them out, revoke their key or token.
#[utoipa::path(
    post, path = "/admin/v1/projects/{project}/connections:disconnect", tag = "connections",
    operation_id = "disconnect_connections",
    params(("project" = String, Path, description = "The project's name")), request_body = Order,
    responses(
        (status = 200, body = Done),
        (status = "4XX", body = Problem),
        (status = 503, description = "The database is away", body = Problem),
    )
)]
async fn disconnect(
    State(app): State<Arc<App>>,
    admin: May<Change>,
    Path(project): Path<String>,
    Body(order): Body<Order>,
) -> Result<Json<Done>, ApiError> {
    let project = super::project(&app, &admin, &project).await?;
    let (choice, reason) = order.choice()?;
    let who = json!({ "ids": choice.ids, "subject": choice.subject, "key": choice.key, "reason": reason });
    // It is written first: what is ended cannot be opened again where the entry cannot be written.
    let (action, resource, of) = ("disconnected", "connections", Some(project.id));
    let note = Note { project: of, action, resource, resource_id: "", details: Some(who) };
    admin.store(&app).note(&note).await?;
    let heard = app.errands.ask(project.id, &Errand::Disconnect(choice)).await?;
    let mut done = Done { disconnected: 0, nodes: Vec::new(), unanswered: heard.silent };
    for (node, answer) in heard.answers {
        if let Answer::Disconnected(count) = answer {
            done.disconnected += count;
            done.nodes.push(node);
        }
    }
    Ok(Json(done))
}

impl Page {
    fn of(parts: impl Iterator<Item = Listed>, limit: usize, incomplete: Vec<String>) -> Self {
        let (mut total, mut items) = (0, Vec::new());
        for part in parts {
            total += part.total;
            items.extend(part.items);
        }
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        let more = items.len() > limit;
        items.truncate(limit);
        let next_page_token = items.last().filter(|_| more).map(|(rank, _)| write_token(rank));
        let items = items.into_iter().map(|(_, shown)| shown).collect();
        Self { items, next_page_token, total, incomplete }
    }
}

impl Filter {
    /// The list that is asked for.
    fn listing(self) -> Result<Listing, ApiError> {
        let mut wrong = Wrong::default();
        let limit = match &self.limit {
            None => LIMITS.0,
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| (1..=LIMITS.1).contains(limit));
                wrong.unless(limit, "limit", "must be a whole number from 1 to 200").unwrap_or_default()
            }
        };
        let sort =
            self.sort.map(|text| wrong.unless(word(text), "sort", "must be slowest, newest or oldest"));
        let kinds = "must be websocket, sse, graphql-sse, multipart or long-poll";
        let kind = self.kind.and_then(|text| wrong.unless(word(text), "kind", kinds));
        let after = self
            .page_token
            .filter(|token| !token.is_empty())
            .and_then(|token| wrong.unless(read_token(&token), "pageToken", "is not one that was given out"));
        for (field, text) in [("subject", &self.subject), ("key", &self.key), ("node", &self.node)] {
            let good = text.as_ref().is_none_or(|text| text.chars().count() <= MAX_TEXT);
            wrong.unless(good.then_some(()), field, "must have at most 256 characters");
        }
        wrong.if_any("the query is not good")?;
        let choice = Choice { ids: None, subject: self.subject, key: self.key, kind, node: self.node };
        Ok(Listing { choice, sort: sort.flatten().unwrap_or_default(), after, limit })
    }
}

impl Order {
    /// Which connections, and why.
    fn choice(self) -> Result<(Choice, Option<String>), ApiError> {
        let mut wrong = Wrong::default();
        if self.ids.is_none() && self.subject.is_none() && self.key.is_none() {
            wrong.add(
                "ids",
                "one of ids, subject and key must be given: not everybody is disconnected at once",
            );
        }
        let ids = self.ids.map(|mut ids| {
            let good = (1..=MAX_IDS).contains(&ids.len()).then_some(());
            wrong.unless(good, "ids", "must be 1 to 200 ids of connections");
            // What cannot be an id names no connection.
            ids.retain(|id| is_plain(id));
            ids
        });
        for (field, text) in [("subject", &self.subject), ("key", &self.key)] {
            let good = text.as_deref().is_none_or(|text| is_plain(text) && !text.is_empty());
            wrong.unless(good.then_some(()), field, "must have 1 to 256 characters, and no NUL");
        }
        let good = self.reason.as_deref().is_none_or(is_plain).then_some(());
        wrong.unless(good, "reason", "must have at most 256 characters, and no NUL");
        wrong.if_any("these connections cannot be ended")?;
        let choice = Choice { ids, subject: self.subject, key: self.key, kind: None, node: None };
        Ok((choice, self.reason))
    }
}

/// All that is wrong with a request.
#[derive(Default)]
struct Wrong(Vec<FieldError>);

impl Wrong {
    fn add(&mut self, field: &str, message: &str) {
        let (field, message) = (field.to_owned(), message.to_owned());
        self.0.push(FieldError { field, message, index: None, code: None });
    }

    fn unless<T>(&mut self, good: Option<T>, field: &str, message: &str) -> Option<T> {
        if good.is_none() {
            self.add(field, message);
        }
        good
    }

    fn if_any(self, detail: &str) -> Result<(), ApiError> {
        let mut error = ApiError::invalid(detail);
        error.fields = self.0;
        error.if_any_field()
    }
}

/// PostgreSQL's JSON cannot hold a NUL.
fn is_plain(text: &str) -> bool {
    text.chars().count() <= MAX_TEXT && !text.contains('\0')
}

/// One of the words of an enum.
fn word<T: DeserializeOwned>(text: String) -> Option<T> {
    serde_json::from_value(text.into()).ok()
}

fn write_token(rank: &Rank) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(rank).unwrap_or_default())
}

fn read_token(token: &str) -> Option<Rank> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let filter = Filter {
            sort: Some("fastest".to_owned()),
            kind: Some("fax".to_owned()),
            limit: Some("0".to_owned()),
            page_token: Some("x".to_owned()),
            subject: Some("x".repeat(257)),
            ..Filter::default()
        };
        let error = filter.listing().expect_err("all is wrong");
        let fields: Vec<_> = error.fields.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(fields, ["limit", "sort", "kind", "pageToken", "subject"]);
    }

    #[test]
    fn nobody_disconnects_everybody_by_leaving_all_out() {
        let order = Order { ids: None, subject: None, key: None, reason: None };
        assert!(order.choice().is_err());
        let order = Order { ids: None, subject: Some(String::new()), key: None, reason: None };
        assert!(order.choice().is_err());
    }
}
