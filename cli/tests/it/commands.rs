//! The small commands, as typed.

use std::io;

use nuncio_devstack::{Postgres, PostgresOptions, testkit};
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::api::{Api, json_of};
use crate::dev_kit::Folder;
use crate::node::Node;
use crate::place::{Place, SECRET_KEY, TEMPLATE, Tenant, migrate};
use crate::program::{Program, nuncio};

async fn empty_database() -> testkit::TestDatabase {
    testkit::database("nuncio_cli_empty", async |_| Ok::<_, io::Error>(())).await.expect("a server")
}

fn on(database: &testkit::TestDatabase, arguments: &[&str]) -> Program {
    let mut command = nuncio();
    command.args(arguments).env("DATABASE_URL", &database.url).env("NUNCIO_SECRET_KEY", SECRET_KEY);
    Program::start(format!("nuncio {}", arguments.join(" ")), command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_migrate_at_once() {
    let database = empty_database().await;
    let unmigrated = on(&database, &["doctor"]).code().await;
    let migrating: Vec<Program> = (0..4).map(|_| on(&database, &["migrate"])).collect();
    for program in migrating {
        program.succeed().await;
    }
    on(&database, &["migrate"]).succeed().await;
    let applied =
        database.run("select count(*) = count(distinct version) and bool_and(success) from _sqlx_migrations");
    assert_eq!((unmigrated, applied.await.expect("an answer").trim()), (1, "t"));
}

/// What `doctor` says of each thing: whether there is nothing to mend.
fn findings(doctor: &Program) -> Vec<(String, bool)> {
    let lines = doctor.out.all();
    let finding = |line: &String| {
        let (state, rest) = line.split_once(' ').expect("two words");
        (rest.trim_start().split(':').next().unwrap_or_default().to_owned(), state != "MEND")
    };
    lines.iter().map(finding).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_finds_what_is_to_be_mended_and_nothing_else() {
    // The servers that tests share do not write through to the disk, which `doctor` would tell.
    let folder = Folder::new();
    let durable = PostgresOptions::kept(folder.path().join("postgres"));
    let (server, vhost) = tokio::try_join!(Postgres::start(durable), testkit::vhost()).expect("servers");
    let database = testkit::database_in(&server, TEMPLATE, migrate).await.expect("a database");
    let on_it = |arguments: &[&str]| on(&database, arguments);
    on_it(&["admin-key", "create", "--name", "Ada"]).succeed().await;
    let mut good = nuncio();
    good.arg("doctor").envs([("NUNCIO_LISTEN", "127.0.0.1:0"), ("NUNCIO_OPS_LISTEN", "127.0.0.1:0")]);
    good.env("DATABASE_URL", &database.url).env("AMQP_URL", &vhost.url);
    good.env("NUNCIO_SECRET_KEY", SECRET_KEY);
    let mut good = Program::start("nuncio doctor", good);
    let code = good.code().await;
    let wrong = findings(&good).into_iter().filter(|(_, well)| !well).map(|(what, _)| what);
    // How many files may be open is a matter of the machine.
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.iter().all(|what| what == "open files"), "{}", good.out.text());
    assert_eq!(code, i32::from(!wrong.is_empty()));
    drop(database);
    server.stop().await.expect("an end");

    let (database, mut bad) = (empty_database().await, nuncio());
    bad.arg("doctor")
        .env("DATABASE_URL", &database.url)
        .env("AMQP_URL", "amqp://nuncio:hidden@127.0.0.1:1/%2f");
    let mut bad = Program::start("nuncio doctor", bad);
    assert_eq!(bad.code().await, 1);
    let found = findings(&bad);
    for (what, well) in [
        ("configuration", true),
        ("secrets", false),
        ("database", true),
        ("schema", false),
        ("broker", false),
    ] {
        assert!(found.contains(&(what.to_owned(), well)), "{what}: {}", bad.out.text());
    }
    assert!(!bad.out.text().contains("hidden"), "a password is not repeated: {}", bad.out.text());
}

/// One that stopped at the first thing would send whoever reads it round and round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_goes_on_whatever_is_wrong_and_looks_into_the_database() {
    let place = Place::new().await;
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "shop").await;
    place.let_pages_in(std::slice::from_ref(&node), &tenant).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("bound");
    let mut doctor = nuncio();
    doctor.arg("doctor").env("DATABASE_URL", &place.database.url).env("AMQP_URL", &place.vhost.url);
    doctor
        .env("NUNCIO_SECRET_KEY", "another secret key, of more than 32 bytes")
        .env("NUNCIO_LOG_FORMAT", "xml");
    doctor.env("NUNCIO_LISTEN", node.address()).env("NUNCIO_OPS_LISTEN", &taken.1);
    let mut doctor = Program::start("nuncio doctor", doctor);
    assert_eq!(doctor.code().await, 2);
    assert!(doctor.err.text().contains("NUNCIO_LOG_FORMAT"), "{}", doctor.err.text());
    let found = findings(&doctor);
    for (what, well) in [
        ("configuration", false),
        ("secrets", true),
        ("database", true),
        ("database connections", true),
        ("schema", true),
        ("admin keys", true),
        ("signing keys", false),
        ("broker", true),
        ("broker rights", true),
        ("broker intake", true),
        ("listen", true),
        ("ops listen", false),
    ] {
        assert!(found.contains(&(what.to_owned(), well)), "{what}: {}", doctor.out.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_created_admin_key_opens_the_admin_api() {
    let place = Place::new().await;
    let node = place.start("api").await;
    let create = |role: &str| on(&place.database, &["admin-key", "create", "--name", "Ada", "--role", role]);
    let (owner, viewer) =
        (create("owner").succeed().await.out.text(), create("viewer").succeed().await.out.text());
    assert!(owner.starts_with("na_") && !owner.contains('\n'), "nothing but the key is printed: {owner}");

    let url = format!("{}/admin/v1/projects", node.api.url);
    let project = serde_json::json!({ "name": "shop" });
    let make = |key: &str| Client::new().request(Method::POST, &url).bearer_auth(key).json(&project).send();
    crate::program::eventually("the new keys to be known", async || {
        Client::new().get(&url).bearer_auth(&viewer).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    assert_eq!(make(&viewer).await.expect("an answer").status(), 403);
    assert_eq!(make(&owner).await.expect("an answer").status(), 201);
    let list = json_of(Client::new().get(&url).bearer_auth(&viewer)).await;
    assert_eq!(list["items"][0]["name"], "shop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_locked_out_lists_revokes_and_makes_admin_keys() {
    let database = testkit::database(TEMPLATE, migrate).await.expect("a database");
    let made = on(&database, &["admin-key", "create", "--name", "Ada L", "--expires-in-days", "2"]);
    let key = made.succeed().await.out.text();
    let list = async || on(&database, &["admin-key", "list"]).succeed().await.out.text();
    let listed = list().await;
    assert!(listed.starts_with(&format!("{}  owner  until 2", &key[..11])), "{listed}");
    assert!(listed.ends_with("  all projects  Ada L") && !listed.contains(&key), "{listed}");
    // The admin API would refuse this: it is the last owner.
    on(&database, &["admin-key", "revoke", &key[..11]]).succeed().await;
    let listed = list().await;
    assert!(listed.contains("  owner  revoked 2"), "{listed}");
    let told = database.run("select action, actor->>'name' from audit_log order by id").await.expect("rows");
    assert_eq!(told.trim(), "created|nuncio admin-key create\nrevoked|nuncio admin-key revoke");

    for (wrong, code) in [
        (vec!["create", "--name", "x", "--project", "nowhere"], 2),
        (vec!["create", "--name", ""], 2),
        (vec!["create", "--name", "x", "--expires-in-days", "0"], 2),
        (vec!["revoke", "na_nobody00"], 1),
    ] {
        let arguments: Vec<_> = std::iter::once("admin-key").chain(wrong).collect();
        assert_eq!(on(&database, &arguments).code().await, code, "{arguments:?}");
    }
    assert_eq!(list().await, listed, "nothing was made");
}

/// `nuncio` as a user of this node types it.
fn at(api: &Api, tenant: &Tenant) -> Command {
    let mut command = nuncio();
    command.env("NUNCIO_URL", &api.url).env("NUNCIO_KEY", &tenant.key);
    command
}

async fn publish(place: &Place, node: &Node, tenant: &Tenant, more: &[&str]) -> String {
    let mut command = at(&node.api, tenant);
    command.env("AMQP_URL", &place.vhost.url);
    command.args(["publish", "orders.eu", "--type", "order.created"]).args(more);
    Program::start("nuncio publish", command).succeed().await.out.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_publish_sends_tail_prints() {
    let place = Place::new().await;
    let node = place.start("all").await;
    let tenant = place.make_project(&node, "shop").await;
    let first = publish(&place, &node, &tenant, &["--data", r#"{"n":1}"#]).await;
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!((&first["channel"], &first["duplicate"]), (&"orders.eu".into(), &false.into()));

    let mut tail = at(&node.api, &tenant);
    tail.args(["tail", "orders.#", "--after", first["cursor"].as_str().expect("a cursor")]);
    let mut tail = Program::start("nuncio tail", tail);
    publish(&place, &node, &tenant, &["--data", r#"{"n":2}"#]).await;
    publish(&place, &node, &tenant, &["--data", r#"{"n":3}"#, "--amqp", "--project", "shop"]).await;
    tail.out.count("two events", 2).await;
    let lines = tail.out.all();
    let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("a CloudEvent"));
    let events: Vec<_> = events.map(|event| (event["type"].clone(), event["data"]["n"].as_u64())).collect();
    assert_eq!(events, [("order.created".into(), Some(2)), ("order.created".into(), Some(3))]);

    let mut refused = at(&node.api, &tenant);
    refused.args(["publish", "orders.eu", "--data", "{}"]).env("NUNCIO_KEY", "nk_wrong");
    let mut refused = Program::start("nuncio publish", refused);
    assert_eq!(refused.code().await, 1);
    assert!(refused.err.text().contains("UNAUTHENTICATED"), "{}", refused.err.text());
}
