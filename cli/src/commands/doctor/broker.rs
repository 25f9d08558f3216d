//! RabbitMQ: whether it is there, lets this user do what is needed, and takes messages.

use nuncio_broker::{Broker, Intake};
use nuncio_model::Secret;
use nuncio_runtime::Config;

use super::Finding::{Good, Mend};
use super::Report;
use crate::exit::chain;

pub(super) async fn check(report: &mut Report, config: &Config) {
    let Some(url) = &config.amqp_url else {
        let good = "AMQP_URL is not set: publishing goes by HTTP and GraphQL only";
        return report.line("broker", Good(good.to_owned()));
    };
    let link = match Broker::new(Secret::new(url.clone()), "nuncio").connect("doctor").await {
        Ok(link) => link,
        Err(error) => return report.line("broker", Mend(chain(&error))),
    };
    report.line("broker", Good("RabbitMQ answers".to_owned()));
    match link.rehearse().await {
        Ok(intake) => {
            report
                .line("broker rights", Good("exchanges and queues can be made, written and read".to_owned()));
            let found = match intake {
                Intake::Open => Good("a message is taken and confirmed".to_owned()),
                Intake::Blocked => Mend(
                    "RabbitMQ blocks publishers: it is short of memory or of disk; `rabbitmqctl status` lists the alarms"
                        .to_owned(),
                ),
                Intake::Silent => Mend(
                    "RabbitMQ does not confirm a message within 5 s: see `rabbitmqctl status` for alarms and load"
                        .to_owned(),
                ),
            };
            report.line("broker intake", found);
        }
        Err(error) => {
            let mend =
                "the user must be allowed to configure, write and read `nuncio\\..*` in this virtual host";
            report.line("broker rights", Mend(format!("{}: {mend}", chain(&error))));
        }
    }
    link.close().await;
}
