//! A running node, and requests to it.

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::event::Event;
use crate::place::{ADMIN_KEY, Tenant};
use crate::program::Program;

/// A node that is ready.
pub(crate) struct Node {
    pub(crate) program: Program,
    /// Where clients reach it; empty for a worker.
    pub(crate) api: String,
    http: Client,
}

impl Node {
    /// Starts the command, which must log as JSON, and waits until it says that it is ready.
    pub(crate) async fn start(name: &str, command: Command) -> Self {
        let mut program = Program::start(name, command);
        let starting = program.err.find("the node's addresses", |line| logged(line, "starting")).await;
        program.err.find("the node to be ready", |line| logged(line, "ready")).await;
        let api = starting["listen"].as_str().map(|listen| format!("http://{listen}")).unwrap_or_default();
        Self { program, api, http: Client::new() }
    }

    /// A request to the public API with the project's key.
    pub(crate) fn request(&self, method: Method, path: &str, tenant: &Tenant) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.api)).bearer_auth(&tenant.key)
    }

    /// A request to the admin API that must go well.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.http.request(method, format!("{}/admin/v1{path}", self.api));
        let request = request.bearer_auth(ADMIN_KEY);
        json_of(if body.is_null() { request } else { request.json(body) }).await
    }

    /// The project's newest cursor.
    pub(crate) async fn cursor(&self, tenant: &Tenant) -> String {
        let request = self.request(Method::POST, "/graphql", tenant).json(&json!({ "query": "{ cursor }" }));
        let answer = json_of(request).await;
        answer["data"]["cursor"].as_str().unwrap_or_else(|| panic!("no cursor: {answer}")).to_owned()
    }

    /// Publishes numbered events in one request.
    pub(crate) async fn publish(
        &self,
        tenant: &Tenant,
        channel: &str,
        numbers: std::ops::RangeInclusive<u64>,
    ) {
        let events: Vec<_> =
            numbers.map(|n| json!({ "id": format!("http-{n}"), "data": { "n": n } })).collect();
        let path = format!("/v1/channels/{channel}/events");
        json_of(self.request(Method::POST, &path, tenant).json(&events)).await;
    }

    /// Everything stored after a cursor, page by page.
    pub(crate) async fn history(&self, tenant: &Tenant, pattern: &str, after: &str) -> Vec<Event> {
        let path = format!("/v1/channels/{}/events", pattern.replace('#', "%23"));
        let (mut after, mut events) = (after.to_owned(), Vec::new());
        loop {
            let query = [("after", after.as_str()), ("first", "1000")];
            let page = json_of(self.request(Method::GET, &path, tenant).query(&query)).await;
            events.extend(page["events"].as_array().expect("a list").iter().map(Event::read));
            after = page["cursor"].as_str().expect("a cursor").to_owned();
            if page["hasMore"] == false {
                return events;
            }
        }
    }
}

/// The fields of a log line with this message.
fn logged(line: &str, message: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["fields"]["message"] == message).then(|| line["fields"].clone())
}

/// The JSON of a good answer.
pub(crate) async fn json_of(request: RequestBuilder) -> Value {
    let answer = request.send().await.expect("an answer");
    let (status, text) = (answer.status(), answer.text().await.expect("a body of text"));
    assert!(status.is_success(), "{status} {text}");
    if status == StatusCode::NO_CONTENT {
        return Value::Null;
    }
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}
