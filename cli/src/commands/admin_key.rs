//! `nuncio admin-key`.

use std::path::Path;

use clap::{Subcommand, ValueEnum};
use nuncio_runtime::Config;
use nuncio_store::Role;

use crate::app;
use crate::exit::Failure;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make an admin key and print it, this once.
    Create {
        /// Whose key it is.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_enum, default_value = "owner")]
        role: RoleName,
    },
}

/// The roles as one types them.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    Owner,
    Admin,
    Viewer,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Owner => Self::Owner,
            RoleName::Admin => Self::Admin,
            RoleName::Viewer => Self::Viewer,
        }
    }
}

#[expect(clippy::print_stdout, reason = "the key is what the command is for")]
pub(crate) async fn run(file: Option<&Path>, command: Command) -> Result<(), Failure> {
    let Command::Create { name, role } = command;
    let store = app::connect_store(&Config::load(file)?).await?;
    println!("{}", store.create_admin_key(&name, role.into()).await?.expose());
    Ok(())
}
