//! Where a test happens: a database and a virtual host of its own, and the projects it makes.

use std::io;

use nuncio_devstack::testkit::{self, TestDatabase, TestVhost};
use nuncio_devstack::{Postgres, Rabbit};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::node::Node;
use crate::program::{Program, eventually, nuncio};

/// The template database of these tests; change the name with what `nuncio migrate` does.
pub(crate) const TEMPLATE: &str = "nuncio_cli_tests";

/// The admin key that every node of these tests is given.
pub(crate) const ADMIN_KEY: &str = "na_acceptance0123456789acceptance0123456789";

/// Encrypts what must be read back.
pub(crate) const SECRET_KEY: &str = "a secret key for tests, of more than 32 bytes";

/// The key that tokens of a project are signed with, once pages have been let in: its name and its secret.
const SIGNING_KEY: (&str, &str) = ("app", "a signing key for tests, of more than 32 bytes");

/// A database and a virtual host.
pub(crate) struct Place {
    pub(crate) database: TestDatabase,
    pub(crate) vhost: TestVhost,
}

/// A project with a key that may subscribe to and publish everything in it.
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) key: String,
}

impl Tenant {
    pub(crate) fn exchange(&self) -> String {
        format!("nuncio.{}", self.name)
    }

    /// What a script makes tokens with, see `token.mjs`.
    pub(crate) fn signing(&self) -> Value {
        let (kid, secret) = SIGNING_KEY;
        json!({ "kid": kid, "secret": secret, "project": self.name })
    }
}

/// Brings an empty database up to date, with the program itself.
pub(crate) async fn migrate(url: String) -> io::Result<()> {
    let mut migrate = nuncio();
    migrate.arg("migrate").env("DATABASE_URL", url);
    Program::start("nuncio migrate", migrate).succeed().await;
    Ok(())
}

impl Place {
    pub(crate) async fn new() -> Self {
        let made = tokio::try_join!(testkit::database(TEMPLATE, migrate), testkit::vhost());
        let (database, vhost) = made.expect("servers");
        Self { database, vhost }
    }

    /// A place on servers of the test's own, which it may stop and start.
    pub(crate) async fn on(postgres: &Postgres, rabbit: &Rabbit) -> Self {
        let made =
            tokio::try_join!(testkit::database_in(postgres, TEMPLATE, migrate), testkit::vhost_in(rabbit));
        let (database, vhost) = made.expect("a database and a virtual host");
        Self { database, vhost }
    }

    /// `nuncio` with its servers and free ports, without a subcommand yet.
    pub(crate) fn nuncio(&self) -> Command {
        let mut command = nuncio();
        command
            .env("DATABASE_URL", &self.database.url)
            .env("AMQP_URL", &self.vhost.url)
            .env("NUNCIO_SECRET_KEY", SECRET_KEY)
            .env("NUNCIO_ADMIN_KEY", ADMIN_KEY)
            .env("NUNCIO_LISTEN", "127.0.0.1:0")
            .env("NUNCIO_OPS_LISTEN", "127.0.0.1:0")
            .env("NUNCIO_LOG_FORMAT", "json");
        command
    }

    /// Starts a node of this role and waits until it is ready.
    pub(crate) async fn start(&self, role: &str) -> Node {
        let mut command = self.nuncio();
        command.arg(role);
        Node::start(&format!("nuncio {role}"), command).await
    }

    /// Makes a project, and waits until messages can be published to it.
    pub(crate) async fn make_project(&self, node: &Node, name: &str) -> Tenant {
        node.api.admin(Method::POST, "/projects", &json!({ "name": name })).await;
        let rights = json!({ "subscribe": ["#"], "publish": ["#"] });
        let key = json!({ "label": "test", "rights": rights });
        let key = node.api.admin(Method::POST, &format!("/projects/{name}/keys"), &key).await;
        let tenant = Tenant { name: name.to_owned(), key: key["secret"].as_str().expect("a key").to_owned() };
        let exchange = tenant.exchange();
        eventually("the project's exchange", async || self.has_exchange(&exchange).await).await;
        tenant
    }

    /// Lets pages of all origins and their tokens in, at all of these nodes.
    pub(crate) async fn let_pages_in(&self, nodes: &[Node], tenant: &Tenant) {
        let (kid, secret) = SIGNING_KEY;
        let (path, key) = (
            format!("/projects/{}", tenant.name),
            json!({ "kid": kid, "algorithm": "HS256", "secret": secret }),
        );
        let api = &nodes[0].api;
        api.admin(Method::POST, &format!("{path}/signing-keys"), &key).await;
        api.admin(Method::PATCH, &path, &json!({ "allowedOrigins": ["*"] })).await;
        for node in nodes {
            eventually("all origins to be allowed", async || {
                let request = node.api.request(Method::GET, "/v1/channels/any/events", tenant);
                let answer = request.header("origin", "https://app.example").send().await;
                answer.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
    }

    async fn has_exchange(&self, name: &str) -> bool {
        let path = ["exchanges", self.vhost.name.as_str(), name];
        self.vhost.management.call(Method::GET, &path, None).await.is_ok()
    }

    /// The options of a publisher's script.
    pub(crate) fn publisher(&self, tenant: &Tenant, channel: &str, count: u64) -> Value {
        json!({
            "amqp": self.vhost.url, "exchange": tenant.exchange(), "channel": channel, "first": 1, "count": count,
        })
    }
}
