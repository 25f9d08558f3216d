//! Making tokens, with the HS256 keys of a project.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use nuncio_model::ProjectName;
use nuncio_model::rights::RightsText;
use nuncio_store::{KeyMaterial, SigningKey};
use serde::Serialize;

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The signing key is a public one, which only checks.
    #[error("tokens are made with HS256 keys alone")]
    Algorithm,
    /// The library refused.
    #[error("the token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// What a token is to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewToken<'a> {
    /// The issuer that the project has set, if it has.
    pub(crate) issuer: Option<&'a str>,
    pub(crate) subject: &'a str,
    pub(crate) rights: &'a RightsText,
    pub(crate) jti: Option<&'a str>,
    pub(crate) issued_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    nuncio: &'a RightsText,
}

/// Makes a token of the project.
///
/// # Errors
/// Where the key cannot sign.
pub(crate) fn make(project: &ProjectName, key: &SigningKey, new: NewToken<'_>) -> Result<String, MintError> {
    let KeyMaterial::Secret(secret) = &key.material else { return Err(MintError::Algorithm) };
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(key.kid.clone());
    let NewToken { issuer: iss, subject: sub, rights: nuncio, jti, issued_at, expires_at } = new;
    let (iat, exp) = (issued_at.timestamp(), expires_at.timestamp());
    let claims = Claims { sub, aud: format!("nuncio:{project}"), iat, exp, iss, jti, nuncio };
    Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret.expose().as_bytes()))?)
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
    let (issuer, jti, expires_at) = (None, None, now + lifetime);
    make(project, key, NewToken { issuer, subject, rights, jti, issued_at: now, expires_at })
}
