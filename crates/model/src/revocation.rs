//! Revocations: what is taken from tokens before they end by themselves.
//!
//! A token says for itself what it may do, and nobody keeps a list of those that were made. So it is told apart by what
//! it holds: its own id, its subject, and when it was made.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::rights::TokenProof;
use crate::{Action, Pattern};

/// What a revocation takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The token with this id (`jti`).
    Token {
        /// The id.
        jti: String,
    },
    /// All tokens of this subject (`sub`) that were made before a time.
    Subject {
        /// The subject.
        subject: String,
        /// The time.
        issued_before: DateTime<Utc>,
    },
    /// What a pattern matches, from tokens that were made before a time. API keys keep it.
    Right {
        /// What can no longer be done.
        action: Action,
        /// To which channels.
        pattern: Pattern,
        /// Whose tokens; those of all subjects where there is none.
        subject: Option<String>,
        /// The time.
        issued_before: DateTime<Utc>,
    },
}

/// The revocations of one project, by what they are looked up with.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    tokens: HashMap<String, Vec<Until>>,
    subjects: HashMap<String, Vec<Before>>,
    rights: Vec<(Before, Action, Pattern)>,
    rights_of: HashMap<String, Vec<(Before, Action, Pattern)>>,
}

/// When a revocation is over; never where there is no time.
type Until = Option<DateTime<Utc>>;

/// Tokens that were made before a time, while the revocation lasts.
#[derive(Clone, Copy, Debug)]
struct Before {
    issued_before: DateTime<Utc>,
    until: Until,
}

/// Why a token is worth nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was revoked by its id.
    Token,
    /// All that its subject had at the time were revoked.
    Subject,
}

impl Revocations {
    /// Adds a revocation that is over at the time `until`.
    pub fn add(&mut self, revoked: Revoked, until: Option<DateTime<Utc>>) {
        match revoked {
            Revoked::Token { jti } => self.tokens.entry(jti).or_default().push(until),
            Revoked::Subject { subject, issued_before } => {
                self.subjects.entry(subject).or_default().push(Before { issued_before, until });
            }
            Revoked::Right { action, pattern, subject, issued_before } => {
                let entry = (Before { issued_before, until }, action, pattern);
                match subject {
                    Some(subject) => self.rights_of.entry(subject).or_default().push(entry),
                    None => self.rights.push(entry),
                }
            }
        }
    }

    /// Whether a token of this subject is worth nothing any more, and why.
    pub fn ended(&self, subject: &str, token: &TokenProof, now: DateTime<Utc>) -> Option<Ended> {
        let by_id = token.jti.as_ref().and_then(|jti| self.tokens.get(jti));
        if by_id.is_some_and(|all| all.iter().any(|until| lasts(*until, now))) {
            return Some(Ended::Token);
        }
        let by_subject = self.subjects.get(subject)?;
        by_subject.iter().any(|before| before.hits(token, now)).then_some(Ended::Subject)
    }

    /// What may not be done with a token of this subject, whatever it says itself.
    pub fn denied<'a>(
        &'a self,
        subject: &str,
        token: &'a TokenProof,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = (Action, &'a Pattern)> {
        let of_subject = self.rights_of.get(subject).into_iter().flatten();
        let hit = self.rights.iter().chain(of_subject).filter(move |(before, ..)| before.hits(token, now));
        hit.map(|(_, action, pattern)| (*action, pattern))
    }
}

impl Before {
    /// `iat` is compared in whole seconds, and a token of the very second counts as made before. So does one that does
    /// not say when it was made: it may be of any time.
    fn hits(self, token: &TokenProof, now: DateTime<Utc>) -> bool {
        let limit = self.issued_before.timestamp();
        lasts(self.until, now) && token.issued_at.is_none_or(|issued_at| issued_at.timestamp() <= limit)
    }
}

fn lasts(until: Until, now: DateTime<Utc>) -> bool {
    until.is_none_or(|until| now < until)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 500_000_000).expect("a time")
    }

    fn token(jti: Option<&str>, issued_at: Option<DateTime<Utc>>) -> TokenProof {
        TokenProof { kid: "main".to_owned(), published: false, jti: jti.map(str::to_owned), issued_at }
    }

    #[test]
    fn a_token_is_hit_by_its_id_alone() {
        let mut all = Revocations::default();
        all.add(Revoked::Token { jti: "a".to_owned() }, None);
        let ended = |jti| all.ended("ada", &token(jti, None), at(0));
        assert_eq!((ended(Some("a")), ended(Some("b")), ended(None)), (Some(Ended::Token), None, None));
    }

    #[test]
    fn a_subject_loses_the_tokens_of_before_and_of_the_very_second() {
        let mut all = Revocations::default();
        all.add(Revoked::Subject { subject: "ada".to_owned(), issued_before: at(0) }, None);
        let ended = |subject, issued_at| all.ended(subject, &token(Some("a"), issued_at), at(9)).is_some();
        let half = TimeDelta::milliseconds(500);
        for (issued_at, hit) in
            [(None, true), (Some(at(-1)), true), (Some(at(0) + half - half / 50), true), (Some(at(1)), false)]
        {
            assert_eq!(ended("ada", issued_at), hit, "{issued_at:?}");
            assert!(!ended("bob", issued_at));
        }
    }

    #[test]
    fn rights_are_taken_from_those_that_are_meant() {
        let mut all = Revocations::default();
        let pattern = |text| Pattern::parse(text).expect("good");
        let right = |action, text, subject: Option<&str>| Revoked::Right {
            action,
            pattern: pattern(text),
            subject: subject.map(str::to_owned),
            issued_before: at(0),
        };
        all.add(right(Action::Subscribe, "orders.#", None), None);
        all.add(right(Action::Publish, "stock", Some("ada")), None);
        let denied = |subject, issued_at| {
            let token = token(None, Some(issued_at));
            all.denied(subject, &token, at(9)).map(|(action, _)| action).collect::<Vec<_>>()
        };
        assert_eq!(denied("ada", at(-1)), [Action::Subscribe, Action::Publish]);
        assert_eq!(denied("bob", at(-1)), [Action::Subscribe]);
        assert!(denied("ada", at(1)).is_empty());
        assert_eq!(all.ended("ada", &token(None, None), at(9)), None);
    }

    #[test]
    fn a_revocation_is_over_at_its_time() {
        let mut all = Revocations::default();
        all.add(Revoked::Token { jti: "a".to_owned() }, Some(at(5)));
        all.add(Revoked::Subject { subject: "ada".to_owned(), issued_before: at(0) }, Some(at(5)));
        for subject in ["ada", "bob"] {
            assert!(all.ended(subject, &token(Some("a"), None), at(4)).is_some());
            assert!(all.ended(subject, &token(Some("a"), None), at(5)).is_none());
        }
    }
}
