//! The claims that count (RFC 7519, section 4.1, and `nuncio`), each read by itself, so that all that is wrong is told.

use chrono::{DateTime, TimeDelta, Utc};
use nuncio_model::Rights;
use nuncio_model::rights::RightsText;
use nuncio_store::Project;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::examine::{Problem, ProblemCode};

/// How far the clock of whoever signs may be ahead of or behind ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);
/// The longest `sub` and `jti`.
const MAX_ID_BYTES: usize = 256;

/// What the claims say, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) subject: Option<String>,
    pub(super) rights: Option<Rights>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) jti: Option<String>,
    pub(super) issued_at: Option<DateTime<Utc>>,
}

/// Reads the claims for this project at the time `now`, and adds what is wrong with them.
pub(super) fn read(
    claims: &Map<String, Value>,
    project: &Project,
    now: DateTime<Utc>,
    problems: &mut Vec<Problem>,
) -> Read {
    // A claim that is null is one that is left out.
    let claim = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let mut note = |result: Result<(), Problem>| problems.extend(result.err());
    note(check_audience(claim("aud"), project));
    note(check_issuer(claim("iss"), project));
    let mut read = Read::default();
    note(subject(claim("sub")).map(|subject| read.subject = Some(subject)));
    note(expiry(claim("exp"), now, &mut read.expires_at));
    note(beginning(claim("nbf"), now));
    note(issuing(claim("iat"), now, &mut read.issued_at));
    note(token_id(claim("jti")).map(|jti| read.jti = jti));
    note(rights(claim("nuncio")).map(|rights| read.rights = Some(rights)));
    read
}

/// The audiences of `aud`: one text, or a list.
pub(super) fn audiences(aud: Option<&Value>) -> Result<Vec<&str>, Problem> {
    let wrong = || invalid("has an `aud` that is neither a text nor a list of texts");
    match aud {
        None | Some(Value::Null) => {
            Err(missing("needs an `aud` that holds `nuncio:` and the project's name"))
        }
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(many)) => many.iter().map(|one| one.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

/// Whether this audience is the project's.
pub(super) fn is_audience(project: &Project, audience: &str) -> bool {
    let by_name = audience.strip_prefix("nuncio:").is_some_and(|name| name == project.name.as_str());
    by_name || project.audience.as_deref() == Some(audience)
}

/// Whether this may be a token's `sub` or `jti`: one that PostgreSQL could not hold, a NUL within, could not be revoked.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn check_audience(aud: Option<&Value>, project: &Project) -> Result<(), Problem> {
    if audiences(aud)?.iter().any(|audience| is_audience(project, audience)) {
        return Ok(());
    }
    let wanted = project.audience.as_ref().map(|audience| format!(" or `{audience}`")).unwrap_or_default();
    let message = format!("has an `aud` that does not hold `nuncio:{}`{wanted}", project.name);
    Err(Problem::new(ProblemCode::WrongAudience, message))
}

fn check_issuer(iss: Option<&Value>, project: &Project) -> Result<(), Problem> {
    match (&project.issuer, iss) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(missing("needs an `iss`, as its project has set an issuer")),
        (Some(wanted), Some(Value::String(iss))) if iss == wanted => Ok(()),
        (Some(_), Some(Value::String(_))) => {
            Err(Problem::new(ProblemCode::WrongIssuer, "has an `iss` that is not the issuer of its project"))
        }
        (Some(_), Some(_)) => Err(invalid("has an `iss` that is no text")),
    }
}

fn subject(sub: Option<&Value>) -> Result<String, Problem> {
    match sub {
        None => Err(missing("needs a `sub` of 1 to 256 bytes")),
        Some(Value::String(sub)) if is_id(sub) => Ok(sub.clone()),
        Some(_) => Err(invalid("needs a `sub` that is a text of 1 to 256 bytes without control characters")),
    }
}

fn expiry(exp: Option<&Value>, now: DateTime<Utc>, end: &mut Option<DateTime<Utc>>) -> Result<(), Problem> {
    let exp = exp.ok_or_else(|| missing("needs an `exp`"))?;
    let expires = time(exp).ok_or_else(|| invalid("has an `exp` that is no time in seconds since 1970"))?;
    *end = Some(expires);
    if expires + LEEWAY <= now { Err(Problem::new(ProblemCode::Expired, "has expired")) } else { Ok(()) }
}

fn beginning(nbf: Option<&Value>, now: DateTime<Utc>) -> Result<(), Problem> {
    let Some(nbf) = nbf else { return Ok(()) };
    let begins = time(nbf).ok_or_else(|| invalid("has an `nbf` that is no time in seconds since 1970"))?;
    if begins - LEEWAY > now {
        return Err(Problem::new(ProblemCode::NotYetValid, "is not good yet (`nbf`)"));
    }
    Ok(())
}

fn issuing(iat: Option<&Value>, now: DateTime<Utc>, at: &mut Option<DateTime<Utc>>) -> Result<(), Problem> {
    let Some(iat) = iat else { return Ok(()) };
    let issued = time(iat).ok_or_else(|| invalid("has an `iat` that is no time in seconds since 1970"))?;
    *at = Some(issued);
    // A subject's tokens are revoked by the time they were made: one from the future would outlive that.
    if issued - LEEWAY > now {
        return Err(Problem::new(
            ProblemCode::IssuedInFuture,
            "was made in the future (`iat`): is a clock wrong?",
        ));
    }
    Ok(())
}

fn token_id(jti: Option<&Value>) -> Result<Option<String>, Problem> {
    match jti {
        None => Ok(None),
        Some(Value::String(jti)) if is_id(jti) => Ok(Some(jti.clone())),
        Some(_) => Err(invalid("has a `jti` that is no text of 1 to 256 bytes without control characters")),
    }
}

fn rights(nuncio: Option<&Value>) -> Result<Rights, Problem> {
    let bad =
        |why: String| Problem::new(ProblemCode::InvalidRights, format!("has a bad `nuncio` claim: {why}"));
    let Some(nuncio) = nuncio else { return Ok(Rights::default()) };
    // A list would be read as the lists of rights in their order: what is not named is not meant.
    if !nuncio.is_object() {
        return Err(bad("it must be an object".to_owned()));
    }
    let text = RightsText::deserialize(nuncio).map_err(|error| bad(error.to_string()))?;
    Rights::parse(&text).map_err(|error| bad(error.to_string()))
}

/// A NumericDate, fractions allowed; none where it is beyond what can be written in RFC 3339.
fn time(value: &Value) -> Option<DateTime<Utc>> {
    let seconds = value.as_f64()?;
    let whole = (0.0..253_402_300_800.0).contains(&seconds).then_some(seconds as i64)?;
    DateTime::from_timestamp(whole, 0)
}

fn missing(message: &'static str) -> Problem {
    Problem::new(ProblemCode::ClaimMissing, message)
}

fn invalid(message: &'static str) -> Problem {
    Problem::new(ProblemCode::ClaimInvalid, message)
}
