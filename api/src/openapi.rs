//! The description of the REST API (OpenAPI 3.1): its frame, and the schema of errors.

use axum::http::StatusCode;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as OpenApiDocument, RefOr};
use utoipa::{Modify, OpenApi, ToSchema};

/// An error, as RFC 9457 writes it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what crate::problem writes")]
pub struct Problem {
    /// `about:blank`: the code says what it is.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened and what to mend.
    detail: String,
    /// The stable code, such as `NOT_FOUND`.
    code: String,
    /// Names this request in the log.
    request_id: String,
    /// What is wrong with single fields or items.
    #[schema(required = false)]
    errors: Vec<ProblemField>,
}

/// One wrong field of a request, or one wrong item of a batch.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes crate::error's FieldError")]
pub struct ProblemField {
    /// The field by its JSON name or path; of a batch's item `[3]`.
    field: String,
    /// What to mend.
    message: String,
    /// Of a batch: the item's index, from 0.
    #[schema(required = false)]
    index: usize,
    /// Of a batch: the item's own code.
    #[schema(required = false)]
    code: String,
}

/// A page of the log.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what history writes byte by byte")]
pub struct EventsPage {
    /// CloudEvents 1.0 with `channel`, `sequence` (a string) and `cursor`; oldest first.
    events: Vec<serde_json::Value>,
    /// Where to go on, in the direction that was read in.
    cursor: String,
    /// Whether there is more in that direction.
    has_more: bool,
}

/// The document without its operations.
#[derive(OpenApi)]
#[openapi(
    info(title = "Nuncio", description = "Events with memory: publish, read, administer."),
    servers((url = "/", description = "The node that this was read from")),
    modifiers(&Security),
    components(schemas(Problem)),
    security(("bearer" = [])),
    tags(
        (name = "events", description = "Publishing and reading; with an API key or a token"),
        (name = "projects", description = "Tenants; with an admin key, as all that follows"),
        (name = "namespaces", description = "Settings of the channels below a first segment"),
        (name = "channels", description = "What is stored, and its removal"),
        (name = "keys", description = "API keys"),
        (name = "signing keys", description = "Keys that tokens are signed with"),
        (name = "tokens", description = "Tokens for users: made here, or looked into"),
        (name = "rate limits", description = "How often what may be done"),
        (name = "dead letters", description = "Messages that could not become events"),
        (name = "connections", description = "What clients keep open, on all nodes"),
        (name = "nodes", description = "The processes that serve this database"),
        (name = "usage", description = "What projects use, by day"),
        (name = "admin keys", description = "Keys for this API; managed by owners for all projects"),
        (name = "audit log", description = "Who did what, before and after"),
    )
)]
struct Frame;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApiDocument) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

pub(crate) fn frame() -> OpenApiDocument {
    Frame::openapi()
}

/// Adds to each operation what all have: a name of its own, a word for each answer, and the media type of problems.
pub(crate) fn finish(mut document: OpenApiDocument) -> OpenApiDocument {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        operations.into_iter().flatten().for_each(finish_operation);
    }
    document
}

/// Handlers are named within their resource: `list` of `dead letters` is `deadLetters.list`.
fn finish_operation(operation: &mut Operation) {
    let resource = operation.tags.iter().flatten().next().map(|tag| camel_case(tag)).unwrap_or_default();
    let action = operation.operation_id.as_deref().map(camel_case).unwrap_or_default();
    operation.operation_id = Some(format!("{resource}.{action}"));
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            response.description = word_for(status);
        }
        let content = std::mem::take(&mut response.content);
        response.content = content.into_iter().map(|(kind, body)| (media_type(kind, &body), body)).collect();
    }
}

fn camel_case(words: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    let mut words = words.split([' ', '_', '-']).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &capital(word))
}

fn word_for(status: &str) -> String {
    let reason = status.parse().ok().and_then(|status: StatusCode| status.canonical_reason());
    reason.unwrap_or("Refused; `code` says why").to_owned()
}

/// A problem is `application/problem+json` (RFC 9457), wherever it is described.
fn media_type(given: String, body: &RefOr<Content>) -> String {
    let RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) = body else { return given };
    if schema.ref_location.ends_with("/Problem") { "application/problem+json".to_owned() } else { given }
}

/// The whole document, as it is served and as it is committed in `docs/openapi.json`.
pub fn openapi_json() -> String {
    let document = finish(crate::router::documented().to_openapi());
    let mut text = document.to_pretty_json().expect("the document has a JSON form");
    text.push('\n');
    text
}
