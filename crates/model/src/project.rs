//! Projects: the tenants.

use std::fmt;
use std::sync::Arc;

/// A project's number in the database; never shown outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ProjectId(pub i32);

/// A project's name: `[a-z0-9][a-z0-9-]{0,40}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct ProjectName(Arc<str>);

/// Why a text is no project name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a project's name is 1 to 41 of `a-z`, `0-9` and `-`, and does not begin with `-`")]
pub struct ProjectNameError;

impl ProjectName {
    /// Reads a project's name.
    ///
    /// # Errors
    /// Where it breaks the rule above.
    pub fn parse(text: &str) -> Result<Self, ProjectNameError> {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=41).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(ok) {
            return Ok(Self(text.into()));
        }
        Err(ProjectNameError)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}
