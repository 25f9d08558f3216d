//! The description of the REST API (OpenAPI 3.1): its frame, and the schema of errors.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
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
    modifiers(&Security),
    components(schemas(Problem)),
    security(("bearer" = [])),
    tags(
        (name = "events", description = "Publishing and reading; with an API key or a token"),
        (name = "projects", description = "Tenants; with an admin key, as all that follows"),
        (name = "namespaces", description = "Settings of the channels below a first segment"),
        (name = "keys", description = "API keys"),
        (name = "signing keys", description = "Keys that tokens are signed with"),
        (name = "tokens", description = "Tokens for users: made here, or looked into"),
        (name = "dead letters", description = "Messages that could not become events"),
    )
)]
struct Frame;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

pub(crate) fn frame() -> utoipa::openapi::OpenApi {
    Frame::openapi()
}

/// The whole document, as it is served and as it is committed in `docs/openapi.json`.
pub fn openapi_json() -> String {
    let mut text =
        crate::router::documented().to_openapi().to_pretty_json().expect("the document has a JSON form");
    text.push('\n');
    text
}
