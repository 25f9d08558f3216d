//! Whoever changes settings: each change is made in a transaction that knows.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use sqlx::{Postgres, Transaction};

use crate::{Result, Store};

/// What acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ActorKind {
    /// Whoever holds an admin key.
    AdminKey,
    /// Whoever holds an API key.
    ApiKey,
    /// Whoever runs a command of the program.
    Command,
    /// Nuncio itself.
    System,
}

/// Whoever makes a change, in the form in which it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// Its name: of a key what it was called, of a command what was typed.
    pub name: String,
    /// The letters that name its key.
    pub prefix: Option<String>,
    /// The id of its request.
    pub request_id: Option<String>,
    /// Where it is.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Nuncio itself.
    pub fn system() -> Self {
        Self::of(ActorKind::System, "nuncio")
    }

    /// Whoever runs this command.
    pub fn command(name: &str) -> Self {
        Self::of(ActorKind::Command, name)
    }

    fn of(kind: ActorKind, name: &str) -> Self {
        Self { kind, name: name.to_owned(), prefix: None, request_id: None, address: None }
    }
}

/// Only for this transaction, and read where a change is noted.
const ACT: &str = "select set_config('nuncio.actor', $1, true)";

impl Store {
    /// The same database, changed by this actor from here on.
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { actor: Some(Arc::new(actor)), ..self.clone() }
    }

    /// Begins a change of settings.
    pub(crate) async fn change(&self) -> Result<Transaction<'static, Postgres>> {
        let actor = self.actor.as_deref().cloned().unwrap_or_else(Actor::system);
        let text = serde_json::to_string(&actor).expect("an actor has a JSON form");
        let mut change = self.append.begin().await?;
        sqlx::query(ACT).bind(text).execute(&mut *change).await?;
        Ok(change)
    }
}
