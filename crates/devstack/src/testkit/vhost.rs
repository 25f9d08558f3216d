//! A virtual host for one test.

use reqwest::Url;

use super::{MANAGEMENT_VARIABLE, RABBITMQ_VARIABLE};
use crate::folder::random_hex;
use crate::rabbit::amqp_url;
use crate::{Error, Management, Rabbit, RabbitOptions};

/// A virtual host that exists as long as this value.
#[derive(Debug)]
pub struct TestVhost {
    /// Its AMQP URL, for an administrator.
    pub url: String,
    /// Its name.
    pub name: String,
    /// The node's management API.
    pub management: Management,
    /// The node, where it was started for this test alone.
    server: Option<Rabbit>,
}

impl Drop for TestVhost {
    fn drop(&mut self) {
        if self.server.is_some() {
            return;
        }
        let (management, name) = (self.management.reconnect(), self.name.clone());
        // `Drop` cannot await, and the test's runtime may have only this thread: so on a thread with its own.
        let deleted = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(management.delete_vhost(&name)).ok()
        });
        if !matches!(deleted.join(), Ok(Some(()))) {
            tracing::warn!(vhost = self.name, "could not delete a test's virtual host");
        }
    }
}

/// A fresh virtual host.
pub async fn vhost() -> Result<TestVhost, Error> {
    if let (Ok(amqp), Ok(management)) = (std::env::var(RABBITMQ_VARIABLE), std::env::var(MANAGEMENT_VARIABLE))
    {
        let bad = || Error::BadUrl {
            url: RABBITMQ_VARIABLE.to_owned(),
            expected: "amqp://user:password@host:port",
        };
        let amqp = Url::parse(&amqp).map_err(|_| bad())?;
        let password = amqp.password().ok_or_else(bad)?;
        let address = format!("{}:{}", amqp.host_str().ok_or_else(bad)?, amqp.port().unwrap_or(5672));
        let management = Management::new(&management, amqp.username(), password);
        let name = fresh(&management).await?;
        let url = amqp_url(amqp.username(), password, &address, &name);
        return Ok(TestVhost { url, name, management, server: None });
    }
    let server = Rabbit::start(RabbitOptions::scratch()).await?;
    let mut made = vhost_in(&server).await?;
    made.server = Some(server);
    Ok(made)
}

/// A fresh virtual host on this node, for tests that stop and start it.
pub async fn vhost_in(server: &Rabbit) -> Result<TestVhost, Error> {
    let off = || Error::Management("it is turned off for this node".to_owned());
    let management = server.management().ok_or_else(off)?;
    let name = fresh(&management).await?;
    Ok(TestVhost { url: server.url(&name), name, management, server: None })
}

async fn fresh(management: &Management) -> Result<String, Error> {
    let name = format!("test-{}", random_hex(8)?);
    management.create_vhost(&name).await?;
    Ok(name)
}
