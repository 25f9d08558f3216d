//! RabbitMQ's management API: virtual hosts and users in milliseconds, where `rabbitmqctl` takes seconds.

use reqwest::{Client, Method, StatusCode, Url};
use serde_json::{Value, json};

use crate::Error;

/// A client of one node's management API.
#[derive(Debug, Clone)]
pub struct Management {
    http: Client,
    base: Url,
    user: String,
    password: String,
}

impl Management {
    /// For the node at `base` (`http://127.0.0.1:15672`).
    ///
    /// # Panics
    /// When `base` is not a URL.
    pub fn new(base: &str, user: &str, password: &str) -> Self {
        let base = Url::parse(base).expect("the caller gives a URL");
        Self { http: Client::new(), base, user: user.to_owned(), password: password.to_owned() }
    }

    /// The same with connections of its own. Those of a client belong to the runtime that opened them.
    pub(crate) fn reconnect(&self) -> Self {
        Self { http: Client::new(), ..self.clone() }
    }

    /// The API's base URL.
    pub fn base(&self) -> &str {
        self.base.as_str()
    }

    /// One request: `path` is a list of segments below `/api`. Answers with the JSON body, or null without one.
    pub async fn call(&self, method: Method, path: &[&str], body: Option<Value>) -> Result<Value, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an http URL has a path").clear().push("api").extend(path);
        let mut request = self.http.request(method, url).basic_auth(&self.user, Some(&self.password));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let failed = |error: reqwest::Error| Error::Management(error.to_string());
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let text = answer.text().await.map_err(failed)?;
        if status.is_client_error() || status.is_server_error() {
            return Err(Error::Management(format!("{status} for {}: {text}", path.join("/"))));
        }
        if status == StatusCode::NO_CONTENT || text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| Error::Management(format!("{error} in {text}")))
    }

    /// Makes a virtual host that this client's user may use.
    pub async fn create_vhost(&self, name: &str) -> Result<(), Error> {
        self.call(Method::PUT, &["vhosts", name], None).await?;
        self.permit(name, &self.user, [".*"; 3]).await
    }

    /// Deletes a virtual host with everything in it, and ends its connections.
    pub async fn delete_vhost(&self, name: &str) -> Result<(), Error> {
        self.call(Method::DELETE, &["vhosts", name], None).await.map(drop)
    }

    /// Makes a user without rights.
    pub async fn create_user(&self, name: &str, password: &str) -> Result<(), Error> {
        let body = json!({"password": password, "tags": ""});
        self.call(Method::PUT, &["users", name], Some(body)).await.map(drop)
    }

    /// Sets a user's rights on a virtual host: regular expressions for configure, write and read.
    pub async fn permit(&self, vhost: &str, user: &str, rights: [&str; 3]) -> Result<(), Error> {
        let [configure, write, read] = rights;
        let body = json!({"configure": configure, "write": write, "read": read});
        self.call(Method::PUT, &["permissions", vhost, user], Some(body)).await.map(drop)
    }

    /// What the node says of a queue (`arguments`, `type`, `messages`, …). Counts are up to five seconds old.
    pub async fn queue(&self, vhost: &str, name: &str) -> Result<Value, Error> {
        self.call(Method::GET, &["queues", vhost, name], None).await
    }

    /// Ends every connection to a virtual host, as an operator would.
    pub async fn close_connections(&self, vhost: &str) -> Result<(), Error> {
        let open = self.call(Method::GET, &["vhosts", vhost, "connections"], None).await?;
        for name in open.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()) {
            self.call(Method::DELETE, &["connections", name], None).await?;
        }
        Ok(())
    }
}
