//! The key that a token is checked with: found by its `kid`, in its project alone.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey};
use nuncio_model::rights::TokenProof;
use nuncio_store::{KeyMaterial, Project, SigningKey};

use crate::app::App;
use crate::auth::Jwks;
use crate::auth::public_key::{algorithm, decoding};

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is one of the project's signing keys.
    SigningKey,
    /// The project publishes it at its `jwksUrl`.
    Jwks,
}

/// A key that a token can be checked with. It has one algorithm, whatever a token says.
pub(crate) struct Key {
    /// Its id; empty where it has none.
    pub(crate) kid: String,
    /// Where it comes from.
    pub(crate) source: Source,
    /// The one algorithm it is used with.
    pub(crate) algorithm: Algorithm,
    /// When it ends.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// A signing key's number.
    pub(super) row: Option<i64>,
    pub(super) decoding: DecodingKey,
}

impl Key {
    /// The key that `kid` names. Without one the project must have a single key: nothing is tried out.
    pub(super) async fn find(app: &App, project: &Project, kid: Option<&str>) -> Option<Self> {
        let own = match (kid, project.signing_keys.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid == kid),
            (None, [key]) if project.jwks_url.is_none() => Some(key),
            (None, []) => None,
            (None, _) => return None,
        };
        if let Some(key) = own {
            return Self::of(key);
        }
        let published = app.jwks.find(project, kid).await?;
        Some(Self {
            kid: published.kid.clone().unwrap_or_default(),
            source: Source::Jwks,
            algorithm: published.key.algorithm,
            expires_at: None,
            row: None,
            decoding: published.decoding.clone(),
        })
    }

    fn of(key: &SigningKey) -> Option<Self> {
        let algorithm = algorithm(&key.algorithm)?;
        let decoding = match (&key.material, algorithm) {
            (KeyMaterial::Secret(secret), Algorithm::HS256) => {
                DecodingKey::from_secret(secret.expose().as_bytes())
            }
            // A public key is public: as the secret of HS256 it would let everyone sign.
            (KeyMaterial::Secret(_), _) | (KeyMaterial::Public(_), Algorithm::HS256) => return None,
            (KeyMaterial::Public(der), algorithm) => decoding(algorithm, der),
        };
        let (kid, expires_at, row) = (key.kid.clone(), key.expires_at, Some(key.id));
        Some(Self { kid, source: Source::SigningKey, algorithm, expires_at, row, decoding })
    }
}

/// Whether the key that a token was signed with is still one of the project's.
pub(in crate::auth) fn is_held(jwks: &Jwks, project: &Project, token: &TokenProof) -> bool {
    if token.published {
        return jwks.holds(project, &token.kid);
    }
    project.signing_keys.iter().any(|key| key.kid == token.kid)
}
