//! What `nuncio dev` prints once it is ready: where everything is, and commands to paste.

use crate::commands::client::Dev;
use crate::exit::Failure;

/// One line of JSON for programs.
#[expect(clippy::print_stdout, reason = "the line is what --json is for")]
pub(crate) fn print_json(dev: &Dev) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(dev).map_err(Failure::other)?);
    Ok(())
}

/// For people: the addresses, the keys, and what to try first.
#[expect(clippy::print_stdout, reason = "the greeting is what the command is for")]
pub(crate) fn print(dev: &Dev) {
    println!("{}", text(dev));
}

fn text(dev: &Dev) -> String {
    let Dev { api, ops, project, api_key, admin_key, token, database, .. } = dev;
    let amqp = dev.amqp.as_deref().unwrap_or("RabbitMQ is not installed");
    let socket = api.replacen("http", "ws", 1);
    format!(
        r##"
Nuncio is ready. Ctrl-C stops it; the next start takes up the same data.

  GraphQL, GraphiQL  {api}/graphql
  Admin API          {api}/admin/docs
  Metrics, health    {ops}/metrics
  Database           {database}
  AMQP               {amqp}
  Project            {project}
  API key            {api_key}
  Admin key          {admin_key}
  Token (one day)    {token}

Receive, in a second terminal:

  curl -N -H 'Authorization: Bearer {api_key}' '{api}/v1/stream?channel=orders.%23&last=10'

Publish, in a third:

  curl -H 'Authorization: Bearer {api_key}' -H 'Content-Type: application/json' -d '{{"type":"order.created","data":{{"n":1}}}}' {api}/v1/channels/orders.eu/events
{amqp_commands}
Subscribe with any graphql-ws client at {socket}/graphql, connection_init payload {{"token":"{api_key}"}}, or paste this into GraphiQL after giving it the API key:

  subscription {{ events(channel: "orders.#") {{ channel sequence type data cursor }} }}
"##,
        amqp_commands = dev.amqp.as_deref().map(|url| amqp_commands(url, project)).unwrap_or_default(),
    )
}

/// A publish through RabbitMQ, in Python (`pip install pika`) and Node (`npm install amqplib`).
fn amqp_commands(url: &str, project: &str) -> String {
    format!(
        r#"
  python3 -c 'import pika; c = pika.BlockingConnection(pika.URLParameters("{url}")); ch = c.channel(); ch.confirm_delivery(); ch.basic_publish("nuncio.{project}", "orders.eu", b"{{\"n\":2}}", pika.BasicProperties(type="order.created")); c.close()'

  node -e 'require("amqplib").connect("{url}").then(async c => {{ const ch = await c.createConfirmChannel(); ch.publish("nuncio.{project}", "orders.eu", Buffer.from(JSON.stringify({{n: 3}})), {{type: "order.created"}}); await ch.waitForConfirms(); await c.close() }})'
"#
    )
}
