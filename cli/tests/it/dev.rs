//! `nuncio dev`: the first thing that anybody types.

use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;

use crate::clients;
use crate::dev_kit::{Dev, Folder};
use crate::event::assert_complete;
use crate::program::{Program, command};

/// A line of the greeting, typed as it stands into a shell of the test's folder where the clients are installed.
fn typed(line: &str, folder: &Folder) -> Program {
    let mut shell = command("sh".into());
    let python = clients::python();
    let found = std::env::var_os("PATH").unwrap_or_default();
    let path = python.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&found));
    shell.arg("-c").arg(line).current_dir(folder.path());
    shell.env("PATH", std::env::join_paths(path).expect("a path"));
    shell.env("NODE_PATH", clients::folder().join("node_modules"));
    Program::start(line, shell)
}

/// The commands that the greeting shows: the lines that begin with the name of a program.
fn commands(greeting: &[String]) -> Vec<String> {
    let programs = ["curl ", "python3 ", "node "];
    let lines = greeting.iter().map(|line| line.trim().to_owned());
    lines.filter(|line| programs.iter().any(|program| line.starts_with(program))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_commands_publish_and_receive_as_they_stand() {
    let folder = Folder::new();
    let mut dev = Program::start("nuncio dev", folder.dev());
    let subscription = |line: &str| line.contains("subscription {").then_some(());
    dev.out.find("the whole greeting", subscription).await;
    let printed = commands(&dev.out.all());
    let [receive, publish @ ..] = printed.as_slice() else { panic!("no commands: {}", dev.out.text()) };
    assert!(receive.starts_with("curl -N"), "{receive}");
    let programs: Vec<_> = publish.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(programs, ["curl", "python3", "node"]);

    let mut stream = typed(receive, &folder);
    stream.out.find("a stream", |line| line.contains("nuncio.ready").then_some(())).await;
    for (line, number) in publish.iter().zip(1_u64..) {
        typed(line, &folder).succeed().await;
        let is_it = |line: &str| {
            let event: Value = serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()?;
            (event["data"]["n"] == number && event["type"] == "order.created").then_some(())
        };
        stream.out.find(line, is_it).await;
    }
    let mut publish = folder.nuncio();
    publish.args(["publish", "orders.eu", "--data", r#"{"n":4}"#]);
    Program::start("nuncio publish", publish).succeed().await;
    stream
        .out
        .find("what `nuncio publish` sent", |line| line.contains(r#""data":{"n":4}"#).then_some(()))
        .await;
    dev.signal(Signal::TERM);
    assert_eq!(dev.code().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_takes_up_the_same_data_and_keys() {
    let folder = Folder::new();
    let dev = Dev::start_json(&folder).await;
    dev.api().publish(&dev.tenant(), "orders.eu", 1..=10).await;
    let kept = ["project", "apiKey", "adminKey"];
    let before = kept.map(|name| dev.text(name));
    dev.stop().await;

    let dev = Dev::start_json(&folder).await;
    assert_eq!(kept.map(|name| dev.text(name)), before);
    let (api, mut tenant) = (dev.api(), dev.tenant());
    api.publish(&tenant, "orders.eu", 11..=20).await;
    tenant.key = dev.text("token");
    assert_complete(&api.history(&tenant, "orders.#", None).await, "orders.eu", 20);
    dev.stop().await;
}

/// A folder with everything that PATH has, apart from RabbitMQ and Erlang, without which it cannot run.
fn path_without_rabbitmq(folder: &Folder) -> std::path::PathBuf {
    let tools = folder.path().join("bin");
    std::fs::create_dir(&tools).expect("a new folder");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).filter_map(|place| place.read_dir().ok());
    for tool in found.flatten().flatten() {
        let name = tool.file_name();
        let hidden =
            ["rabbitmq", "epmd", "erl"].iter().any(|hidden| name.to_string_lossy().starts_with(hidden));
        if !hidden {
            // The first folder of PATH that has a program wins, as in a shell.
            let _taken = symlink(tool.path(), tools.join(&name));
        }
    }
    tools
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rabbitmq_it_says_so_in_a_line_and_the_rest_works() {
    let folder = Folder::new();
    let mut command: Command = folder.dev();
    command.arg("--json").env("PATH", path_without_rabbitmq(&folder));
    let dev = Dev::start(command).await;
    assert_eq!(dev.told("amqp"), &Value::Null);
    let said = dev.program.err.all();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("is not installed; get it with"), "{said:?}");
    let (api, tenant) = (dev.api(), dev.tenant());
    let start = api.cursor(&tenant).await;
    let kinds = [clients::Subscriber::GraphqlWs, clients::Subscriber::EventSource];
    let subscribers = kinds.map(|kind| kind.start(&api, &tenant, "orders.#", Some(&start), 10));
    api.publish(&tenant, "orders.eu", 1..=10).await;
    for subscriber in subscribers {
        assert_complete(&clients::received(&subscriber.succeed().await), "orders.eu", 10);
    }
    dev.stop().await;
}
