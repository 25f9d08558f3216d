//! The program as its users meet it: child processes on real servers, and unmodified clients around them.

mod api;
mod away;
mod clients;
mod cluster;
mod commands;
mod conformity;
mod crash;
mod delivery;
mod dev;
mod dev_kit;
mod drain;
mod ends;
mod event;
mod exits;
mod graphiql;
mod graphql_http;
mod hostile;
mod matrix;
mod node;
mod place;
mod poison;
mod program;
mod resume;
mod secrets;
mod streams;
mod surface;
