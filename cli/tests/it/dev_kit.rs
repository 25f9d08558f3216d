//! `nuncio dev` in a folder of the test.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::api::Api;
use crate::place::Tenant;
use crate::program::{Program, nuncio};

/// A folder that the servers' own user can enter, removed when dropped.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let open = Permissions::from_mode(0o755);
        Self(tempfile::Builder::new().prefix("nuncio-dev-").permissions(open).tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// `nuncio` as typed in this folder, on free ports.
    pub(crate) fn nuncio(&self) -> Command {
        let mut command = nuncio();
        command.current_dir(self.path()).env("NUNCIO_OPS_LISTEN", "127.0.0.1:0");
        command
    }

    /// `nuncio dev` on a free port.
    pub(crate) fn dev(&self) -> Command {
        let mut command = self.nuncio();
        command.args(["dev", "--listen", "127.0.0.1:0"]);
        command
    }
}

/// A running `nuncio dev`, and what it says of itself.
pub(crate) struct Dev {
    pub(crate) program: Program,
    told: Value,
}

impl Dev {
    /// Starts `nuncio dev --json`, with its data below the folder.
    pub(crate) async fn start_json(folder: &Folder) -> Self {
        let mut command = folder.dev();
        command.arg("--json").arg("--data").arg(folder.path()).current_dir("/");
        Self::start(command).await
    }

    /// Starts a command that has `--json`.
    pub(crate) async fn start(command: Command) -> Self {
        let mut program = Program::start("nuncio dev", command);
        let told = program.out.find("a line of JSON", |line| serde_json::from_str(line).ok()).await;
        Self { program, told }
    }

    /// One of the members of its line.
    pub(crate) fn told(&self, name: &str) -> &Value {
        &self.told[name]
    }

    /// One that is a text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.told[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.told)).to_owned()
    }

    pub(crate) fn tenant(&self) -> Tenant {
        Tenant { name: self.text("project"), key: self.text("apiKey") }
    }

    /// Its API.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.text("api"), self.text("adminKey"))
    }

    /// Ends it as Ctrl-C does.
    pub(crate) async fn stop(mut self) {
        self.program.signal(Signal::INT);
        assert_eq!(self.program.code().await, 0);
    }
}
