//! Servers end with the process that started them, also when it has no chance to do anything about it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::{eventually, listens};

/// `host:port` in a URL with credentials.
fn address(url: &str) -> String {
    let behind = url.split_once('@').expect("the URL has credentials").1;
    behind.split('/').next().expect("a split has a first part").to_owned()
}

#[tokio::test]
async fn kill_nine_of_the_parent_ends_its_servers() {
    let script = "echo $NUNCIO_TEST_POSTGRES; echo $NUNCIO_TEST_RABBITMQ; exec cat";
    let mut parent = Command::new(env!("CARGO_BIN_EXE_nuncio-devstack"))
        .args(["sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let postgres = address(&lines.next_line().await.unwrap().expect("PostgreSQL has started"));
    let rabbit = address(&lines.next_line().await.unwrap().expect("RabbitMQ has started"));
    assert!(listens(&postgres).await && listens(&rabbit).await);

    parent.kill().await.unwrap();

    eventually("the servers end", async || !listens(&postgres).await && !listens(&rabbit).await).await;
}

#[tokio::test]
async fn the_commands_exit_code_is_passed_on() {
    let run = Command::new(env!("CARGO_BIN_EXE_nuncio-devstack")).args(["sh", "-c", "exit 7"]).status();
    assert_eq!(run.await.unwrap().code(), Some(7));
}
