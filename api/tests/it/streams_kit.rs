//! What the tests of GraphQL streams share: clients that read events and parts as they come over the socket.

use nuncio_devstack::testkit::Proxy;
use nuncio_model::Rights;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::graphql_kit::Node;
use crate::node::{Answer, SOON, Site};

pub(crate) const EVENTS: &str = "text/event-stream";
/// What Apollo Client accepts for a subscription.
pub(crate) const APOLLO: &str = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9";
/// The header that names a reservation.
pub(crate) const TOKEN: &str = "x-graphql-event-stream-token";

/// A subscription to a channel.
pub(crate) fn numbers_of(channel: &str) -> Value {
    json!({ "query": format!("subscription {{ events(channel: \"{channel}\") {{ data }} }}") })
}

/// A subscription to a channel, of all there is after a cursor.
pub(crate) fn numbers_after(channel: &str, cursor: &str) -> Value {
    let query = "subscription($c: String!, $x: Cursor) { events(channel: $c, after: $x) { data } }";
    json!({ "query": query, "variables": { "c": channel, "x": cursor } })
}

/// A stream's body, cut where its messages end.
pub(crate) struct Body {
    response: Response,
    buffer: String,
    end: &'static str,
}

impl Body {
    /// The next message; none at the end of the stream, whether it was ended or cut.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((message, rest)) = self.buffer.split_once(self.end) {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.buffer = rest;
                return Some(message);
            }
            let chunk = timeout(SOON, self.response.chunk()).await.expect("bytes in time").ok().flatten()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("messages end where chunks end"));
        }
    }
}

/// An event stream as the HTML standard reads it.
pub(crate) struct Events(Body);

/// An event of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    /// Null where there is none.
    pub(crate) data: Value,
}

impl Events {
    /// Reads an answer that must be a stream.
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.header("accept", EVENTS).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self(Body { response, buffer: String::new(), end: "\n\n" })
    }

    /// The next block of lines, which may be a comment.
    pub(crate) async fn block(&mut self) -> Option<String> {
        self.0.next().await
    }

    /// The next event that an EventSource would dispatch.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let Some(data) = field("data:") else { continue };
            let data = if data.is_empty() { Value::Null } else { data.parse().expect("JSON in one line") };
            return Some(Event { name: field("event:").expect("all are named").to_owned(), data });
        }
    }

    /// The data of an event, which must have this name.
    pub(crate) async fn expect(&mut self, name: &str) -> Value {
        let event = self.next().await.expect("the stream goes on");
        assert_eq!(event.name, name, "{event:?}");
        event.data
    }

    /// The numbers of the next events of the one operation.
    pub(crate) async fn numbers(&mut self, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let result = self.expect("next").await;
            numbers.push(result["data"]["events"]["data"].as_i64().unwrap_or_else(|| panic!("{result}")));
        }
        numbers
    }

    /// The numbers of the next events, with the operations they are of.
    pub(crate) async fn numbers_by_id(&mut self, count: usize) -> Vec<(String, i64)> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let message = self.expect("next").await;
            let number = message["payload"]["data"]["events"]["data"].as_i64();
            let id = message["id"].as_str().expect("an id").to_owned();
            numbers.push((id, number.unwrap_or_else(|| panic!("{message}"))));
        }
        numbers
    }

    /// The code of the error that its one operation ends with, and that it is complete.
    pub(crate) async fn refusal(&mut self) -> Value {
        let result = self.expect("next").await;
        assert!(result.get("data").is_none(), "{result}");
        assert_eq!(self.expect("complete").await, Value::Null);
        assert_eq!(self.next().await, None);
        result["errors"][0]["extensions"]["code"].clone()
    }
}

/// A multipart stream, as Apollo Client reads it.
pub(crate) struct Parts(Body);

impl Parts {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.header("accept", APOLLO).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        let media_type = "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0";
        assert_eq!(response.headers()["content-type"], media_type);
        let mut parts = Self(Body { response, buffer: String::new(), end: "\r\n--graphql" });
        assert_eq!(parts.0.next().await.as_deref(), Some(""), "nothing comes before the first boundary");
        parts
    }

    /// The next part; none at the end, which must not come without the last boundary where `ended` is asked for.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let part = self.0.next().await?;
        let (head, body) = part.split_once("\r\n\r\n").expect("a part has a head");
        assert_eq!(head, "\r\ncontent-type: application/json");
        Some(body.parse().expect("JSON"))
    }

    /// The next part that is no heartbeat.
    pub(crate) async fn payload(&mut self) -> Value {
        loop {
            let part = self.next().await.expect("the stream goes on");
            if part != json!({}) {
                return part;
            }
        }
    }

    /// The numbers of the next events.
    pub(crate) async fn numbers(&mut self, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let part = self.payload().await;
            let number = part["payload"]["data"]["events"]["data"].as_i64();
            numbers.push(number.unwrap_or_else(|| panic!("{part}")));
        }
        numbers
    }

    /// What is left after the last whole part: `--` says that this is the end.
    pub(crate) async fn rest(mut self) -> String {
        assert_eq!(self.0.next().await, None);
        self.0.buffer
    }
}

/// A request to `/graphql` of a node.
pub(crate) fn ask(site: &Site, method: Method, key: &str) -> RequestBuilder {
    site.request(method, "/graphql", key)
}

/// Sends it and reads the whole answer.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    Answer::of(timeout(SOON, request.send()).await.expect("in time").expect("an answer")).await
}

impl Node {
    /// Asks for an operation by POST and reads the stream.
    pub(crate) async fn events(&self, body: &Value) -> Events {
        Events::of(ask(self, Method::POST, &self.key).json(body)).await
    }

    /// As [`Self::events`], in parts.
    pub(crate) async fn parts(&self, body: &Value) -> Parts {
        Parts::of(ask(self, Method::POST, &self.key).json(body)).await
    }

    /// One more key that may do everything.
    pub(crate) async fn another_key(&self) -> String {
        self.key(&self.project.name, Rights::everything()).await
    }

    pub(crate) async fn revoke(&self, key: &str) {
        let keys = self.app.store.list_api_keys(self.project.id, 0, 100).await.expect("the keys");
        let id = keys.iter().find(|known| key.starts_with(&known.prefix)).expect("the key").id;
        self.app.store.revoke_api_key(self.project.id, id).await.expect("revoked");
        self.refresh().await;
    }

    /// The newest place.
    pub(crate) async fn head(&self) -> String {
        self.execute("{ cursor }").await["data"]["cursor"].as_str().expect("a cursor").to_owned()
    }
}

/// A client of the single connection mode: whoever has this key, at this node.
pub(crate) struct Client<'a> {
    pub(crate) site: &'a Site,
    pub(crate) key: &'a str,
    pub(crate) token: String,
}

impl<'a> Client<'a> {
    /// Reserves a stream.
    pub(crate) async fn reserve(site: &'a Site, key: &'a str) -> Self {
        let made = answer(ask(site, Method::PUT, key)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!(made.header("content-type"), "text/plain; charset=utf-8");
        Self { site, key, token: made.text }
    }

    /// The same client at another node.
    pub(crate) fn at(&self, site: &'a Site) -> Self {
        Self { site, key: self.key, token: self.token.clone() }
    }

    pub(crate) fn ask(&self, method: Method) -> RequestBuilder {
        ask(self.site, method, self.key).header(TOKEN, &self.token)
    }

    /// Opens the stream.
    pub(crate) async fn open(&self) -> Events {
        Events::of(self.ask(Method::GET)).await
    }

    /// Asks for an operation.
    pub(crate) async fn post(&self, id: &str, body: &Value) -> Answer {
        let mut body = body.clone();
        body["extensions"] = json!({ "operationId": id });
        answer(self.ask(Method::POST).json(&body)).await
    }

    /// Starts an operation, which must be accepted.
    pub(crate) async fn start(&self, id: &str, body: &Value) {
        let taken = self.post(id, body).await;
        assert_eq!((taken.status.as_u16(), taken.text.as_str()), (202, ""));
    }

    pub(crate) async fn stop(&self, id: &str) -> Answer {
        answer(self.ask(Method::DELETE).query(&[("operationId", id)])).await
    }
}

/// A way to the node that can be cut.
pub(crate) async fn through_proxy(site: &Site) -> (Proxy, Site) {
    let proxy = Proxy::start(&site.address).await.expect("a free port");
    let through = Site::at(proxy.address());
    (proxy, through)
}

/// The code of an answer that is an error of GraphQL.
pub(crate) fn code(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.json()["errors"][0]["extensions"]["code"].clone())
}
