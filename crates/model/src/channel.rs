//! Channel names and the patterns that match them.

use std::fmt;
use std::sync::Arc;

use crate::Code;

/// The most bytes a channel name or pattern may have; AMQP routing keys end at 255.
pub const MAX_NAME_BYTES: usize = 200;
/// The most segments a name or pattern may have.
pub const MAX_SEGMENTS: usize = 8;
/// The most bytes one segment may have, the `$` of a system name apart.
pub const MAX_SEGMENT_BYTES: usize = 64;

/// The name of a channel: 1–8 segments of `[A-Za-z0-9_-]{1,64}` joined by `.`, at most 200 bytes.
///
/// It is an AMQP routing key at the same time. A name whose first segment begins with `$` is written by Nuncio alone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Arc<str>);

/// A channel name that may hold AMQP topic wildcards: `*` is one segment, `#` is zero or more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

/// Why a text is no channel name or no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} {reason}")]
pub struct NameError {
    kind: &'static str,
    text: String,
    reason: &'static str,
}

impl NameError {
    fn new(kind: &'static str, text: &str, reason: &'static str) -> Self {
        Self { kind, text: text.chars().take(80).collect(), reason }
    }

    /// The stable code of this error: `INVALID_CHANNEL` or `INVALID_PATTERN`.
    pub fn code(&self) -> Code {
        if self.kind == "pattern" { Code::InvalidPattern } else { Code::InvalidChannel }
    }
}

impl Channel {
    /// Reads a channel name that a client may publish to.
    ///
    /// # Errors
    /// Where the text is no name, or a name that begins with `$`, which only Nuncio writes.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let channel = Self::parse_any(text)?;
        if channel.is_system() {
            return Err(NameError::new(
                "channel",
                text,
                "begins with `$`: such channels are written by Nuncio alone",
            ));
        }
        Ok(channel)
    }

    /// Reads a channel name, those that begin with `$` included: for reading, never for publishing.
    ///
    /// # Errors
    /// Where the text is no name.
    pub fn parse_any(text: &str) -> Result<Self, NameError> {
        check_name("channel", text, is_plain_segment)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment, which names the settings of all channels below it.
    pub fn namespace(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// Whether only Nuncio itself may write here.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl Pattern {
    /// Reads a pattern. Every channel name is a pattern that matches itself alone.
    ///
    /// # Errors
    /// Where the text is no pattern.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name("pattern", text, |segment| matches!(segment, "*" | "#") || is_plain_segment(segment))?;
        Ok(Self(text.into()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one channel this pattern matches, if it holds no wildcard.
    pub fn as_channel(&self) -> Option<Channel> {
        let wild = self.0.split('.').any(|segment| matches!(segment, "*" | "#"));
        (!wild).then(|| Channel(self.0.clone()))
    }

    /// Whether the channel is one of those meant.
    ///
    /// System channels are matched only by patterns that begin with that same segment: `#` never shows `$system.x`.
    pub fn matches(&self, channel: &Channel) -> bool {
        if !self.0.contains(['*', '#']) {
            return self.0 == channel.0;
        }
        if channel.is_system() && self.0.split('.').next() != Some(channel.namespace()) {
            return false;
        }
        covers(&split(&self.0), &split(&channel.0))
    }

    /// Whether every channel that `other` can match is matched by this pattern too.
    pub fn covers(&self, other: &Pattern) -> bool {
        let (mine, theirs) = (split(&self.0), split(&other.0));
        let system = theirs.first().is_some_and(|segment| segment.starts_with('$'));
        if system && mine.first() != theirs.first() {
            return false;
        }
        covers(&mine, &theirs)
    }

    /// Whether some channel may be matched by both.
    pub fn overlaps(&self, other: &Pattern) -> bool {
        let (mine, theirs) = (split(&self.0), split(&other.0));
        let system = [&mine, &theirs].iter().any(|segments| segments[0].starts_with('$'));
        (!system || mine[0] == theirs[0]) && overlap(&mine, &theirs)
    }

    /// A PostgreSQL regular expression for the same channels, to be matched against a dot followed by the name.
    ///
    /// Each segment is written with the dot before it, so that `#` may stand for nothing at all.
    pub fn to_regex(&self) -> String {
        let segments = split(&self.0);
        let not_system =
            if segments.first().is_some_and(|s| matches!(*s, "*" | "#")) { r"(?!\.\$)" } else { "" };
        let body: String = segments
            .iter()
            .map(|segment| match *segment {
                "*" => r"\.[^.]+".to_owned(),
                "#" => r"(\.[^.]+)*".to_owned(),
                plain => format!(r"\.{}", plain.replace('$', r"\$")),
            })
            .collect();
        format!("^{not_system}{body}$")
    }
}

/// Whether `wide` matches all that `narrow` can stand for. A channel name is a `narrow` without wildcards.
///
/// It never says yes wrongly; a few yes it does not see (`*.#` does cover `#.a`), which a caller takes as no.
/// Dynamic programming from the right: `row[i]` tells whether `wide[i..]` covers what is left of `narrow`.
fn covers(wide: &[&str], narrow: &[&str]) -> bool {
    let mut row = [false; MAX_SEGMENTS + 1];
    row[wide.len()] = true;
    for i in (0..wide.len()).rev() {
        row[i] = wide[i] == "#" && row[i + 1];
    }
    for segment in narrow.iter().rev() {
        let old = row;
        row[wide.len()] = false;
        for i in (0..wide.len()).rev() {
            row[i] = match (wide[i], *segment) {
                ("#", _) => old[i] || row[i + 1],
                // A `#` on the narrow side may be many segments; one plain segment or `*` cannot cover it.
                (_, "#") => false,
                ("*", _) => old[i + 1],
                (plain, other) => plain == other && old[i + 1],
            };
        }
    }
    row[0]
}

/// Whether some name is matched by both. It never says no wrongly; a few yes (names of more segments than there may be)
/// are of no use to anyone.
///
/// Dynamic programming from the right: `row[i]` tells whether `one[i..]` and what is left of `other` have a name in common.
fn overlap(one: &[&str], other: &[&str]) -> bool {
    let mut row = [true; MAX_SEGMENTS + 1];
    for i in (0..one.len()).rev() {
        row[i] = one[i] == "#" && row[i + 1];
    }
    for segment in other.iter().rev() {
        let old = row;
        row[one.len()] = *segment == "#" && old[one.len()];
        for i in (0..one.len()).rev() {
            row[i] = match (one[i], *segment) {
                ("#", _) => old[i] || row[i + 1],
                (_, "#") => row[i + 1] || old[i],
                ("*", _) | (_, "*") => old[i + 1],
                (plain, other) => plain == other && old[i + 1],
            };
        }
    }
    row[0]
}

/// The segments of a name, without asking for memory: rights are checked on the way of every request.
struct Segments<'a> {
    all: [&'a str; MAX_SEGMENTS],
    count: usize,
}

impl<'a> std::ops::Deref for Segments<'a> {
    type Target = [&'a str];

    fn deref(&self) -> &[&'a str] {
        &self.all[..self.count]
    }
}

fn split(text: &str) -> Segments<'_> {
    let (mut all, mut count) = ([""; MAX_SEGMENTS], 0);
    for (place, segment) in all.iter_mut().zip(text.split('.')) {
        *place = segment;
        count += 1;
    }
    Segments { all, count }
}

fn check_name(kind: &'static str, text: &str, segment_ok: impl Fn(&str) -> bool) -> Result<(), NameError> {
    let fail = |reason| Err(NameError::new(kind, text, reason));
    if text.is_empty() {
        return fail("is empty");
    }
    if text.len() > MAX_NAME_BYTES {
        return fail("is longer than 200 bytes");
    }
    if text.split('.').count() > MAX_SEGMENTS {
        return fail("has more than 8 segments");
    }
    let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let first_ok = segment_ok(first.strip_prefix('$').filter(|s| is_plain_segment(s)).unwrap_or(first));
    if !first_ok || !rest.is_none_or(|rest| rest.split('.').all(segment_ok)) {
        return fail("must be segments of 1 to 64 letters, digits, `_` or `-`, joined by `.`");
    }
    Ok(())
}

fn is_plain_segment(segment: &str) -> bool {
    (1..=MAX_SEGMENT_BYTES).contains(&segment.len())
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}
text_type!(Channel);
text_type!(Pattern);

impl From<&Channel> for Pattern {
    fn from(channel: &Channel) -> Self {
        Self(channel.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channel(text: &str) -> Channel {
        Channel::parse_any(text).expect("a good name")
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a good pattern")
    }

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "A-1_z", "a.b.c.d.e.f.g.h", &"x".repeat(64)] {
            assert!(Channel::parse(good).is_ok(), "{good}");
        }
        let long = vec!["x".repeat(40); 5].join(".");
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "ä",
            "a*",
            "*",
            "#",
            "a.b.c.d.e.f.g.h.i",
            "../x",
            "a\0",
            &long,
        ] {
            assert!(Channel::parse(bad).is_err(), "{bad}");
        }
        assert!(Channel::parse("$system.x").is_err() && Channel::parse_any("$system.x").is_ok());
        for bad in ["$", "$$a", "a.$b", "$*", "#a", "**"] {
            assert!(Channel::parse_any(bad).is_err() && Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wildcards_mean_what_amqp_says() {
        for (wild, name, expected) in [
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.*", "a", false),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("#.c", "a.b.c", true),
            ("#", "a.b", true),
            ("*.b.#", "a.b", true),
            ("#", "$system.x", false),
            ("*.x", "$system.x", false),
            ("$system.#", "$system.x", true),
        ] {
            assert_eq!(pattern(wild).matches(&channel(name)), expected, "{wild} {name}");
        }
        assert!(!pattern("#").covers(&pattern("$system.#")));
        assert!(!pattern("a.*").covers(&pattern("a.#")) && pattern("a.#").covers(&pattern("a.*")));
    }

    fn segments(wild: bool) -> impl Strategy<Value = String> {
        let segment = if wild { "[ab*#]" } else { "[ab]" };
        proptest::collection::vec(segment, 1..6).prop_map(|s| s.join("."))
    }

    proptest! {
        #[test]
        fn covering_is_sound(wide in segments(true), narrow in segments(true), name in segments(false)) {
            let (wide, narrow, name) = (pattern(&wide), pattern(&narrow), channel(&name));
            if wide.covers(&narrow) && narrow.matches(&name) {
                prop_assert!(wide.matches(&name));
            }
            prop_assert_eq!(wide.matches(&name), wide.covers(&Pattern::from(&name)));
        }

        #[test]
        fn patterns_that_match_the_same_channel_overlap(one in segments(true), other in segments(true), name in segments(false)) {
            let (one, other, name) = (pattern(&one), pattern(&other), channel(&name));
            if one.matches(&name) && other.matches(&name) {
                prop_assert!(one.overlaps(&other) && other.overlaps(&one));
            }
            prop_assert_eq!(one.overlaps(&Pattern::from(&name)), one.matches(&name));
            prop_assert!(!one.covers(&other) || one.overlaps(&other));
        }

        #[test]
        fn a_pattern_covers_itself(text in segments(true)) {
            prop_assert!(pattern(&text).covers(&pattern(&text)) && pattern("#").covers(&pattern(&text)));
        }
    }
}
