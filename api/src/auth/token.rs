//! Tokens (JWT, RFC 7519): who one stands for, why one is not good, and making them.
//!
//! There is one judgement, [`examine()`], for requests that carry a token and for administrators who ask about one.

mod claims;
mod examine;
mod key;
mod mint;
mod raw;

use nuncio_model::Identity;
use nuncio_model::rights::Proof;
use nuncio_store::{Project, Snapshot};

use crate::app::App;
use crate::auth::Over;
use crate::error::ApiError;

pub(crate) use claims::is_id;
pub(crate) use examine::{Examined, Problem, ProblemCode, examine};
pub(crate) use key::Source;
pub(super) use key::is_held;
pub use mint::{MintError, mint_token};
pub(crate) use mint::{NewToken, make};
pub(crate) use raw::Raw;

/// Tells who a token stands for now.
///
/// # Errors
/// `UNAUTHENTICATED`, with a sentence for whoever makes the tokens. Until the signature has been found good it says
/// nothing of what there is: not whether there is such a project, nor such a key.
pub(super) async fn read(app: &App, token: &str) -> Result<Identity, ApiError> {
    let raw = Raw::read(token).map_err(|problem| refused(&problem))?;
    let snapshot = app.directory.snapshot();
    let project = project_of(&snapshot, &raw)?;
    let examined = examine(app, project, &raw).await;
    if let Some(problem) = examined.problems.first() {
        return Err(refused(problem));
    }
    let proof = examined.proof();
    let (
        Examined { key: Some(key), rights: Some(rights), subject: Some(subject), expires_at, .. },
        Some(proof),
    ) = (examined, proof)
    else {
        return Err(unverified());
    };
    if let Some(row) = key.row {
        app.usage.note_signing_key(row, app.clock.now());
    }
    Ok(Identity {
        project: project.id,
        project_name: project.name.clone(),
        subject: Some(subject),
        rights,
        expires_at,
        address: None,
        proof: Proof::Token(proof),
    })
}

/// Whether `aud` names more than one project: such a token is refused, as each of them could do with it what the other
/// meant.
pub(crate) fn names_several(snapshot: &Snapshot, raw: &Raw) -> bool {
    claims::audiences(raw.claims.get("aud")).is_ok_and(|audiences| named(snapshot, &audiences).len() > 1)
}

/// The one project that `aud` names; the signature is then checked with the keys of that project alone.
fn project_of<'a>(snapshot: &'a Snapshot, raw: &Raw) -> Result<&'a Project, ApiError> {
    let audiences = claims::audiences(raw.claims.get("aud")).map_err(|problem| refused(&problem))?;
    // Its keys are not to be relied on, so that this is said whoever signed the token.
    if audiences.iter().any(|audience| snapshot.closed_by_audience(audience).is_some()) {
        return Err(Over::ProjectClosed.into());
    }
    match named(snapshot, &audiences).as_slice() {
        [project] => Ok(project),
        [] => Err(unverified()),
        _ => Err(ApiError::unauthenticated("the token has an `aud` that names more than one project")),
    }
}

/// The projects of these audiences, each once.
fn named<'a>(snapshot: &'a Snapshot, audiences: &[&str]) -> Vec<&'a Project> {
    let found = audiences.iter().filter_map(|audience| snapshot.project_by_audience(audience));
    let mut named: Vec<&Project> = found.map(AsRef::as_ref).collect();
    named.sort_unstable_by_key(|project| project.id.0);
    named.dedup_by_key(|project| project.id);
    named
}

fn refused(problem: &Problem) -> ApiError {
    // The same words for a project, a key and a signature: a stranger learns nothing about which of them there are.
    if problem.code.is_about_keys() {
        return unverified();
    }
    ApiError::unauthenticated(format!("the token {}", problem.message))
}

fn unverified() -> ApiError {
    ApiError::unauthenticated("the token is not signed with a key of a project that it is for")
}
