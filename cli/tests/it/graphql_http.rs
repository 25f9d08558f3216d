//! GraphQL over HTTP as others judge it.

use serde_json::{Value, json};

use crate::clients::run;
use crate::place::Place;

/// How many audits the pinned version of graphql-http has. Fewer would mean that some did not run.
const AUDITS: usize = 61;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_audit_of_graphql_http_is_satisfied() {
    let place = Place::new().await;
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "audited").await;
    let options = json!({ "api": node.api.url, "token": tenant.key });
    let lines = run("audit_graphql_http.mjs", &options).succeed().await;
    let audits: Vec<Value> =
        lines.out.all().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let unsatisfied: Vec<&Value> = audits.iter().filter(|audit| audit["status"] != "ok").collect();
    assert!(unsatisfied.is_empty(), "{unsatisfied:#?}");
    assert_eq!(audits.len(), AUDITS);
}
