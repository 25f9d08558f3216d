//! `nuncio admin-key`: admin keys without the admin API, for the first one and for someone who is locked out.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use nuncio_model::{Clock, ProjectName, cloudevents};
use nuncio_runtime::Config;
use nuncio_store::{Actor, AdminKey, Directory, NewAdminKey, Role, Snapshot, Store};

use crate::app;
use crate::exit::Failure;

const DAY: Duration = Duration::from_secs(86_400);
/// How many keys are read at once.
const PAGE: usize = 200;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make an admin key and print it, this once.
    Create(New),
    /// List the admin keys: prefix, role, state, projects and name.
    List,
    /// Revoke an admin key. Unlike the admin API it also revokes the last owner.
    Revoke {
        /// The first 11 characters of the key, as they are listed.
        prefix: String,
    },
}

#[derive(Args)]
pub(crate) struct New {
    /// Whose key it is: 1 to 200 characters.
    #[arg(long)]
    name: String,
    /// What it may do.
    #[arg(long, value_enum, default_value = "owner")]
    role: RoleName,
    /// A project that it is for; may be given many times. Without one it is for all.
    #[arg(long = "project", value_name = "PROJECT")]
    projects: Vec<String>,
    /// After how many days it ends; without it, never.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    expires_in_days: Option<u16>,
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

pub(crate) async fn run(file: Option<&Path>, command: Command) -> Result<(), Failure> {
    let store = app::connect_store(&Config::load(file)?).await?;
    match command {
        Command::Create(new) => create(store, new).await,
        Command::List => list(store).await,
        Command::Revoke { prefix } => revoke(store, &prefix).await,
    }
}

#[expect(clippy::print_stdout, reason = "the key is what the command is for")]
async fn create(store: Store, new: New) -> Result<(), Failure> {
    let New { name, role, projects, expires_in_days } = new;
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(Failure::Config(
            "--name must have 1 to 200 characters, and no control characters".to_owned(),
        ));
    }
    let snapshot = Directory::load(store.clone()).await?.snapshot();
    let number = |name: &String| {
        let project = ProjectName::parse(name).ok().and_then(|name| Some(snapshot.project(&name)?.id));
        project.ok_or_else(|| Failure::Config(format!("--project {name}: there is no such project")))
    };
    let numbers = projects.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    let days = |days: u16| Clock::system().now() + DAY * days.into();
    let new = NewAdminKey {
        name,
        role: role.into(),
        projects: (!numbers.is_empty()).then_some(numbers),
        expires_at: expires_in_days.map(days),
    };
    let store = store.acting_as(Actor::command("nuncio admin-key create"));
    println!("{}", store.make_admin_key(&new).await?.1.expose());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the list is what the command is for")]
async fn list(store: Store) -> Result<(), Failure> {
    let snapshot = Directory::load(store.clone()).await?.snapshot();
    let mut after = 0;
    loop {
        let keys = store.list_admin_keys(after, PAGE, None).await?;
        let Some(last) = keys.last() else { return Ok(()) };
        after = last.id;
        keys.iter().for_each(|key| println!("{}", line(&snapshot, key)));
    }
}

/// A key in a line; the name, which may hold spaces, comes last.
fn line(snapshot: &Snapshot, key: &AdminKey) -> String {
    let state = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {}", cloudevents::write_time(at)),
        (None, Some(at)) if at <= Clock::system().now() => format!("ended {}", cloudevents::write_time(at)),
        (None, Some(at)) => format!("until {}", cloudevents::write_time(at)),
        (None, None) => "no end".to_owned(),
    };
    let projects = key.projects.as_ref().map_or_else(
        || "all projects".to_owned(),
        |projects| {
            let there = projects.iter().filter_map(|project| snapshot.project_by_id(*project));
            there.map(|project| project.name.to_string()).collect::<Vec<_>>().join(",")
        },
    );
    [&key.prefix, key.role.as_str(), &state, &projects, &key.name].join("  ")
}

#[expect(clippy::print_stderr, reason = "what was done is told beside the output, of which there is none")]
async fn revoke(store: Store, prefix: &str) -> Result<(), Failure> {
    let key = store.admin_key_of_prefix(prefix).await?;
    let store = store.acting_as(Actor::command("nuncio admin-key revoke"));
    store.revoke_any_admin_key(key.id).await?;
    eprintln!("nuncio: {} ({}) is revoked", key.prefix, key.name);
    Ok(())
}
