//! Every address that the program describes.

use serde_json::Value;

/// The paths of the OpenAPI document with their parameters filled in, and `/graphql`, which describes itself.
pub(crate) fn targets() -> Vec<String> {
    let text = include_str!("../../../docs/openapi.json");
    let document: Value = serde_json::from_str(text).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").keys();
    let filled = paths.map(|path| {
        let names = [
            ("{project}", "abused"),
            ("{channel}", "orders"),
            ("{name}", "orders"),
            ("{id}", "1"),
            ("{kid}", "k"),
        ];
        names.into_iter().fold(path.clone(), |path, (name, value)| path.replace(name, value))
    });
    let all: Vec<String> = filled.chain(["/graphql".to_owned()]).collect();
    assert!(all.len() > 10 && all.iter().all(|path| !path.contains('{')), "{all:?}");
    all
}
