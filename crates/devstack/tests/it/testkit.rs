//! Databases and virtual hosts for one test each.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

use nuncio_devstack::testkit::{database_in, vhost, vhost_in};
use nuncio_devstack::{Error, Postgres, PostgresOptions, Psql, Rabbit, RabbitOptions};
use reqwest::Method;

#[tokio::test]
async fn a_template_is_prepared_once_and_each_database_is_its_own() {
    let server = Postgres::start(PostgresOptions::scratch()).await.unwrap();
    let prepared = AtomicU32::new(0);
    let make = || {
        database_in(&server, "template_of_a_test", async |url| -> Result<(), Error> {
            prepared.fetch_add(1, Ordering::Relaxed);
            Psql::new(&url).run("CREATE TABLE t (n int)").await.map(drop)
        })
    };

    let (one, two) = tokio::join!(make(), make());
    let (one, two) = (one.unwrap(), two.unwrap());
    one.run("INSERT INTO t VALUES (1)").await.unwrap();

    assert_eq!(prepared.load(Ordering::Relaxed), 1);
    assert_eq!(two.run("SELECT count(*) FROM t").await.unwrap(), "0");
    drop((one, two));
    let left =
        server.psql().run("SELECT count(*) FROM pg_database WHERE datname LIKE 'test\\_%'").await.unwrap();
    assert_eq!(left, "0");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_virtual_host_is_gone_after_its_test() {
    let node = Rabbit::start(RabbitOptions::scratch()).await.unwrap();
    let made = vhost_in(&node).await.unwrap();
    let (management, name) = (made.management.clone(), made.name.clone());
    assert!(management.call(Method::GET, &["vhosts", &name], None).await.is_ok());
    drop(made);
    assert!(management.call(Method::GET, &["vhosts", &name], None).await.is_err());
    node.stop().await.unwrap();
}

#[tokio::test]
async fn servers_are_found_or_started() {
    let made = vhost().await.unwrap();
    assert!(made.url.starts_with("amqp://") && made.url.ends_with(&made.name), "{}", made.url);
    let database =
        nuncio_devstack::testkit::database("empty", async |_url| Ok::<_, Infallible>(())).await.unwrap();
    assert_eq!(database.run("SELECT 1").await.unwrap(), "1");
}
