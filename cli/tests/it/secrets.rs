//! No secret is written down where it can be read: not in the log at its most talkative, not in metrics, and not in the
//! database.

use reqwest::{Client, Method, Url};
use serde_json::{Value, json};

use crate::clients::{member, run};
use crate::node::Node;
use crate::place::{ADMIN_KEY, Place, SECRET_KEY, Tenant};

/// What is secret, and where it came from.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, what: &'static str, secret: impl Into<String>) -> String {
        let secret = secret.into();
        assert!(secret.len() >= 16, "{what} is no secret: {secret}");
        self.0.push((what, secret.clone()));
        secret
    }

    /// The member of an answer that holds one.
    fn of(&mut self, what: &'static str, answer: &Value, member: &str) -> String {
        self.add(what, answer[member].as_str().unwrap_or_else(|| panic!("{what}: no {member} in {answer}")))
    }

    /// Checks that none stands there, nor its bytes as PostgreSQL prints them.
    #[track_caller]
    fn assert_absent(&self, place: &str, text: &str) {
        for (what, secret) in &self.0 {
            let bytes: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let found = text.find(secret.as_str()).or_else(|| text.find(&bytes));
            let around = found.map(|at| &text[text.floor_char_boundary(at.saturating_sub(200))..at]);
            assert!(found.is_none(), "{what} stands in {place}, after: {around:?}");
        }
    }
}

fn password(url: &str) -> String {
    Url::parse(url).expect("a URL").password().expect("the servers of tests have passwords").to_owned()
}

/// Makes and uses every kind of credentials, well and badly.
async fn use_all(node: &Node, tenant: &Tenant, secrets: &mut Secrets) {
    let (api, project) = (&node.api, format!("/projects/{}", tenant.name));
    let post = async |path: &str, body: Value| api.admin(Method::POST, path, &body).await;
    let key =
        post(&format!("{project}/keys"), json!({ "label": "web", "rights": { "publish": ["#"] } })).await;
    secrets.of("an API key", &key, "secret");
    let rotate = format!("{project}/keys/{}:rotate", key["id"].as_str().expect("an id"));
    secrets.of("an API key that took over", &post(&rotate, json!({})).await, "secret");
    let signing =
        post(&format!("{project}/signing-keys"), json!({ "algorithm": "HS256", "kid": "made" })).await;
    secrets.of("a signing key", &signing, "secret");
    let given = secrets.add("a signing key that was given", "given-0123456789abcdef0123456789abcdef");
    post(
        &format!("{project}/signing-keys"),
        json!({ "algorithm": "HS256", "kid": "given", "secret": given }),
    )
    .await;
    let admin = post("/admin-keys", json!({ "name": "second", "role": "viewer" })).await;
    let admin = secrets.of("an admin key", &admin, "secret");
    let wanted = json!({ "subject": "ada", "rights": { "subscribe": ["#"] }, "kid": "made" });
    let token = secrets.of("a token", &post(&format!("{project}/tokens"), wanted).await, "token");
    post(&format!("{project}/tokens:inspect"), json!({ "token": token })).await;

    let http = Client::new();
    let get = |path: &str| http.get(format!("{}{path}", api.url));
    let wrong = secrets.add("a key with a wrong end", format!("{}x", tenant.key));
    let forged = secrets.add("a forged token", format!("{token}x"));
    for credentials in [&wrong, &forged, &token, &tenant.key, &admin] {
        get("/v1/channels/orders/events").bearer_auth(credentials).send().await.expect("an answer");
        get("/admin/v1/projects").bearer_auth(credentials).send().await.expect("an answer");
    }
    // A key in a URL is refused, and written down all the same if URLs are.
    for credentials in [&token, &forged, &tenant.key] {
        let path = format!("/v1/stream?channel=orders&access_token={credentials}");
        get(&path).send().await.expect("an answer");
    }
    let once = secrets.add("a key whose making is remembered", "idempotency-0123456789");
    let body = json!({ "label": "once", "rights": {} });
    let made = http.post(format!("{}/admin/v1{project}/keys", api.url)).bearer_auth(ADMIN_KEY).json(&body);
    let made = made.header("idempotency-key", once).send().await.expect("an answer");
    secrets.of("an API key that is told once more", &made.json().await.expect("JSON"), "secret");
    for credentials in [&token, &tenant.key] {
        let options = json!({ "api": api.url, "token": credentials, "channel": "orders", "count": 1 });
        let mut subscriber = run("subscribe_graphql_ws.mjs", &options);
        subscriber.out.find("the connection", member("connected")).await;
        subscriber.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_written_down() {
    let place = Place::new().await;
    let mut command = place.nuncio();
    command.arg("all").env("NUNCIO_LOG", "trace");
    let node = Node::start("nuncio all", command).await;
    let tenant = place.make_project(&node, "hush").await;
    let mut secrets = Secrets(Vec::new());
    for (what, secret) in [
        ("the first admin key", ADMIN_KEY.to_owned()),
        ("what encrypts the others", SECRET_KEY.to_owned()),
        ("the database's password", password(&place.database.url)),
        ("the broker's password", password(&place.vhost.url)),
        ("an API key", tenant.key.clone()),
    ] {
        secrets.add(what, secret);
    }
    use_all(&node, &tenant, &mut secrets).await;

    let metrics = reqwest::get(format!("http://{}/metrics", node.ops)).await.expect("an answer");
    secrets.assert_absent("the metrics", &metrics.text().await.expect("a text"));
    let tables = "select string_agg(format('select %L || (t.*)::text from %I t', tablename || ' ', tablename), ' union all ')
                  from pg_tables where schemaname = 'public'";
    let tables = place.database.run(tables).await.expect("the tables");
    let rows = place.database.run(&tables).await.expect("the rows");
    assert!(rows.contains("api_keys ") && rows.contains("signing_keys "), "{rows}");
    secrets.assert_absent("the database", &rows);
    let log = node.program.err.text();
    assert!(log.contains("/v1/stream") && log.contains("TRACE"), "the log is not talkative");
    secrets.assert_absent("the log", &log);
}
