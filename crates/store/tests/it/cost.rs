//! What an append costs the database, counted exactly.

use nuncio_devstack::testkit;
use nuncio_devstack::{Postgres, PostgresOptions};
use nuncio_store::Store;

use crate::kit::{Kit, add_project, entry, options, prepare};

/// Statements so far, transaction control included, and commits among them.
async fn counts(kit: &Kit) -> (i64, i64) {
    let line = kit
        .database
        .run(
            "select coalesce(sum(calls), 0), coalesce(sum(calls) filter (where query ~* '^commit'), 0)
             from pg_stat_statements where query !~ 'pg_stat_statements' and dbid = (
                 select oid from pg_database where datname = current_database())",
        )
        .await
        .expect("the database answers");
    let (statements, commits) = line.trim().split_once('|').expect("two fields");
    (statements.parse().expect("a number"), commits.parse().expect("a number"))
}

#[tokio::test]
async fn an_append_is_six_statements_and_one_commit_whatever_its_size() {
    let server = PostgresOptions::scratch()
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("pg_stat_statements.track", "top");
    let server = Postgres::start(server).await.expect("a private PostgreSQL starts");
    let database = testkit::database_in(&server, "nuncio_cost", prepare).await.expect("the database is made");
    database.run("create extension pg_stat_statements").await.expect("the extension is part of PostgreSQL");
    let store = Store::connect(&options(&database.url)).await.expect("the database is there");
    let project = add_project(&store, "demo").await;
    let kit = Kit { store, project, database };
    // The pool's connections greet the server before their first use.
    kit.append(&[("warm", "up", "1")]).await;
    for size in [1, 10, 1_000] {
        let entries = (0..size).map(|n| entry(n, &format!("c{}", n % 30), &format!("{size}-{n}"), "1"));
        let (statements, commits) = counts(&kit).await;
        kit.store.append(kit.project, entries.collect()).await.expect("the database is there");
        let (statements_after, commits_after) = counts(&kit).await;
        assert_eq!((statements_after - statements, commits_after - commits), (6, 1), "an append of {size}");
    }
}
