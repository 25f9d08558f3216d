//! Who someone is and what they may do.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::channel::NameError;
use crate::{Channel, Pattern, ProjectId, ProjectName, PublisherKind};

/// What can be done to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read events: subscriptions, streams, history.
    Subscribe,
    /// Write events.
    Publish,
    /// Send and receive signals.
    Signal,
    /// See and enter presence.
    Presence,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Subscribe, Self::Publish, Self::Signal, Self::Presence];

    /// The action's word, as rights are written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Signal => "signal",
            Self::Presence => "presence",
        }
    }

    /// Reads an action's word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// Patterns by action. Rights only ever add up; nothing is allowed by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights {
    subscribe: Vec<Pattern>,
    publish: Vec<Pattern>,
    signal: Vec<Pattern>,
    presence: Vec<Pattern>,
    consume: Vec<String>,
    /// What has been taken away. It is looked at by every answer.
    denied: Vec<(Action, Pattern)>,
}

/// Rights as they are written in a token's `nuncio` claim, in the admin API and in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RightsText {
    /// Patterns that may be read.
    pub subscribe: Vec<String>,
    /// Patterns that may be written.
    pub publish: Vec<String>,
    /// Patterns on which signals may be sent and received.
    pub signal: Vec<String>,
    /// Patterns whose presence may be seen and entered.
    pub presence: Vec<String>,
    /// Names of consumers that may be used; `*` is all.
    pub consume: Vec<String>,
}

impl Rights {
    /// Reads rights; every pattern must be good.
    ///
    /// # Errors
    /// With the first pattern that is none.
    pub fn parse(text: &RightsText) -> Result<Self, NameError> {
        let read =
            |patterns: &[String]| patterns.iter().map(|p| Pattern::parse(p)).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            subscribe: read(&text.subscribe)?,
            publish: read(&text.publish)?,
            signal: read(&text.signal)?,
            presence: read(&text.presence)?,
            consume: text.consume.clone(),
            denied: Vec::new(),
        })
    }

    /// Takes away the right to do this to all channels that the pattern matches, whatever else allows it.
    pub fn deny(&mut self, action: Action, pattern: Pattern) {
        self.denied.push((action, pattern));
    }

    /// What has been taken away, in the order in which it was.
    pub fn denied(&self) -> &[(Action, Pattern)] {
        &self.denied
    }

    /// The same rights as they were granted, with this and nothing else taken away.
    #[must_use]
    pub fn denying(&self, denied: Vec<(Action, Pattern)>) -> Self {
        Self { denied, ..self.clone() }
    }

    /// The rights as they were granted, in writing.
    pub fn to_text(&self) -> RightsText {
        let write = |patterns: &[Pattern]| patterns.iter().map(Pattern::to_string).collect();
        RightsText {
            subscribe: write(&self.subscribe),
            publish: write(&self.publish),
            signal: write(&self.signal),
            presence: write(&self.presence),
            consume: self.consume.clone(),
        }
    }

    /// The right to do everything to all channels that are not Nuncio's own.
    pub fn everything() -> RightsText {
        let all = || vec!["#".to_owned()];
        RightsText {
            subscribe: all(),
            publish: all(),
            signal: all(),
            presence: all(),
            consume: vec!["*".to_owned()],
        }
    }

    /// Whether this may be done to every channel the pattern can match.
    pub fn allow_pattern(&self, action: Action, pattern: &Pattern) -> bool {
        self.of(action).iter().any(|right| right.covers(pattern))
            && !self.denied_of(action).any(|denied| denied.overlaps(pattern))
    }

    /// Whether this may be done to the channel.
    pub fn allow(&self, action: Action, channel: &Channel) -> bool {
        self.of(action).iter().any(|right| right.matches(channel))
            && !self.denied_of(action).any(|denied| denied.matches(channel))
    }

    /// The right that allows this for every channel that the pattern can match, unless that has been taken away.
    pub fn covering(&self, action: Action, pattern: &Pattern) -> Option<&Pattern> {
        if self.denied_of(action).any(|denied| denied.overlaps(pattern)) {
            return None;
        }
        self.of(action).iter().find(|right| right.covers(pattern))
    }

    /// The first of the other rights that these do not cover: the name of its list, and its pattern or consumer.
    pub fn first_beyond<'a>(&self, other: &'a Rights) -> Option<(&'static str, &'a str)> {
        let actions = [
            ("subscribe", Action::Subscribe),
            ("publish", Action::Publish),
            ("signal", Action::Signal),
            ("presence", Action::Presence),
        ];
        for (list, action) in actions {
            if let Some(pattern) =
                other.of(action).iter().find(|pattern| !self.allow_pattern(action, pattern))
            {
                return Some((list, pattern.as_str()));
            }
        }
        let consumer = other.consume.iter().find(|name| !self.allow_consumer(name))?;
        Some(("consume", consumer))
    }

    /// Whether the consumer may be used.
    pub fn allow_consumer(&self, name: &str) -> bool {
        self.consume.iter().any(|right| right == "*" || right == name)
    }

    fn denied_of(&self, action: Action) -> impl Iterator<Item = &Pattern> {
        self.denied.iter().filter(move |(denied, _)| *denied == action).map(|(_, pattern)| pattern)
    }

    fn of(&self, action: Action) -> &[Pattern] {
        match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
            Action::Signal => &self.signal,
            Action::Presence => &self.presence,
        }
    }
}

/// What proved an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The API key of this prefix.
    ApiKey(String),
    /// A token.
    Token(TokenProof),
}

/// What names a token, so that it can be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenProof {
    /// The id of the key that it was signed with.
    pub kid: String,
    /// Whether that key is one that the project publishes (`jwksUrl`), and none of its signing keys.
    pub published: bool,
    /// Its own id (`jti`).
    pub jti: Option<String>,
    /// When it was made (`iat`).
    pub issued_at: Option<DateTime<Utc>>,
}

/// Whoever a key or token stands for, inside one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The project all this holds in.
    pub project: ProjectId,
    /// Its name.
    pub project_name: ProjectName,
    /// The user: a token's `sub`; keys have none.
    pub subject: Option<String>,
    /// What may be done.
    pub rights: Rights,
    /// When this ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// Where it is used from, for a key that may be used from some networks alone.
    pub address: Option<IpAddr>,
    /// What proved it.
    pub proof: Proof,
}

impl Identity {
    /// Whether this is a server or an app, as a namespace's `publishers` tell them apart.
    pub fn publisher(&self) -> PublisherKind {
        match self.proof {
            Proof::ApiKey(_) => PublisherKind::Keys,
            Proof::Token(_) => PublisherKind::Tokens,
        }
    }
}

#[cfg(test)]
mod reference;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_taken_from_every_answer() {
        let text = RightsText { subscribe: vec!["orders.#".to_owned()], ..RightsText::default() };
        let mut rights = Rights::parse(&text).expect("good");
        rights.deny(Action::Subscribe, Pattern::parse("orders.eu.*").expect("good"));
        let channel = |name| Channel::parse(name).expect("good");
        let pattern = |name| Pattern::parse(name).expect("good");
        assert!(rights.allow(Action::Subscribe, &channel("orders.us.1")));
        assert!(!rights.allow(Action::Subscribe, &channel("orders.eu.1")));
        assert!(rights.allow_pattern(Action::Subscribe, &pattern("orders.us.#")));
        for wider in ["orders.#", "orders.*.*", "orders.*.1", "orders.eu.#"] {
            assert!(!rights.allow_pattern(Action::Subscribe, &pattern(wider)), "{wider}");
        }
        assert!(rights.allow_pattern(Action::Subscribe, &pattern("orders.*")));
    }
}
