//! The REST API as its own description has it, judged by tools that read nothing else.

use std::path::Path;
use std::process::Output;

use crate::clients::{folder, python};
use crate::node::Node;
use crate::place::{ADMIN_KEY, Place};
use crate::program::{Program, command};

/// What a run makes its requests from: the same each time.
const SEED: &str = "20261125";
/// What is judged: no 5xx, no answer that the document does not name or that is unlike its description, nothing taken that
/// it forbids, and nothing for those who have no key. Not all that it allows need be taken: a schema cannot say that a
/// time must be to come, or that a text must be a pattern.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,negative_data_rejection,\
                      missing_required_header,unsupported_method,allow_header_conformance,ignored_auth";

/// Requests that the document allows and some that it does not, to all addresses that match, with a key or without.
async fn judge(node: &Node, scratch: &Path, addresses: &str, key: Option<&str>) {
    let mut judge = command(python());
    judge.args(["-m", "schemathesis.cli", "run", &format!("{}/admin/openapi.json", node.api.url)]);
    // A stream does not end; what may be asked of it has tests of its own.
    judge.args(["--include-path-regex", addresses, "--exclude-path", "/v1/stream"]);
    judge.args(["--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-examples", "8", "--seed", SEED]);
    judge.args(["--generation-deterministic", "--continue-on-failure"]);
    judge.args(["--suppress-health-check", "all", "--request-timeout", "60", "--no-color"]);
    if let Some(key) = key {
        judge.args(["--header", &format!("Authorization: Bearer {key}")]);
    }
    let output = judge.current_dir(scratch).output().await.expect("Schemathesis runs");
    let text = text(&output);
    assert!(output.status.success() && text.contains(" generated"), "{addresses} with {key:?}\n{text}");
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}\n{err}\n{}", output.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_as_its_description_says_to_owners() {
    let (place, scratch) = (Place::new().await, tempfile::tempdir().expect("a folder"));
    let node = place.start("all").await;
    place.make_project(&node, "judged").await;
    judge(&node, scratch.path(), "^/admin/", Some(ADMIN_KEY)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_as_its_description_says_to_viewers_clients_and_strangers() {
    let (place, scratch) = (Place::new().await, tempfile::tempdir().expect("a folder"));
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "judged").await;
    let mut make = place.nuncio();
    make.args(["admin-key", "create", "--name", "viewer", "--role", "viewer"]);
    let viewer = Program::start("nuncio admin-key create", make).succeed().await.out.text();
    judge(&node, scratch.path(), "^/v1/", Some(&tenant.key)).await;
    judge(&node, scratch.path(), "^/admin/", Some(viewer.trim())).await;
    judge(&node, scratch.path(), "^/", None).await;
}

#[tokio::test]
async fn the_description_keeps_the_rules_of_a_linter() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let mut lint = command("node".into());
    lint.current_dir(folder()).arg("node_modules/@redocly/cli/bin/cli.js");
    lint.args(["lint", document, "--extends", "recommended", "--format", "stylish"]);
    lint.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
    let output = lint.output().await.expect("Redocly runs");
    assert!(output.status.success(), "{}", text(&output));
}
