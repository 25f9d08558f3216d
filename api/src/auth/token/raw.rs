//! The three parts of a token, before anything of it is believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::examine::{Problem, ProblemCode};

/// A token's header and claims as they stand there. They prove nothing until its signature was checked.
pub(crate) struct Raw<'a> {
    /// The whole token.
    pub(crate) token: &'a str,
    /// The header (RFC 7515, section 4).
    pub(crate) header: Map<String, Value>,
    /// The claims (RFC 7519, section 4). Of a claim that is there twice the last counts, as the RFC allows.
    pub(crate) claims: Map<String, Value>,
}

impl<'a> Raw<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn read(token: &'a str) -> Result<Self, Problem> {
        let none = || Problem::new(ProblemCode::Malformed, "is no key and no JSON Web Token");
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(none());
        };
        let header = object(header).ok_or_else(none)?;
        let claims = object(claims)
            .ok_or_else(|| Problem::new(ProblemCode::Malformed, "has claims that cannot be read"))?;
        Ok(Self { token, header, claims })
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
