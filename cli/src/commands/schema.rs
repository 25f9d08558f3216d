//! `nuncio schema`: the descriptions that are kept in `docs/`.

use clap::Subcommand;

use crate::exit::Failure;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The GraphQL schema, as SDL.
    Graphql,
    /// The REST API, as OpenAPI JSON.
    Openapi,
}

#[expect(clippy::print_stdout, reason = "the description is what the command is for")]
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Graphql => println!("{}", nuncio_api::graphql::sdl().trim_end()),
        Command::Openapi => println!("{}", nuncio_api::openapi_json().trim_end()),
    }
    Ok(())
}
