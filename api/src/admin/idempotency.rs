//! `Idempotency-Key`: a POST that is sent again is answered again, and done once (draft-ietf-httpapi-idempotency-key-header).
//!
//! The answer to the first request is kept for a day, for the same admin key, method and path alone. A request that was
//! refused did nothing: its answer is not kept, and a repeat is judged anew.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nuncio_model::{Code, ProjectName, Secret};
use nuncio_store::{AnswerClaim, AnswerKey, Attempt};
use serde::{Deserialize, Serialize};
use tracing::Instrument;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{OpenApi, RefOr, Required};

use crate::app::App;
use crate::auth::{Admin, Change, Permission, is_api_key};
use crate::body::Payload;
use crate::error::ApiError;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY_BYTES: usize = 255;
/// When to ask again for the answer of a request that is at work.
const AT_WORK_AGAIN: Duration = Duration::from_secs(1);
/// What is below this is the admin API.
const ADMIN: &str = "/admin/v1/";
/// The one POST that those may send, too, who may only look.
const LOOKS: &str = "/tokens:inspect";
/// The headers of an answer that belong to it, and not to the one journey.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];
/// The largest body that is kept with an answer; none of this API comes near it.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// An answer as it is kept.
#[derive(Deserialize, Serialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Carries out each POST of the admin API that carries an Idempotency-Key once.
pub(crate) async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let concerned = request.method() == Method::POST
        && request.uri().path().starts_with(ADMIN)
        && request.headers().contains_key(IDEMPOTENCY_KEY)
        // All that an API key may do here is to have a token made: one more does no harm.
        && !is_api_key(request.headers());
    if concerned {
        once(app, request, next).await.unwrap_or_else(ApiError::into_response)
    } else {
        next.run(request).await
    }
}

async fn once(app: Arc<App>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    // A project that was made through another node a moment ago is known here, too.
    app.directory.refresh().await?;
    let admin = Admin::from_request_parts(&mut parts, &app).await?;
    if Change::check(&admin).is_err() && !parts.uri.path().ends_with(LOOKS) {
        // It will be refused: nothing is read here of what they send.
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    let name = key_of(&parts.headers)?.to_owned();
    let whole = Request::from_parts(parts.clone(), body);
    let Payload(bytes) = Payload::from_request(whole, &()).await?;
    let place = format!("{} {}", parts.uri.path(), standing(&app, &admin, parts.uri.path()));
    let place = [parts.method.as_str(), &place, &name];
    let key = AnswerKey::new(admin.key.id, admin.text(), place, &bytes);
    match app.store.begin_answer(&key).await? {
        Attempt::First(claim) => {
            let request = Request::from_parts(parts, Body::from(bytes));
            // Whoever asked may be gone before it is done, and come back for the answer.
            let work = carry_out(app.clone(), key, claim, request, next).in_current_span();
            app.tasks.spawn(work).await.map_err(ApiError::internal)
        }
        Attempt::AtWork => Err(ApiError::new(
            Code::Conflict,
            "the first request with this Idempotency-Key is still at work, or its node has died: ask again in a moment, \
             or in 5 minutes where that does not help",
        )
        .with_retry_after(Some(AT_WORK_AGAIN))),
        Attempt::Another => Err(ApiError::new(
            Code::Conflict,
            "this Idempotency-Key was used with another body: use a new one for each request",
        )
        .with_status(StatusCode::UNPROCESSABLE_ENTITY)),
        Attempt::Answered(answer) => replay(&answer),
    }
}

/// What a request is judged by. Whoever may do less than before, or names a project that is another by now, does not get
/// the answer of then: the request is judged anew.
fn standing(app: &App, admin: &Admin, path: &str) -> String {
    let name = path.split('/').skip_while(|part| *part != "projects").nth(1).unwrap_or_default();
    let name = name.split(':').next().and_then(|name| ProjectName::parse(name).ok());
    let project = name.and_then(|name| app.directory.snapshot().project(&name).map(|project| project.id));
    format!("{} {:?} {project:?}", admin.key.role.as_str(), admin.key.projects)
}

/// The key, as the client wrote it: quotes, which the draft asks for, are a part of it.
fn key_of(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_good =
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    if is_good && values.next().is_none() {
        return Ok(key);
    }
    let error = ApiError::invalid("the Idempotency-Key is not good");
    Err(error.field(
        "Idempotency-Key",
        "must be there once, with 1 to 255 printable ASCII characters and no space",
    ))
}

async fn carry_out(
    app: Arc<App>,
    key: AnswerKey,
    claim: AnswerClaim,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let fits = response.body().size_hint().exact().is_some_and(|bytes| bytes <= MAX_ANSWER_BYTES);
    if !response.status().is_success() || !fits {
        note(app.store.give_up_answer(&key, claim).await);
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = match to_bytes(body, MAX_ANSWER_BYTES as usize).await {
        Ok(bytes) => bytes,
        Err(error) => return ApiError::internal(error).into_response(),
    };
    let kept = Kept {
        status: parts.status.as_u16(),
        headers: KEPT_HEADERS.iter().filter_map(|name| text_of(name, &parts.headers)).collect(),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    };
    let text = serde_json::to_string(&kept).expect("an answer has a JSON form");
    note(app.store.keep_answer(&key, claim, &Secret::new(text)).await);
    Response::from_parts(parts, Body::from(bytes))
}

fn text_of(name: &HeaderName, headers: &HeaderMap) -> Option<(String, String)> {
    Some((name.to_string(), headers.get(name)?.to_str().ok()?.to_owned()))
}

/// What was done is done, and its answer is right, whether or not it can be given again.
fn note(kept: nuncio_store::Result<()>) {
    if let Err(error) = kept {
        tracing::warn!(error = &error as &dyn std::error::Error, "an answer could not be kept for repeats");
    }
}

fn replay(answer: &Secret) -> Result<Response, ApiError> {
    let kept: Kept = serde_json::from_str(answer.expose()).map_err(ApiError::internal)?;
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).map_err(ApiError::internal)?;
    let headers = response.headers_mut();
    for (name, value) in kept.headers {
        let name: HeaderName = name.parse().map_err(ApiError::internal)?;
        headers.insert(name, value.parse().map_err(ApiError::internal)?);
    }
    headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Adds the header to the description of every POST.
pub(super) fn describe(document: &mut OpenApi) {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(MAX_KEY_BYTES))
        .pattern(Some("^[!-~]+$"))
        .build();
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Any text of one's own, new for each request. A repeat with the same text and body within a day is \
             answered again, with `Idempotency-Replayed: true`, and not done again; with another body it is refused \
             with 422, and while the first is at work with 409.",
        ))
        .schema(Some(text))
        .build();
    for item in document.paths.paths.values_mut() {
        if let Some(operation) = &mut item.post {
            operation.parameters.get_or_insert_default().push(RefOr::T(parameter.clone()));
        }
    }
}
