//! What `publish` and `tail` share: which server to talk to, and with which key.

use std::path::Path;

use clap::Args;
use reqwest::{Client, Response};
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, chain};

/// The file in the data folder of `nuncio dev` that tells other commands where it is.
pub(crate) const DEV_FILE: &str = "dev.json";

/// What a running `nuncio dev` prints with `--json`, and keeps in its folder for other commands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dev {
    pub(crate) api: String,
    pub(crate) ops: String,
    pub(crate) project: String,
    pub(crate) api_key: String,
    pub(crate) admin_key: String,
    pub(crate) token: String,
    pub(crate) amqp: Option<String>,
    pub(crate) database: String,
}

/// Which server to talk to.
#[derive(Args)]
pub(crate) struct Target {
    /// The server's URL; without it, the `nuncio dev` started in this folder.
    #[arg(long, env = "NUNCIO_URL")]
    pub(crate) url: Option<String>,
    /// An API key.
    #[arg(long, env = "NUNCIO_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
}

impl Target {
    /// The URL without a slash at its end, and the key.
    pub(crate) fn find(self) -> Result<(String, String), Failure> {
        let dev = running_dev();
        let url = self.url.or_else(|| dev.as_ref().map(|dev| dev.api.clone()));
        let key = self.key.or_else(|| dev.map(|dev| dev.api_key));
        let missing = |what: &str| {
            Failure::Config(format!(
                "{what}: run `nuncio dev` in this folder, or set NUNCIO_URL and NUNCIO_KEY"
            ))
        };
        let url = url.ok_or_else(|| missing("no server is known"))?;
        Ok((url.trim_end_matches('/').to_owned(), key.ok_or_else(|| missing("no key is known"))?))
    }
}

/// The `nuncio dev` that was last ready in this folder, if there was one.
pub(crate) fn running_dev() -> Option<Dev> {
    let folder = nuncio_devstack::default_folder(&std::env::current_dir().ok()?);
    read_dev(&folder)
}

/// What the `nuncio dev` of this data folder told when it was ready.
pub(crate) fn read_dev(folder: &Path) -> Option<Dev> {
    serde_json::from_slice(&std::fs::read(folder.join(DEV_FILE)).ok()?).ok()
}

/// A client for requests that answer soon.
pub(crate) fn http() -> Client {
    Client::new()
}

/// The answer, if it is a good one; else what the server says is wrong.
pub(crate) async fn check(url: &str, answer: reqwest::Result<Response>) -> Result<Response, Failure> {
    let answer = answer.map_err(|error| {
        Failure::Unreachable(format!("{url} cannot be reached: {}", chain(&error.without_url())))
    })?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let problem: serde_json::Value = answer.json().await.unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let errors = problem.get("errors").map(|errors| format!(" {errors}")).unwrap_or_default();
    Err(Failure::Other(format!("{status} {} {}{errors}", text("code"), text("detail"))))
}
