//! The subcommands.

pub(crate) mod admin_key;
pub(crate) mod client;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod migrate;
pub(crate) mod publish;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod tail;
