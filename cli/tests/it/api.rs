//! Requests to a node.

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::event::Event;
use crate::place::Tenant;

/// A node's HTTP API.
pub(crate) struct Api {
    /// Its base URL, without a slash at its end.
    pub(crate) url: String,
    admin_key: String,
    http: Client,
}

impl Api {
    pub(crate) fn new(url: impl Into<String>, admin_key: impl Into<String>) -> Self {
        Self { url: url.into(), admin_key: admin_key.into(), http: Client::new() }
    }

    /// A request to the public API with the project's key.
    pub(crate) fn request(&self, method: Method, path: &str, tenant: &Tenant) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&tenant.key)
    }

    /// A request to the admin API that must go well.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.http.request(method, format!("{}/admin/v1{path}", self.url));
        let request = request.bearer_auth(&self.admin_key);
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

    /// Everything stored, or everything after a cursor, page by page.
    pub(crate) async fn history(&self, tenant: &Tenant, pattern: &str, after: Option<&str>) -> Vec<Event> {
        let path = format!("/v1/channels/{}/events", pattern.replace('#', "%23"));
        let (mut after, mut events) = (after.map(str::to_owned), Vec::new());
        loop {
            let request = self.request(Method::GET, &path, tenant).query(&[("first", "1000")]);
            let request = request.query(&after.as_ref().map(|after| [("after", after)]));
            let page = json_of(request).await;
            events.extend(page["events"].as_array().expect("a list").iter().map(Event::read));
            after = page["cursor"].as_str().map(str::to_owned);
            if page["hasMore"] == false {
                return events;
            }
        }
    }
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
