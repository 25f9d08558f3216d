//! Exit codes, and what is said with them.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::place::Place;
use crate::program::{Program, nuncio};

#[tokio::test]
async fn all_that_is_wrong_with_the_configuration_is_named_at_once() {
    let wrong = [
        ("DATABASE_URL", "mysql://host/database"),
        ("AMQP_URL", "http://host"),
        ("NUNCIO_LISTEN", "8080"),
        ("NUNCIO_ADMIN_KEY", "short"),
        ("NUNCIO_SECRET_KEY", "short"),
        ("NUNCIO_LOG", "nuncio=loud"),
        ("NUNCIO_LOG_FORMAT", "xml"),
        ("NUNCIO_DRAIN_SECONDS", "soon"),
    ];
    for role in ["api", "worker", "all", "dev", "migrate", "doctor"] {
        let mut command = nuncio();
        command.arg(role).envs(wrong);
        let mut program = Program::start(format!("nuncio {role}"), command);
        assert_eq!(program.code().await, 2, "{role}");
        let said = program.err.text();
        for (key, _) in wrong {
            assert!(said.contains(key), "{role} does not name {key}: {said}");
        }
    }
}

#[tokio::test]
async fn a_missing_database_url_and_unknown_words_are_the_callers_fault() {
    for arguments in
        [vec!["all"], vec!["migrate"], vec!["serve"], vec!["publish"], vec!["all", "--config", "/none"]]
    {
        let mut command = nuncio();
        command.args(&arguments);
        assert_eq!(Program::start("nuncio", command).code().await, 2, "{arguments:?}");
    }
}

/// The program once waited half a minute with a second given to it, and then said only that a pool had timed out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_cannot_be_reached_are_told_after_the_time_for_them() {
    let place = Place::new().await;
    // Nothing listens on port 1, and nothing but root may.
    for (key, url, server) in [
        ("DATABASE_URL", "postgres://nuncio:hidden@127.0.0.1:1/nuncio", "PostgreSQL"),
        ("AMQP_URL", "amqp://nuncio:hidden@127.0.0.1:1/%2f", "RabbitMQ"),
    ] {
        let mut command = place.nuncio();
        command.arg("all").env(key, url).env("NUNCIO_CONNECT_SECONDS", "3");
        let (mut program, started) = (Program::start("nuncio all", command), Instant::now());
        assert_eq!(program.code().await, 3, "{server}");
        // It gave up after half of it, where the next pause would have been too long.
        assert!(started.elapsed() >= Duration::from_secs(3), "{server} was not waited for");
        let said = program.err.text();
        assert!(said.contains(server) && said.contains("refused"), "{said}");
        assert!(!said.contains("hidden"), "a password is not repeated: {said}");
    }
}

/// While it waited for a server, SIGTERM ended it as a crash does, and in a container not at all.
#[tokio::test]
async fn whoever_waits_for_a_server_can_be_stopped() {
    let mut command = nuncio();
    command.arg("all").env("DATABASE_URL", "postgres://nuncio:hidden@127.0.0.1:1/nuncio");
    command.env("NUNCIO_LISTEN", "127.0.0.1:0").env("NUNCIO_OPS_LISTEN", "127.0.0.1:0");
    let mut program = Program::start("nuncio all", command);
    program.err.find("a word of waiting", |line| line.contains("waiting for PostgreSQL").then_some(())).await;
    program.signal(Signal::TERM);
    assert_eq!(program.code().await, 0);
}
