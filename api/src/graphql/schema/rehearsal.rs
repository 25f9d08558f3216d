//! Checks an operation without executing it: for whoever takes it on behalf of another node.

use std::sync::Arc;

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use async_graphql::{Request, Response, Value};

use super::{Schema, limited};

/// A schema that parses and validates, and executes nothing.
pub(crate) struct Rehearsal(Schema);

impl Default for Rehearsal {
    fn default() -> Self {
        // An extension of the schema that executes would cost every field something.
        Self(limited().extension(Stop).finish())
    }
}

impl Rehearsal {
    /// Whether the operation would be executed.
    ///
    /// # Errors
    /// The response that says why not, as the schema that executes would give it.
    pub(crate) async fn check(&self, request: &Request) -> Result<(), Box<Response>> {
        let mut copy = Request::new(request.query.clone()).variables(request.variables.clone());
        copy.operation_name.clone_from(&request.operation_name);
        copy.introspection_mode = request.introspection_mode;
        let response = self.0.execute(copy).await;
        if response.is_ok() { Ok(()) } else { Err(Box::new(response)) }
    }
}

struct Stop;

impl ExtensionFactory for Stop {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Extension for Stop {
    /// It comes here when everything is found to be good.
    async fn execute(&self, _: &ExtensionContext<'_>, _: Option<&str>, _: NextExecute<'_>) -> Response {
        Response::new(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::*;

    #[tokio::test]
    async fn what_is_good_is_not_executed_and_what_is_bad_is_told_as_ever() {
        let rehearsal = Rehearsal::default();
        // Without an identity any of these would fail if it were executed.
        for good in [
            "{ cursor }",
            "mutation { publish(channel: \"a\", event: { data: 1 }) { cursor } }",
            "subscription { events(channel: \"a\") { id @include(if: true) } }",
        ] {
            assert!(rehearsal.check(&Request::new(good)).await.is_ok(), "{good}");
        }
        for bad in
            ["{ nothing }", "{", "mutation { publish { cursor } }", "query A { cursor } query B { cursor }"]
        {
            let told = rehearsal.check(&Request::new(bad)).await.expect_err(bad);
            let executed = build().execute(Request::new(bad)).await;
            assert_eq!(told.errors, executed.errors, "{bad}");
        }
    }
}
