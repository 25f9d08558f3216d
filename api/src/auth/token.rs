//! Tokens (JWT, RFC 7519): reading those of users, and making them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use nuncio_model::rights::{Proof, RightsText, TokenProof};
use nuncio_model::{Identity, ProjectName, Rights};
use nuncio_store::{Project, SigningKey, Snapshot};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::ApiError;

/// How far the clock of whoever signs may be ahead of or behind ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);
/// The longest `sub`.
const MAX_SUBJECT_BYTES: usize = 256;

/// What is looked at before the signature is checked: only to find the project whose keys decide.
#[derive(Deserialize)]
struct Unverified {
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The claims of a token whose signature is good. Times are seconds since 1970, fractions allowed (RFC 7519).
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: Option<String>,
    #[serde(default)]
    nuncio: RightsText,
}

/// Tells who a token stands for now.
///
/// # Errors
/// `UNAUTHENTICATED`, with a sentence for whoever makes the tokens.
pub(super) async fn read(app: &App, token: &str) -> Result<Identity, ApiError> {
    let (snapshot, now) = (app.directory.snapshot(), app.clock.now());
    let header =
        jsonwebtoken::decode_header(token).map_err(|_| refused("is no key and no JSON Web Token"))?;
    // RFC 7515, section 4.1.11: an extension that is said to be critical and is not known voids the token.
    if header.crit.is_some() {
        return Err(refused("has a `crit` header, and none is understood"));
    }
    let project = project_of(&snapshot, token)?;
    let key = key_of(project, header.kid.as_deref())?;
    let claims = verify(project, key, token)?;
    check_times(&claims, now)?;
    if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT_BYTES {
        return Err(refused("needs a `sub` of 1 to 256 bytes"));
    }
    let rights = Rights::parse(&claims.nuncio)
        .map_err(|error| refused(&format!("has a bad `nuncio` claim: {error}")))?;
    Ok(Identity {
        project: project.id,
        project_name: project.name.clone(),
        subject: Some(claims.sub),
        rights,
        expires_at: time(claims.exp),
        address: None,
        proof: Proof::Token(TokenProof {
            kid: key.kid.clone(),
            jti: claims.jti,
            issued_at: claims.iat.and_then(time),
        }),
    })
}

/// The one project that `aud` names; the signature is then checked with the keys of that project alone.
fn project_of<'a>(snapshot: &'a Snapshot, token: &str) -> Result<&'a Project, ApiError> {
    let claims: Unverified = jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| refused("has claims that cannot be read"))?;
    let audiences = match claims.aud {
        Some(Audience::One(one)) => vec![one],
        Some(Audience::Many(many)) => many,
        None => return Err(refused("needs an `aud` that holds `nuncio:` and the project's name")),
    };
    let mut named =
        snapshot.projects().filter(|project| audiences.iter().any(|audience| is_audience(project, audience)));
    match (named.next(), named.next()) {
        (Some(project), None) => Ok(project),
        (Some(_), Some(_)) => Err(refused("has an `aud` that names more than one project")),
        // The same words as for a bad signature: a stranger learns nothing about which projects there are.
        (None, _) => Err(unverified()),
    }
}

fn is_audience(project: &Project, audience: &str) -> bool {
    let by_name = audience.strip_prefix("nuncio:").is_some_and(|name| name == project.name.as_str());
    by_name || project.audience.as_deref() == Some(audience)
}

/// The key that `kid` names. Without one the project must have a single key: nothing is tried out.
fn key_of<'a>(project: &'a Project, kid: Option<&str>) -> Result<&'a SigningKey, ApiError> {
    match (kid, project.signing_keys.as_slice()) {
        (Some(kid), keys) => keys.iter().find(|key| key.kid == kid).ok_or_else(unverified),
        (None, [key]) => Ok(key),
        (None, _) => Err(unverified()),
    }
}

/// Checks the signature by the key's own algorithm, whatever the token says, and that the claims we need are there.
fn verify(project: &Project, key: &SigningKey, token: &str) -> Result<Claims, ApiError> {
    let mut validation = Validation::new(algorithm(key).ok_or_else(unverified)?);
    validation.set_required_spec_claims(&["exp", "sub", "aud"]);
    let mut audiences = vec![format!("nuncio:{}", project.name)];
    audiences.extend(project.audience.clone());
    validation.set_audience(&audiences);
    // The library asks the system for the time; ours is a parameter and is checked right after this.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    let decoding = DecodingKey::from_secret(key.secret.expose().as_bytes());
    let data = jsonwebtoken::decode::<Claims>(token, &decoding, &validation);
    data.map(|data| data.claims).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::MissingRequiredClaim(claim) => refused(&format!("needs `{claim}`")),
        jsonwebtoken::errors::ErrorKind::Json(_) => {
            refused("needs `sub`, `exp` and `aud`, and one of its claims is missing or of a wrong form")
        }
        _ => unverified(),
    })
}

fn algorithm(key: &SigningKey) -> Option<Algorithm> {
    (key.algorithm == "HS256").then_some(Algorithm::HS256)
}

fn check_times(claims: &Claims, now: DateTime<Utc>) -> Result<(), ApiError> {
    let expires = time(claims.exp).ok_or_else(|| refused("has an `exp` that is no time"))?;
    if expires + LEEWAY <= now {
        return Err(refused("has expired"));
    }
    if let Some(nbf) = claims.nbf {
        let begins = time(nbf).ok_or_else(|| refused("has an `nbf` that is no time"))?;
        if begins - LEEWAY > now {
            return Err(refused("is not good yet (`nbf`)"));
        }
    }
    Ok(())
}

/// A NumericDate; none where it is beyond what can be written in RFC 3339.
fn time(seconds: f64) -> Option<DateTime<Utc>> {
    let whole = (0.0..253_402_300_800.0).contains(&seconds).then_some(seconds as i64)?;
    DateTime::from_timestamp(whole, 0)
}

fn refused(what: &str) -> ApiError {
    ApiError::unauthenticated(format!("the token {what}"))
}

fn unverified() -> ApiError {
    refused("is not signed with a key of a project that it is for")
}

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The signing key is for an algorithm that Nuncio only reads.
    #[error("tokens are made with HS256 keys alone")]
    Algorithm,
    /// The library refused.
    #[error("the token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct NewClaims<'a> {
    sub: &'a str,
    aud: String,
    iat: i64,
    exp: i64,
    nuncio: &'a RightsText,
}

/// Makes a token for a user of the project.
///
/// # Errors
/// Where the key cannot sign.
pub fn mint_token(
    project: &ProjectName,
    key: &SigningKey,
    subject: &str,
    rights: &RightsText,
    now: DateTime<Utc>,
    lifetime: Duration,
) -> Result<String, MintError> {
    let mut header = Header::new(algorithm(key).ok_or(MintError::Algorithm)?);
    header.kid = Some(key.kid.clone());
    let iat = now.timestamp();
    let exp = iat.saturating_add_unsigned(lifetime.as_secs());
    let claims = NewClaims { sub: subject, aud: format!("nuncio:{project}"), iat, exp, nuncio: rights };
    Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key.secret.expose().as_bytes()))?)
}
