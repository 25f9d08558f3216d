//! Rights against a reference so simple that it can be seen to be right: AMQP's topic rule, word by word, and the one
//! rule of Nuncio's own about names that begin with `$`.

use proptest::prelude::*;

use super::*;

/// `*` is one segment, `#` is zero or more, anything else is itself.
fn matches(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((&"#", rest)), None) => matches(rest, name),
        (Some((&"#", rest)), Some((_, shorter))) => matches(rest, name) || matches(pattern, shorter),
        (Some(_), None) => false,
        (Some((&"*", rest)), Some((_, shorter))) => matches(rest, shorter),
        (Some((segment, rest)), Some((other, shorter))) => segment == other && matches(rest, shorter),
    }
}

/// Names that only Nuncio writes are shown to nobody who does not ask for them by their first segment.
fn may(patterns: &[String], name: &str) -> bool {
    let name: Vec<&str> = name.split('.').collect();
    patterns.iter().any(|pattern| {
        let pattern: Vec<&str> = pattern.split('.').collect();
        (!name[0].starts_with('$') || pattern[0] == name[0]) && matches(&pattern, &name)
    })
}

fn names() -> impl Strategy<Value = String> {
    ("\\$?[ab]", proptest::collection::vec("[abc]", 0..6)).prop_map(|(first, rest)| joined(first, &rest))
}

fn patterns() -> impl Strategy<Value = String> {
    let first = prop_oneof![4 => "[ab*#]", 1 => "\\$[ab]"];
    (first, proptest::collection::vec("[abc*#]", 0..6)).prop_map(|(first, rest)| joined(first, &rest))
}

fn joined(first: String, rest: &[String]) -> String {
    std::iter::once(&first).chain(rest).map(String::as_str).collect::<Vec<_>>().join(".")
}

fn lists() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(patterns(), 0..4)
}

fn channel(text: &str) -> Channel {
    Channel::parse_any(text).expect("a good name")
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a good pattern")
}

fn rights(subscribe: &[String], publish: &[String]) -> Rights {
    let (subscribe, publish) = (subscribe.to_vec(), publish.to_vec());
    Rights::parse(&RightsText { subscribe, publish, ..RightsText::default() }).expect("good rights")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_allowed_is_what_the_reference_says(read in lists(), write in lists(), name in names()) {
        let (rights, channel) = (rights(&read, &write), channel(&name));
        prop_assert_eq!(rights.allow(Action::Subscribe, &channel), may(&read, &name));
        prop_assert_eq!(rights.allow(Action::Publish, &channel), may(&write, &name));
        prop_assert!(!rights.allow(Action::Signal, &channel) && !rights.allow(Action::Presence, &channel));
        // The one pattern that matches a name alone is judged as the name is.
        let itself = Pattern::from(&channel);
        prop_assert_eq!(rights.allow_pattern(Action::Subscribe, &itself), may(&read, &name));
    }

    #[test]
    fn rights_only_ever_add_up(one in lists(), more in lists(), name in names(), wanted in patterns()) {
        let (few, many) = (rights(&one, &[]), rights(&[one.clone(), more].concat(), &[]));
        let (channel, wanted) = (channel(&name), pattern(&wanted));
        prop_assert!(!few.allow(Action::Subscribe, &channel) || many.allow(Action::Subscribe, &channel));
        prop_assert!(
            !few.allow_pattern(Action::Subscribe, &wanted) || many.allow_pattern(Action::Subscribe, &wanted)
        );
    }

    #[test]
    fn a_pattern_that_is_allowed_holds_nothing_that_is_not(
        own in lists(), taken in lists(), wanted in patterns(), name in names(),
    ) {
        let mut rights = rights(&own, &[]);
        for taken in &taken {
            rights.deny(Action::Subscribe, pattern(taken));
        }
        let (asked, channel) = (pattern(&wanted), channel(&name));
        prop_assert_eq!(rights.allow(Action::Subscribe, &channel), may(&own, &name) && !may(&taken, &name));
        if rights.allow_pattern(Action::Subscribe, &asked) && may(&[wanted], &name) {
            prop_assert!(rights.allow(Action::Subscribe, &channel));
        }
        let by = rights.covering(Action::Subscribe, &asked);
        prop_assert_eq!(by.is_some(), rights.allow_pattern(Action::Subscribe, &asked));
        prop_assert!(by.is_none_or(|by| by.covers(&asked) && own.iter().any(|own| own == by.as_str())));
    }

    #[test]
    fn one_segment_is_one_segment(start in "[abc]", rest in proptest::collection::vec("[abc*#]", 2..6)) {
        let own = rights(&[format!("{start}.*")], &[]);
        let longer = pattern(&format!("{start}.{}", rest.join(".")));
        let (_, last) = rest.split_at(1);
        // `#` may stand for nothing: then it is one segment all the same, and still not all that is asked for.
        prop_assert!(!own.allow_pattern(Action::Subscribe, &longer), "{longer} {last:?}");
        if let Some(channel) = longer.as_channel() {
            prop_assert!(!own.allow(Action::Subscribe, &channel));
        }
    }

    #[test]
    fn what_is_beyond_is_found_and_named(own in lists(), other in lists()) {
        let (mine, theirs) = (rights(&own, &[]), rights(&other, &[]));
        let beyond = other.iter().find(|text| !mine.allow_pattern(Action::Subscribe, &pattern(text)));
        prop_assert_eq!(mine.first_beyond(&theirs), beyond.map(|text| ("subscribe", text.as_str())));
    }
}

#[test]
fn consumers_are_named_or_all() {
    let of = |names: &[&str]| {
        let consume = names.iter().map(|name| (*name).to_owned()).collect();
        Rights::parse(&RightsText { consume, ..RightsText::default() }).expect("good rights")
    };
    assert_eq!(of(&["billing"]).first_beyond(&of(&["billing"])), None);
    assert_eq!(of(&["billing"]).first_beyond(&of(&["billing", "*"])), Some(("consume", "*")));
    assert_eq!(of(&["*"]).first_beyond(&of(&["billing", "*"])), None);
}
