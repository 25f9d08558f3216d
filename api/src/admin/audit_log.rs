//! `/admin/v1/audit-log`: who did what, before and after.

#![expect(
    unused_qualifications,
    reason = "utoipa writes a path before the types of queries, at their own place"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use chrono::{DateTime, Utc};
use nuncio_model::cloudevents::{is_writable, write_time};
use nuncio_store::{AuditEntry, AuditFilter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::list::{List, Paging};
use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::openapi::Problem;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// One thing that was done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub(super) struct Shown {
    /// Names it; later ones are higher.
    id: String,
    /// When.
    at: String,
    /// The project it concerns; null where it concerns all.
    project: Option<String>,
    /// Who: `kind` (`adminKey`, `apiKey`, `command`, `system`; `database` for what was written past Nuncio), `name`, and
    /// where they are known `prefix` and `address`.
    #[schema(value_type = Object)]
    actor: Value,
    /// What: `created`, `changed`, `revoked`, `deleted`, and for what is no change of a setting words of the resource.
    action: String,
    /// To what, by the word that stands in its path, such as `signing-keys`.
    resource: String,
    /// To which of these.
    resource_id: String,
    /// How it was before.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// How it is since.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    /// The request by which it was done.
    request_id: Option<String>,
}

impl From<AuditEntry> for Shown {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            at: write_time(entry.at),
            project: entry.project,
            actor: entry.actor,
            action: entry.action,
            resource: entry.resource,
            resource_id: entry.resource_id,
            before: entry.before,
            after: entry.after,
            request_id: entry.request_id,
        }
    }
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// The name of the project.
    project: Option<String>,
    /// Who: a key's prefix, or a name.
    actor: Option<String>,
    /// What was done.
    action: Option<String>,
    /// To what.
    resource: Option<String>,
    /// From this time on.
    #[param(value_type = Option<DateTime<Utc>>)]
    since: Option<String>,
    /// Before this time.
    #[param(value_type = Option<DateTime<Utc>>)]
    until: Option<String>,
}

/// List what was done, the newest first. Keys for some projects see what was done there.
#[utoipa::path(
    get, path = "/admin/v1/audit-log", tag = "audit log", params(Paging, Filter),
    responses((status = 200, body = List<Shown>), (status = "4XX", body = Problem))
)]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin,
    Query(paging): Query<Paging>,
    Query(filter): Query<Filter>,
) -> Result<Json<List<Shown>>, ApiError> {
    let (limit, filter) = (paging.limit()?, filter.check(&admin)?);
    let before = Some(paging.after_number()?).filter(|id| *id != 0);
    let rows = app.store.list_audit_log(&filter, before, limit + 1).await?;
    Ok(Json(List::of(rows, limit, |entry| entry.id.to_string(), Shown::from)))
}

impl Filter {
    fn check(self, admin: &Admin) -> Result<AuditFilter, ApiError> {
        let mut error = ApiError::invalid("the query is not good");
        let mut times = [None, None];
        for (time, (name, text)) in times.iter_mut().zip([("since", &self.since), ("until", &self.until)]) {
            let Some(text) = text else { continue };
            *time = read(text);
            if time.is_none() {
                error =
                    error.field(name, "must be RFC 3339, like 2026-01-31T12:00:00Z; a `+` is written as %2B");
            }
        }
        error.if_any_field()?;
        let [since, until] = times;
        let Self { project, actor, action, resource, .. } = self;
        let [project, actor, action, resource] = [project, actor, action, resource].map(storable);
        let only = admin.key.projects.clone();
        Ok(AuditFilter { only, project, actor, action, resource, since, until })
    }
}

/// The text, or one that no entry holds either where PostgreSQL would refuse it.
fn storable(text: Option<String>) -> Option<String> {
    text.map(|text| text.replace('\0', "\u{fffd}"))
}

fn read(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
    Some(time).filter(|time| is_writable(*time))
}
