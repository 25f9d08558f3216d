//! Finds who listens to a channel without walking all who listen: a tree of pattern segments.

use std::collections::HashMap;

use nuncio_model::{Channel, Pattern};

/// What patterns stand for, found by the channels they match.
///
/// Looking up a channel follows its segments, and beside each the wildcards: what it costs depends on the channel's
/// length, not on how many patterns there are.
#[derive(Debug)]
pub struct Index<T> {
    root: Node<T>,
}

/// The patterns that begin with the same segments.
#[derive(Debug)]
struct Node<T> {
    next: HashMap<Box<str>, Node<T>>,
    here: Vec<T>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { next: HashMap::new(), here: Vec::new() }
    }
}

impl<T: Copy + Ord> Index<T> {
    /// Adds what the pattern stands for.
    pub fn insert(&mut self, pattern: &Pattern, value: T) {
        let mut node = &mut self.root;
        for segment in segments(pattern) {
            node = node.next.entry(segment.into()).or_default();
        }
        node.here.push(value);
    }

    /// Removes it again, and with it all that was kept for this pattern alone.
    pub fn remove(&mut self, pattern: &Pattern, value: T) {
        self.root.remove(&segments(pattern), value);
    }

    /// All that the patterns that match this channel stand for, each once, in order.
    pub fn matching(&self, channel: &Channel) -> Vec<T> {
        let segments: Vec<&str> = channel.as_str().split('.').collect();
        let mut found = Vec::new();
        if channel.is_system() {
            // No wildcard stands for the first segment of a system channel.
            if let Some(node) = self.root.next.get(segments[0]) {
                node.collect(&segments[1..], &mut found);
            }
        } else {
            self.root.collect(&segments, &mut found);
        }
        // Several patterns may stand for the same, and `#` may match in several ways.
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl<T: Copy + Ord> Node<T> {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.next.is_empty()
    }

    fn remove(&mut self, segments: &[&str], value: T) {
        let Some((first, rest)) = segments.split_first() else {
            if let Some(at) = self.here.iter().position(|other| *other == value) {
                self.here.swap_remove(at);
            }
            return;
        };
        if let Some(next) = self.next.get_mut(*first) {
            next.remove(rest, value);
            if next.is_empty() {
                self.next.remove(*first);
            }
        }
    }

    fn collect(&self, segments: &[&str], found: &mut Vec<T>) {
        if let Some(many) = self.next.get("#") {
            for taken in 0..=segments.len() {
                many.collect(&segments[taken..], found);
            }
        }
        let Some((first, rest)) = segments.split_first() else {
            found.extend_from_slice(&self.here);
            return;
        };
        for segment in [*first, "*"] {
            if let Some(node) = self.next.get(segment) {
                node.collect(rest, found);
            }
        }
    }
}

/// The segments; `#.#` is `#`, and written so it is not followed in every way its parts can be.
fn segments(pattern: &Pattern) -> Vec<&str> {
    let mut segments: Vec<&str> = pattern.as_str().split('.').collect();
    segments.dedup_by(|next, before| *next == "#" && *before == "#");
    segments
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a good pattern")
    }

    fn channel(text: &str) -> Channel {
        Channel::parse_any(text).expect("a good name")
    }

    #[test]
    fn wildcards_stand_for_what_they_do_everywhere() {
        let mut index = Index::default();
        for (value, text) in ["#", "a.*", "a.b", "*.b.#", "$system.#", "#.#.b", "a.b"].iter().enumerate() {
            index.insert(&pattern(text), value);
        }
        assert_eq!(index.matching(&channel("a.b")), [0, 1, 2, 3, 5, 6]);
        assert_eq!(index.matching(&channel("a")), [0]);
        assert_eq!(index.matching(&channel("$system.x")), [4]);
        assert_eq!(index.matching(&channel("$presence.b")), [0_usize; 0]);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut index = Index::default();
        index.insert(&pattern("a.b.c"), 1);
        index.insert(&pattern("a.b.c"), 2);
        index.remove(&pattern("a.b.c"), 1);
        index.remove(&pattern("a.b"), 2);
        assert_eq!(index.matching(&channel("a.b.c")), [2]);
        index.remove(&pattern("a.b.c"), 2);
        assert!(index.is_empty());
    }

    fn name(segment: &'static str) -> impl Strategy<Value = String> {
        proptest::collection::vec(segment, 1..=5).prop_map(|segments| segments.join("."))
    }

    proptest! {
        #[test]
        fn it_finds_what_the_patterns_themselves_say(
            patterns in proptest::collection::vec(name("[ab*#]"), 1..12),
            names in proptest::collection::vec(name("[ab]"), 1..12),
            system in any::<bool>(),
        ) {
            let sign = if system { "$" } else { "" };
            let patterns: Vec<Pattern> = patterns.iter().map(|text| pattern(text))
                .chain([pattern("$a.#"), pattern("$a")]).collect();
            let mut index = Index::default();
            patterns.iter().enumerate().for_each(|(value, pattern)| index.insert(pattern, value));
            for text in names {
                let name = channel(&format!("{sign}{text}"));
                let expected: Vec<usize> = (0..patterns.len()).filter(|i| patterns[*i].matches(&name)).collect();
                prop_assert_eq!(index.matching(&name), expected);
            }
            patterns.iter().enumerate().for_each(|(value, pattern)| index.remove(pattern, value));
            prop_assert!(index.is_empty());
        }
    }
}
