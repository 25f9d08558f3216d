//! A private PostgreSQL: starting, coming back, crashing.

use std::pin::pin;
use std::time::Duration;

use nuncio_devstack::{Error, Postgres, PostgresOptions, Psql};

/// A folder that the server's user can enter, whatever TMPDIR says.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder =
        tempfile::Builder::new().prefix("nuncio-it-").tempdir_in("/tmp").expect("/tmp can be written to");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
        .expect("the folder is ours");
    folder
}

#[tokio::test]
async fn a_second_start_takes_up_the_same_data_at_the_same_url() {
    let folder = folder();
    let options = PostgresOptions::kept(folder.path().join("postgres"));

    let first = Postgres::start(options.clone()).await.unwrap();
    first.create_database("kept").await.unwrap();
    first.create_database("kept").await.unwrap();
    let url = first.url("kept");
    Psql::new(&url).run("CREATE TABLE t AS SELECT 42 AS n").await.unwrap();
    assert_eq!(Psql::new(&url).run("SHOW fsync").await.unwrap(), "on");
    first.stop().await.unwrap();

    let second = Postgres::start(options).await.unwrap();
    assert_eq!(second.url("kept"), url);
    assert_eq!(Psql::new(&url).run("SELECT n FROM t").await.unwrap(), "42");
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_in_use_is_refused_by_name() {
    let folder = folder();
    let options = PostgresOptions::kept(folder.path().join("postgres"));
    let first = Postgres::start(options.clone()).await.unwrap();

    let refused = Postgres::start(options).await.unwrap_err();

    assert!(matches!(refused, Error::InUse { pid, .. } if pid == std::process::id()), "{refused}");
    first.stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_can_be_started_again_at_once() {
    let folder = folder();
    let options = PostgresOptions::kept(folder.path().join("postgres"));
    let first = Postgres::start(options.clone()).await.unwrap();
    drop(first);
    Postgres::start(options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_comes_back_on_its_port_with_what_was_committed() {
    let mut server = Postgres::start(PostgresOptions::scratch()).await.unwrap();
    let url = server.url("postgres");
    let psql = Psql::new(&url);
    psql.run("CREATE TABLE t AS SELECT 42 AS n").await.unwrap();
    let before = server.pid();

    server.kill().await.unwrap();
    psql.run("SELECT 1").await.unwrap_err();
    server.restart().await.unwrap();

    assert_eq!(server.url("postgres"), url);
    assert_ne!(server.pid(), before);
    assert_eq!(psql.run("SELECT n FROM t").await.unwrap(), "42");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_pid_file_that_names_some_other_process_is_no_hindrance() {
    let folder = folder();
    let options = PostgresOptions::kept(folder.path().join("postgres"));
    Postgres::start(options.clone()).await.unwrap().stop().await.unwrap();
    let left = folder.path().join("postgres/data/postmaster.pid");
    // This very process stands for one that got the id of the crashed server.
    std::fs::write(&left, format!("{}\n/nowhere\n1\n1\n\n127.0.0.1\n0 0\nready\n", std::process::id()))
        .unwrap();

    let again = Postgres::start(options).await.unwrap();

    assert_eq!(again.psql().run("SELECT 1").await.unwrap(), "1");
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_frozen_server_answers_nobody_until_it_is_thawed() {
    let mut server = Postgres::start(PostgresOptions::scratch()).await.unwrap();
    let psql = server.psql();
    server.freeze();
    let (mut asked, mut noticed) =
        (pin!(psql.run("SELECT 42")), pin!(tokio::time::sleep(Duration::from_secs(1))));
    tokio::select! {
        answer = &mut asked => panic!("a frozen server answered: {answer:?}"),
        () = &mut noticed => {}
    }
    server.thaw();
    assert_eq!(asked.await.unwrap(), "42");
    server.stop().await.unwrap();
}
