//! What expressions mean, what is refused, and what hostile ones may cost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nuncio_model::{Channel, Data, Draft, ProjectId};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Times are for optimised builds; tests run without.
const SLOWER: u32 = 40;
/// Far less than the stack of any thread that compiles or evaluates.
const STACK: usize = 1 << 20;

fn event_with(data: Data) -> Event {
    let extensions = BTreeMap::from([("region".to_owned(), json!("eu")), ("weight".to_owned(), json!(2))]);
    let draft = Draft {
        channel: Channel::parse("orders.eu").expect("a good name"),
        id: "a-1".to_owned(),
        source: "/shop".to_owned(),
        r#type: "order.paid".to_owned(),
        subject: None,
        time: None,
        content_type: None,
        data,
        extensions,
    };
    let stored_at = "2026-02-01T10:00:00Z".parse().expect("a time");
    Event { project: ProjectId(1), epoch: 1, position: 7, sequence: 3, stored_at, draft }
}

fn event(data: impl Into<String>) -> Event {
    event_with(Data::Json(Bytes::from(data.into())))
}

fn order() -> Event {
    event(
        r#"{"total":150.5,"n":7,"s":"h\u00e9llo","none":null,"tags":["a","b"],"n":8,
            "huge":123456789012345678901234567890,"items":[{"sku":"x","n":1},{"sku":"y","n":2}],
            "a b":{"c":[[1],[2]]},"beyond":1e400}"#,
    )
}

fn evaluate(text: &str, event: &Event) -> Option<bool> {
    let filter = Filter::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    filter.evaluate(event).ok()
}

#[test]
fn the_attributes_are_variables() {
    for text in [
        "id == 'a-1' && channel == 'orders.eu' && type == \"order.paid\" && source == '/shop'",
        "channel.startsWith('orders.') && type.endsWith('.paid') && source.contains('ho')",
        "subject == null && sequence == 3 && sequence + 1 > 3",
        "contentType == 'application/json'",
        "time == timestamp('2026-02-01T10:00:00Z') && time.getFullYear() == 2026",
        "time > timestamp('2026-01-31T00:00:00Z') + duration('24h')",
        "extensions.region == 'eu' && extensions['weight'] == 2 && !has(extensions.other)",
        "type in ['order.paid', 'order.shipped'] && (subject == null ? true : subject != 'x')",
        "size(id) == 3 && type(id) == string && type(data) == map",
    ] {
        assert_eq!(evaluate(text, &event("{}")), Some(true), "{text}");
    }
    for data in [Data::None, Data::Binary(Bytes::from_static(b"{}"))] {
        assert_eq!(evaluate("data == null", &event_with(data)), Some(true));
    }
}

#[test]
fn data_is_what_was_published() {
    for text in [
        "data.total > 100 && data.total < 151 && data.total == 150.5",
        "data.n == 8 && data['n'] == 8.0 && type(data.n) == int && type(data.total) == double",
        "data.s == 'héllo' && size(data.s) == 5 && data.none == null",
        "data.huge > 1e29",
        "data.tags == ['a', 'b'] && ['a', 'b'] == data.tags && data.tags != ['a']",
        "data.tags != ['a', 'b', 'c'] && ['b', 'a'] != data.tags",
        "'a' in data.tags && !('c' in data.tags) && size(data.tags) == 2 && data.tags[1] == 'b'",
        "has(data.items) && !has(data.missing) && data.items[1].n == 2",
        "data.items.exists(i, i.sku == 'y') && data.items.all(i, i.n > 0)",
        "data.items.exists_one(i, i.n == 1) && data.items.filter(i, i.n > 1).size() == 1",
        "data.items.map(i, i.n) == [1, 2] && data.tags.map(t, t) == data.tags",
        "data.items == data.items && data.items[0] != data.items[1]",
        "data.items[0] == {'sku': 'x', 'n': 1} && {'sku': 'x', 'n': 2} != data.items[0]",
        "data['a b'].c[1][0] == 2 && data['a b'].exists(key, key == 'c')",
        "data.items.exists(i, data.items.exists(j, j.n > i.n))",
        "data.items.exists(data, data.sku == 'x')",
        "data.missing == 1 || true",
    ] {
        assert_eq!(evaluate(text, &order()), Some(true), "{text}");
    }
}

#[test]
fn an_event_on_which_it_fails_is_not_wanted() {
    for text in [
        "data.missing > 1",
        "data.n",
        "data.n + 'x' == ''",
        "data.beyond > 1.0",
        "data == null",
        "data.tags['a'] == 1",
        "data.tags[2] == 'c'",
        "data.n / 0 == 1",
        "data.n * 9223372036854775807 > 0",
        "data.s < 1",
        "timestamp(data.s) < time",
        "size(data.n) == 1",
    ] {
        assert_eq!(evaluate(text, &order()), None, "{text}");
        assert!(!Filter::compile(text).expect("good").matches(&order()));
    }
    // What is not asked for is not read: a number beyond all range stands in no other's way.
    assert_eq!(evaluate("data.total > 100", &order()), Some(true));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, place, part) in [
        ("", "line 1, column 1:", "empty"),
        (" \n ", "line 1, column 1:", "empty"),
        ("data.total >", "line 1, column 13:", "expecting"),
        ("type = 'x'", "line 1, column 6:", "token recognition error"),
        (
            "'é' == id &&\n  'é' == nope",
            "line 2, column 10:",
            "there is no variable nope; there are id, channel",
        ),
        ("id.matches('a')", "line 1, column 11:", "there is no function matches"),
        ("now() > time", "line 1, column 4:", "there is no function now"),
        ("[1, 2].all(x, x > 0)", "line 1, column 11:", "of the event"),
        ("data.map(x, [x]) == 1", "line 1, column 13:", "inside of another"),
        ("A{b: 1}", "line 1, column 2:", "no messages"),
        ("data.?x == 1", "line 1, column 5:", "unsupported"),
        ("99999999999999999999 > 1", "line 1, column 1:", "invalid int"),
        (".id == 'x'", "line 1,", "there is no variable .id"),
        ("'abc", "line 1, column 1:", "token"),
        ("id id", "line 1, column 4:", "extraneous input"),
    ] {
        let message = Filter::parse(text).expect_err(text);
        assert!(message.starts_with(place) && message.contains(part), "{text}: {message}");
    }
    let error = Filter::compile("1 +").expect_err("no CEL");
    assert_eq!((error.code, error.fields[0].field.as_str()), (Code::InvalidFilter, "filter"));
}

#[test]
fn space_around_a_filter_makes_no_other_of_it() {
    let (a, b) =
        (Filter::compile(" id == 'x'\n").expect("good"), Filter::compile("id == 'x'").expect("good"));
    assert_eq!((a.text(), &a), ("id == 'x'", &b));
}

/// Texts that would exhaust a stack, or a parser's patience.
fn explosive() -> Vec<String> {
    let nested = |open: &str, inner: &str, close: &str, n| open.repeat(n) + inner + &close.repeat(n);
    let mut texts =
        vec!["(".repeat(10_000), "[".repeat(1 << 20), "a".repeat(1 << 20), nested("(", "id", ")", 10_000)];
    for (open, inner, close) in [
        ("(", "true", ")"),
        ("[", "", "]"),
        ("{1:", "1", "}"),
        ("A{a:", "1", "}"),
        ("size(", "id", ")"),
        ("data.all(x,", "true", ")"),
        ("data.map(x,", "x", ")"),
        ("data[", "0", "]"),
        ("id?", "1", ":1"),
        ("(id&&id||", "id", ")"),
        ("(1+", "1", ")"),
        ("!(", "true", ")"),
        ("-(", "1", ")"),
    ] {
        texts.extend([32, 33].map(|n| nested(open, inner, close, n)));
        texts.push(open.repeat(1_024 / open.len()));
    }
    let tails = "+1 -1 ==1 <1 *1+1 &&id ||id&&id ,1 +'a' .a [0] .size() .map(x,x) ?1:1 ! - !- $ ' ''' . , \\ ` \u{0} 🦀 1 9";
    for start in ["", "1", "id", "data", "'a'", "[1", "//", "1e", "r'", "b'\\x41"] {
        for more in tails.split(' ').chain([" in 1", "1 "]) {
            texts.push(start.to_owned() + &more.repeat((1_024 - start.len()) / more.len()));
        }
    }
    texts
}

#[test]
fn no_text_takes_long_or_much_stack() {
    let all = || {
        let event = event(format!("{{\"a\":{}1{}}}", "[".repeat(120), "]".repeat(120)));
        for text in explosive() {
            let begun = Instant::now();
            let _ = Filter::compile(&text).map(|filter| filter.matches(&event));
            let start: String = text.chars().take(40).collect();
            assert!(begun.elapsed() < Duration::from_millis(10) * SLOWER, "{start}: {:?}", begun.elapsed());
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(all).expect("a thread");
    thread.join().expect("nothing panics");
}

/// Events that are made to cost much.
fn heavy() -> Vec<Event> {
    let join = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(",");
    let mut texts = Vec::new();
    for n in [1_000, 10_000, 40_000] {
        let numbers = join(&mut (0..n).map(|i| i.to_string()));
        let items = join(&mut (0..n / 4).map(|i| format!("{{\"sku\":\"s{i}\",\"n\":{i}}}")));
        texts.push(format!("{{\"s\":\"x\",\"t\":\"x\",\"l\":[{numbers}],\"o\":[{items}]}}"));
    }
    let list = join(&mut (0..1_000).map(|i| i.to_string()));
    for n in [1_000, 64 << 10, 500 << 10, 8 << 20] {
        let long = "x".repeat(n);
        texts.push(format!("{{\"s\":\"{long}\",\"t\":\"{long}\",\"l\":[{list}]}}"));
    }
    texts.push(format!("{{\"s\":\"{}\",\"l\":[{list}]}}", "\\u0041".repeat(40_000)));
    texts.push(format!("{{\"l\":[{}]}}", join(&mut (0..1_000).map(|_| format!("\"{}\"", "x".repeat(100))))));
    texts.into_iter().map(event).collect()
}

#[test]
fn no_evaluation_takes_long() {
    let events = heavy();
    for text in [
        "data == data",
        "data.s.contains('xxxxxxxxxxxxxxxxxxxy')",
        "data.s + data.s + data.s + data.s + data.s + data.s + data.s + data.s != 'q'",
        "data.l.all(x, true)",
        "data.l.all(x, data < 1)",
        "data.l.exists(x, x.y < data)",
        "data.l.all(x, x in data.l)",
        "data.l.all(x, data.l.all(y, data.l.all(z, true)))",
        "data.l.all(x, data.s == data.t)",
        "data.l.all(x, data.s + data.s + data.s != 'q')",
        "data.l.all(x, data.s.contains('xxxxxxxxxxxxxxxxxxxy'))",
        "data.l.all(x, size(data.s) > 0)",
        "data.l.map(x, data).size() > 0",
        "data.l.all(x, 'x' in data.l.map(y, string(y)))",
        "data.o.exists(i, i.sku == 's' && i.n > 3)",
        "data.l.all(x, timestamp('2026-01-01T00:00:00Z').getHours('America/New_York') > x)",
        "data.l.all(x, duration('1h2m3s') > duration('1s'))",
    ] {
        let filter = Filter::compile(text).expect("good");
        for event in &events {
            // The machine may be busy with other things: the fastest of some counts.
            let times = (0..5).map(|_| {
                let begun = Instant::now();
                let _ = filter.matches(event);
                begun.elapsed()
            });
            let fastest = times.min().expect("there are five");
            assert!(fastest < Duration::from_millis(1) * SLOWER, "{text}: {fastest:?}");
        }
    }
}

#[test]
fn what_is_over_the_budget_fails_and_is_never_half_true() {
    let numbers = |n: usize| event(format!("{{\"l\":[{}1]}}", "1,".repeat(n)));
    for text in ["data.l.all(x, x == 1)", "!data.l.exists(x, x == 0)"] {
        assert_eq!(evaluate(text, &numbers(500)), Some(true), "{text}");
        assert_eq!(evaluate(text, &numbers(5_000)), None, "{text}");
    }
    assert_eq!(evaluate("data.l.all(x, x == 1) || true", &numbers(50_000)), None);
    assert_eq!(evaluate("type == 'order.paid' || data.l == []", &numbers(50_000)), Some(true));
}

/// Pieces of expressions, so that what is put together gets past the parser often enough.
const PIECES: &str = "data id type time sequence extensions .a .items [0] ['a'] [ ] ( ) { } , : ? == != < >= && || ! - + * / \
                      % 1 1u 1.5 'x' \"y\" b'z' true null x .all(x, .exists(x, .map(x, .size() has( string( timestamp(";

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "[1-9][0-9]{0,40}",
        "-?[1-9][0-9]{0,3}(\\.[0-9]{1,3})?(e[+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|text| json!(text).to_string()),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let member = ("[a-d]|items", inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = Filter::compile(&text).map(|filter| filter.matches(&order()));
    }

    #[test]
    fn nothing_made_of_pieces_panics(
        pieces in prop::collection::vec(prop::sample::select(PIECES.split(' ').collect::<Vec<_>>()), 1..24)
    ) {
        let _ = Filter::compile(&pieces.concat()).map(|filter| filter.matches(&order()));
        let _ = Filter::compile(&pieces.join(" ")).map(|filter| filter.matches(&order()));
    }

    #[test]
    fn no_data_panics(data in json_text()) {
        let event = event(data.clone());
        for text in [
            "data.a.b > 1",
            "data.items.exists(i, i.a == data.b)",
            "data[0] in data",
            "data.all(x, x == 'a')",
            "string(data) != 'x' && data < data",
        ] {
            let _ = Filter::compile(text).expect("good").matches(&event);
        }
        // Whatever has a value in CEL is equal to itself.
        if let Some(same) = evaluate("data == data", &event) {
            prop_assert!(same, "{}", data);
        }
    }
}
