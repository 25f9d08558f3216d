//! GraphQL, at `/graphql`.
