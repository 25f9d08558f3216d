//! The api node against a real PostgreSQL, over real HTTP.

mod admin;
mod counts;
mod credentials;
mod filters;
mod graphql_contract;
mod graphql_feed;
mod graphql_http;
mod graphql_kit;
mod graphql_socket;
mod history;
mod node;
mod problems;
mod publishing;
mod redrive;
mod removal;
mod resuming;
mod sharing;
mod socket_frames;
mod socket_legacy;
mod socket_raw;
mod sse;
mod sse_socket;
mod storm;
mod surface;
