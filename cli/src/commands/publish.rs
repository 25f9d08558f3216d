//! `nuncio publish`: one event, by HTTP or by RabbitMQ.

use clap::Args;
use nuncio_broker::{Broker, Names, Properties};
use nuncio_model::{Channel, ProjectName, Secret, ids};
use serde_json::{Value, json};

use super::client::{self, Target};
use crate::exit::{Failure, chain};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The channel, like orders.eu
    channel: String,
    /// What happened.
    #[arg(long = "type", default_value = "message")]
    kind: String,
    /// The payload, as JSON.
    #[arg(long, default_value = "null")]
    data: String,
    /// An id to recognise a repeat by; one is made without it.
    #[arg(long)]
    id: Option<String>,
    /// Publish through RabbitMQ (AMQP_URL, else that of the `nuncio dev` started in this folder).
    #[arg(long)]
    amqp: bool,
    /// The project, for --amqp.
    #[arg(long, default_value = "demo")]
    project: String,
    #[command(flatten)]
    target: Target,
}

#[expect(clippy::print_stdout, reason = "the answer is what the command is for")]
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let channel = Channel::parse(&arguments.channel).map_err(|error| Failure::Config(error.to_string()))?;
    let data: Value = serde_json::from_str(&arguments.data).map_err(|error| {
        Failure::Config(format!("--data must be JSON ({error}); quote a text like this: --data '\"hello\"'"))
    })?;
    if arguments.amqp {
        let id = publish_amqp(&arguments, &channel).await?;
        println!("RabbitMQ has it: {channel} {id}");
        return Ok(());
    }
    let (url, key) = arguments.target.find()?;
    let mut event = json!({ "type": arguments.kind, "data": data });
    if let Some(id) = arguments.id {
        event["id"] = Value::String(id);
    }
    let request =
        client::http().post(format!("{url}/v1/channels/{channel}/events")).bearer_auth(key).json(&event);
    let answer = client::check(&url, request.send().await).await?;
    let stored: Value = answer.json().await.map_err(|error| Failure::other(error.without_url()))?;
    println!("{}", stored["events"][0]);
    Ok(())
}

async fn publish_amqp(arguments: &Arguments, channel: &Channel) -> Result<String, Failure> {
    let url = std::env::var("AMQP_URL").ok().or_else(|| client::running_dev()?.amqp).ok_or_else(|| {
        Failure::Config("no broker is known: set AMQP_URL, or run `nuncio dev` in this folder".to_owned())
    })?;
    let project =
        ProjectName::parse(&arguments.project).map_err(|error| Failure::Config(error.to_string()))?;
    let unreachable = |error| Failure::Unreachable(chain(&error));
    let link = Broker::new(Secret::new(url), "nuncio").connect("publish").await.map_err(unreachable)?;
    let id = arguments.id.clone().unwrap_or_else(ids::unique_id);
    let properties = Properties::default()
        .with_message_id(&id)
        .and_then(|properties| properties.with_type(&arguments.kind))
        .and_then(|properties| properties.with_content_type("application/json"))
        .map_err(Failure::other)?;
    let publisher = link.publisher().await.map_err(unreachable)?;
    let (exchange, body) = (Names::of(&project).exchange, arguments.data.as_bytes());
    publisher.publish(&exchange, channel.as_str(), properties, body).await.map_err(unreachable)?;
    link.close().await;
    Ok(id)
}
