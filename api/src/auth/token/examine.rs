//! The judgement of a token: everything that is wrong with it, in the order in which it is told.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use jsonwebtoken::Validation;
use nuncio_model::Rights;
use nuncio_model::rights::TokenProof;
use nuncio_store::Project;
use serde::de::IgnoredAny;

use super::claims;
use super::key::{Key, Source};
use super::raw::Raw;
use crate::app::App;
use crate::auth::public_key::name_of;

/// What is wrong with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// In one word.
    pub(crate) code: ProblemCode,
    /// As the end of a sentence that begins with the token.
    pub(crate) message: Cow<'static, str>,
}

impl Problem {
    pub(crate) fn new(code: ProblemCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What can be wrong with a token.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ProblemCode { $($(#[$doc])* $name,)* }

        impl ProblemCode {
            /// The word as it is written in the API.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// It is longer than any that is looked at.
    TooLong = "TOO_LONG",
    /// It is no token.
    Malformed = "MALFORMED",
    /// Its header has `crit`.
    CriticalHeader = "CRITICAL_HEADER",
    /// No key of the project is the one it names.
    UnknownKey = "UNKNOWN_KEY",
    /// Its key was revoked.
    KeyRevoked = "KEY_REVOKED",
    /// Its key has ended.
    KeyExpired = "KEY_EXPIRED",
    /// Its `alg` is not its key's.
    WrongAlgorithm = "WRONG_ALGORITHM",
    /// Its signature is not its key's.
    BadSignature = "BAD_SIGNATURE",
    /// It is for another project.
    WrongAudience = "WRONG_AUDIENCE",
    /// It is of another issuer.
    WrongIssuer = "WRONG_ISSUER",
    /// A claim that is needed is not there.
    ClaimMissing = "CLAIM_MISSING",
    /// A claim is of a wrong type or size.
    ClaimInvalid = "CLAIM_INVALID",
    /// Its rights cannot be read.
    InvalidRights = "INVALID_RIGHTS",
    /// Its time is over.
    Expired = "EXPIRED",
    /// Its time has not come.
    NotYetValid = "NOT_YET_VALID",
    /// It was revoked.
    Revoked = "REVOKED",
    /// It says that it was made later than now.
    IssuedInFuture = "ISSUED_IN_FUTURE",
}

impl ProblemCode {
    /// Whether the word tells which projects and keys there are.
    pub(super) fn is_about_keys(self) -> bool {
        matches!(
            self,
            Self::UnknownKey
                | Self::KeyRevoked
                | Self::KeyExpired
                | Self::WrongAlgorithm
                | Self::BadSignature
                | Self::WrongAudience
        )
    }
}

/// What has been found out about a token.
pub(crate) struct Examined {
    /// Everything that is wrong; what concerns its key comes first.
    pub(crate) problems: Vec<Problem>,
    /// The key that it names.
    pub(crate) key: Option<Key>,
    /// Whether it was signed with that key: else its claims prove nothing.
    pub(crate) is_signed: bool,
    /// The user.
    pub(crate) subject: Option<String>,
    /// What may be done.
    pub(crate) rights: Option<Rights>,
    /// When it ends: with its key at the latest.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// Its own id.
    pub(crate) jti: Option<String>,
    /// When it was made.
    pub(crate) issued_at: Option<DateTime<Utc>>,
}

impl Examined {
    /// What names the token, where its key is known.
    pub(crate) fn proof(&self) -> Option<TokenProof> {
        let key = self.key.as_ref()?;
        let (kid, published) = (key.kid.clone(), key.source == Source::Jwks);
        Some(TokenProof { kid, published, jti: self.jti.clone(), issued_at: self.issued_at })
    }
}

/// Judges a token by the keys and the settings of this project, now.
pub(crate) async fn examine(app: &App, project: &Project, raw: &Raw<'_>) -> Examined {
    let mut problems = Vec::new();
    // RFC 7515, section 4.1.11: an extension that is said to be critical and is not known voids the token. Other fields,
    // such as those that name keys (`jku`, `jwk`, `x5u`, `x5c`), are not looked at.
    if raw.header.contains_key("crit") {
        problems
            .push(Problem::new(ProblemCode::CriticalHeader, "has a `crit` header, and none is understood"));
    }
    let key = match raw.header.get("kid") {
        None => Key::find(app, project, None).await,
        Some(kid) => match kid.as_str() {
            Some(kid) => Key::find(app, project, Some(kid)).await,
            None => None,
        },
    };
    let now = app.clock.now();
    let is_signed = match &key {
        Some(key) => check_key(key, raw, now, &mut problems),
        None => {
            problems.push(Problem::new(
                ProblemCode::UnknownKey,
                "names a key (`kid`) that its project does not have",
            ));
            false
        }
    };
    let read = claims::read(&raw.claims, project, now, &mut problems);
    let end_of_key = key.as_ref().and_then(|key| key.expires_at);
    let expires_at = match (read.expires_at, end_of_key) {
        (Some(own), Some(end)) => Some(own.min(end)),
        (own, _) => own,
    };
    let claims::Read { subject, rights, jti, issued_at, .. } = read;
    Examined { problems, key, is_signed, subject, rights, expires_at, jti, issued_at }
}

/// Whether the token was signed with the key, by the key's own algorithm.
fn check_key(key: &Key, raw: &Raw<'_>, now: DateTime<Utc>, problems: &mut Vec<Problem>) -> bool {
    if key.expires_at.is_some_and(|end| end <= now) {
        problems.push(Problem::new(ProblemCode::KeyExpired, "is signed with a key that has ended"));
    }
    let wanted = name_of(key.algorithm);
    if raw.header.get("alg").and_then(serde_json::Value::as_str) != Some(wanted) {
        let message = format!("has an `alg` that is not its key's, which is {wanted}");
        problems.push(Problem::new(ProblemCode::WrongAlgorithm, message));
        return false;
    }
    let mut validation = Validation::new(key.algorithm);
    // The library checks the signature. The claims are read here: it takes one that is not there for good, lets times be
    // a minute off, and asks the system for the time.
    (validation.validate_exp, validation.validate_aud) = (false, false);
    validation.required_spec_claims.clear();
    if jsonwebtoken::decode::<IgnoredAny>(raw.token, &key.decoding, &validation).is_ok() {
        return true;
    }
    let message = match key.source {
        Source::SigningKey => "has a signature that was not made with the signing key that it names",
        Source::Jwks => "has a signature that was not made with the key that it names, as it is published",
    };
    problems.push(Problem::new(ProblemCode::BadSignature, message));
    false
}
