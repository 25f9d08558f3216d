//! Resume ids: the names under which clients that come back find how far they had received.

use crate::{Identity, ProjectId, rights::Proof};

/// The longest resume id, in bytes.
pub const MAX_RESUME_ID_BYTES: usize = 128;

/// What a place is kept under: a project, a subject, an operation and the client's own id, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResumeKey {
    /// The project that it belongs to.
    pub project: ProjectId,
    /// Names the subject.
    pub owner: [u8; 16],
    /// Names all of it.
    pub key: [u8; 16],
}

impl ResumeKey {
    /// The key of whoever asks for an operation under an id. A key without a user is a subject of its own.
    pub fn of(identity: &Identity, operation: &str, id: &str) -> Self {
        let subject = match (&identity.subject, &identity.proof) {
            (Some(subject), _) => ["user", subject],
            (None, Proof::ApiKey(prefix)) => ["key", prefix],
            (None, Proof::Token(token)) => ["signing key", &token.kid],
        };
        let key = hash(&[subject[0], subject[1], operation, id]);
        Self { project: identity.project, owner: hash(&subject), key }
    }
}

/// Each part with its length, so that no two lists are written alike.
fn hash(parts: &[&str]) -> [u8; 16] {
    let mut hash = blake3::Hasher::new();
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut out = [0; 16];
    hash.finalize_xof().fill(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProjectName, Rights};

    fn identity(project: i32, subject: Option<&str>, prefix: &str) -> Identity {
        Identity {
            project: ProjectId(project),
            project_name: ProjectName::parse("demo").expect("a good name"),
            subject: subject.map(str::to_owned),
            rights: Rights::default(),
            expires_at: None,
            address: None,
            proof: Proof::ApiKey(prefix.to_owned()),
        }
    }

    #[test]
    fn whatever_differs_makes_another_key() {
        let (user, other) = (identity(1, Some("u"), "nk_a"), identity(1, Some("nk_a"), "nk_a"));
        let keys = [
            ResumeKey::of(&user, "events", "tab"),
            ResumeKey::of(&identity(2, Some("u"), "nk_a"), "events", "tab"),
            ResumeKey::of(&other, "events", "tab"),
            ResumeKey::of(&identity(1, None, "nk_a"), "events", "tab"),
            ResumeKey::of(&identity(1, None, "nk_b"), "events", "tab"),
            ResumeKey::of(&user, "event", "stab"),
            ResumeKey::of(&user, "events", "tab2"),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(keys[0], ResumeKey::of(&identity(1, Some("u"), "nk_b"), "events", "tab"));
        assert!(keys[0].owner == keys[5].owner && keys[0].owner != keys[3].owner);
    }
}
