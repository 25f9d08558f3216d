//! The HTTP side of Nuncio: GraphQL, SSE, history, publishing and the admin API.

pub mod hub;
