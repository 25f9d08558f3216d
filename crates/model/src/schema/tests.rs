//! What fits and what does not, and what is refused before it is used.

use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

fn texts(schemas: Value) -> SchemaTexts {
    serde_json::from_value(schemas).expect("an object")
}

fn json_data(text: &str) -> Data {
    Data::Json(Bytes::from(text.to_owned()))
}

/// What is said of this data under this schema; nothing where it fits.
fn told(schema: &Value, data: &str) -> Option<String> {
    let texts = texts(json!({ "t": schema }));
    assert_eq!(problems(&texts), []);
    let error = Schemas::compile(&texts).check("t", &json_data(data)).err()?;
    assert_eq!(error.code, Code::SchemaMismatch);
    Some(error.message)
}

#[test]
fn a_mismatch_says_where_and_what_and_repeats_no_data() {
    let schema = json!({
        "type": "object", "required": ["items"],
        "properties": {"items": {"type": "array", "items": {"properties": {"price": {"type": "number"}}}}},
    });
    assert_eq!(told(&schema, r#"{"items":[{"price":1}]}"#), None);
    assert_eq!(
        told(&schema, r#"{"items":[{},{"price":"a secret"}]}"#).as_deref(),
        Some(
            "the data does not fit the schema for type \"t\": at /items/1/price, value is not of type \"number\""
        )
    );
    let lacking = told(&schema, "{}").expect("no items");
    assert!(lacking.ends_with("\"items\" is a required property"), "{lacking}");
    let long = told(&json!({"additionalProperties": false}), &format!(r#"{{"{}":1}}"#, "x".repeat(5_000)));
    assert!(long.expect("too many").len() < 500);
}

#[test]
fn each_type_has_its_schema_and_the_star_is_for_the_others() {
    let schemas = Schemas::compile(&texts(
        json!({"a": {"type": "integer"}, "b": true, "c": {"type": "null"}, "*": false}),
    ));
    let fits = |kind: &str, data: &Data| schemas.check(kind, data).is_ok();
    assert!(fits("a", &json_data("1")) && !fits("a", &json_data("\"1\"")));
    let bytes = Data::Binary(Bytes::from_static(b"\xff"));
    assert!(fits("b", &bytes) && fits("b", &Data::None) && !fits("a", &bytes));
    assert!(fits("c", &Data::None) && !fits("a", &Data::None));
    let error = schemas.check("other", &json_data("1")).expect_err("not taken");
    assert_eq!(error.message, "events of type \"other\" are not taken in this namespace");
    let open = Schemas::compile(&texts(json!({"a": {"type": "integer"}})));
    assert!(open.check("other", &bytes).is_ok() && Schemas::default().check("a", &bytes).is_ok());
}

#[test]
fn numbers_are_checked_as_they_are_written() {
    let integer = json!({"type": "integer", "maximum": 9_007_199_254_740_993_u64});
    assert_eq!(told(&integer, "9007199254740993"), None);
    assert!(told(&integer, "9007199254740994").is_some());
    assert_eq!(told(&integer, "1.0"), None);
    assert!(told(&json!({"type": "number"}), "1e400").is_some_and(|text| text.contains("1.8e308")));
}

#[test]
fn drafts_and_formats() {
    for draft in [
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema#",
    ] {
        let schema = json!({"$schema": draft, "format": "date-time"});
        assert!(told(&schema, "\"2026-01-31T12:00:00Z\"").is_none() && told(&schema, "\"x\"").is_some());
    }
    let tuple = |keyword: &str| json!({keyword: [{"type": "string"}]});
    assert!(told(&tuple("prefixItems"), "[1]").is_some());
    let mut old = tuple("items");
    old["$schema"] = json!("http://json-schema.org/draft-07/schema");
    assert!(told(&old, "[1]").is_some());
    // What a publisher sends is never compiled.
    assert_eq!(told(&json!({"format": "regex"}), "\"(\""), None);
}

#[test]
fn what_cannot_be_used_is_refused_when_it_is_stored() {
    let chain = |length: usize| {
        let next = |n| json!({"$ref": format!("#/$defs/a{n}")});
        let mut defs: serde_json::Map<String, Value> =
            (0..length).map(|n| (format!("a{n}"), json!({"anyOf": [next(n + 1), next(n + 1)]}))).collect();
        defs.insert(format!("a{length}"), json!(false));
        json!({"$ref": "#/$defs/a0", "$defs": defs})
    };
    let far: Value = (0..2_000).map(|n| json!({"$ref": format!("#/$defs/{}", n + 1)})).collect();
    let nested = (0..110).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert_eq!(problems(&texts(json!({ "t": nested }))), []);
    for (schema, at) in [
        (json!({"type": "strin"}), "/type"),
        (json!({"properties": {"a/b": {"minimum": "x"}}}), "/properties/a~1b/minimum"),
        (json!(7), ""),
        (json!({"$schema": "http://json-schema.org/draft-04/schema#"}), "/$schema"),
        (json!({"items": {"$ref": "https://example.com/a.json"}}), "/items/$ref"),
        (json!({"properties": {"a": {"$id": "https://example.com/a.json"}}}), "/properties/a/$id"),
        (json!({"$dynamicRef": "#a", "$dynamicAnchor": "a"}), "/$dynamicRef"),
        (json!({"$ref": "#/nowhere"}), ""),
        (json!({"const": ["a\0"]}), "/const/0"),
        (json!({"pattern": "(?=a)b"}), "/pattern"),
        (json!({"pattern": "(?:a{1000}){1000}"}), "/pattern"),
        (json!({"$ref": "#"}), "/$ref"),
        (json!({"allOf": [{"anyOf": [{"$ref": "#/allOf/0"}]}]}), "/allOf/0/anyOf/0/$ref"),
        (json!({"$ref": "#/$defs/0", "$defs": far}), ""),
        (chain(40), ""),
    ] {
        let started = Instant::now();
        let problems = problems(&texts(json!({ "t": schema })));
        let (path, message) = problems.first().expect("it is refused");
        assert!(path.starts_with(&format!("schemas/t{at}")) && problems.len() == 1, "{path}: {message}");
        assert!(message.len() < 400 && started.elapsed().as_secs() < 2, "{message}");
    }
    let many: Value =
        (0..65).map(|n| (format!("t{n}"), json!(true))).collect::<serde_json::Map<_, _>>().into();
    let wide: Vec<String> = (0..9_000).map(|n| format!("name-{n}")).collect();
    let patterns: Value = (0..201).map(|n| json!({"pattern": n.to_string()})).collect();
    for wrong in [many, json!({"t": {"enum": wide}}), json!({"t": {"allOf": patterns}}), json!({"a\n": true})]
    {
        assert_eq!(problems(&texts(wrong)).len(), 1);
    }
    // What came into the database all the same lets nothing through.
    let stored = Schemas::compile(&texts(json!({"t": {"type": "strin"}})));
    assert!(stored.check("t", &json_data("1")).is_err());
}

/// Every one of these took minutes or all memory when the library was asked where the data does not fit.
#[test]
fn hostile_data_is_judged_in_a_moment() {
    let list = json!({"type": "array", "items": {"$ref": "#/$defs/a"}});
    let twice = json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [list, list]}}});
    let deep = |depth: usize| format!("{}5{}", "[".repeat(depth), "]".repeat(depth));
    let backtracking = json!({"pattern": "^(a+)+b$"});
    let wide = format!("[{}1]", "1,".repeat(300_000));
    let strings = json!({"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "string"}}]});
    for (schema, data) in [
        (&twice, deep(120)),
        (&backtracking, format!("\"{}\"", "a".repeat(500_000))),
        (&strings, wide),
        (
            &json!({"uniqueItems": true, "minItems": 1_000_000}),
            format!("[{}{{}}]", "{\"a\":[]},".repeat(50_000)),
        ),
    ] {
        let started = Instant::now();
        assert!(told(schema, &data).is_some());
        assert!(started.elapsed().as_secs() < 5, "{schema}");
    }
    assert!(told(&twice, &deep(3)).is_some_and(|text| text.contains("anyOf")));
    assert_eq!(told(&twice, &deep(0).replace('5', "[]")), None);
}

/// Trees and syntax trees come back to themselves for parts of the value, which is fine.
#[test]
fn a_schema_may_come_back_to_itself_for_parts_of_the_value() {
    let tree = json!({
        "$anchor": "tree", "type": "object", "additionalProperties": false,
        "properties": {"left": {"$ref": "#tree"}, "right": {"$ref": "#"}, "value": {"type": "integer"}},
    });
    assert_eq!(told(&tree, r#"{"left":{"right":{"value":1}},"value":2}"#), None);
    let wrong = told(&tree, r#"{"left":{"right":{"value":"1"}}}"#).expect("a text");
    assert!(wrong.contains("/left/right/value"), "{wrong}");
}
