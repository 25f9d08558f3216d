//! The operations of one connection that are executed for it alone: each gives what it has in its turn.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response};
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{BoxStream, SelectAll, once};

use super::super::completion::Completion;
use super::super::fanout::{Documents, operation};
use super::super::schema::{GapSlot, Schema};

/// What an operation gave.
pub(in crate::graphql) enum Output {
    /// A response of the operation under this id; a gap goes with it.
    Response(Arc<str>, Box<Response>, GapSlot),
    /// The operation has nothing more.
    Done(Arc<str>),
    /// A resolver panicked.
    Panicked,
}

/// The operations of a connection that nobody shares.
///
/// They are polled in turn: one that always has more is put behind the others each time it gave something.
#[derive(Default)]
pub(in crate::graphql) struct Alone {
    streams: SelectAll<BoxStream<'static, Output>>,
    handles: HashMap<Arc<str>, Running>,
    /// How many events were given out since this was last asked.
    given: u64,
}

struct Running {
    handle: AbortHandle,
    /// Whether each of its responses is an event.
    gives_events: bool,
}

impl Alone {
    /// Starts an operation; its id is not in use.
    pub(in crate::graphql) fn start(
        &mut self,
        id: &str,
        (schema, documents): (&Schema, &Arc<Documents>),
        mut request: Request,
        gap: GapSlot,
    ) {
        let id: Arc<str> = id.into();
        let completion = Completion::of(&request, documents);
        let gives_events = is_subscription(&mut request);
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(id.clone(), Running { handle, gives_events });
        let done = once({
            let id = id.clone();
            async move { Output::Done(id) }
        });
        let responses =
            AssertUnwindSafe(schema.execute_stream(request)).catch_unwind().map(move |response| {
                response.map_or(Output::Panicked, |mut response| {
                    completion.complete(&mut response);
                    Output::Response(id.clone(), Box::new(response), gap.clone())
                })
            });
        self.streams.push(Abortable::new(responses.chain(done), registration).boxed());
    }

    /// Stops an operation: nothing more comes of it.
    pub(in crate::graphql) fn stop(&mut self, id: &str) {
        if let Some(running) = self.handles.remove(id) {
            running.handle.abort();
        }
    }

    /// How many there are.
    pub(in crate::graphql) fn count(&self) -> usize {
        self.handles.len()
    }

    /// How many events were given out since this was last asked.
    pub(in crate::graphql) fn given(&mut self) -> u64 {
        std::mem::take(&mut self.given)
    }

    fn count_event(&mut self, output: &Output) {
        if let Output::Response(id, response, _) = output
            && response.errors.is_empty()
            && self.handles.get(id).is_some_and(|running| running.gives_events)
        {
            self.given += 1;
        }
    }

    /// What comes next, once it is there.
    pub(in crate::graphql) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Output> {
        match self.streams.poll_next_unpin(context) {
            Poll::Ready(Some(output)) => {
                self.count_event(&output);
                Poll::Ready(output)
            }
            // Nothing runs.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

fn is_subscription(request: &mut Request) -> bool {
    let name = request.operation_name.clone();
    let Ok(document) = request.parsed_query() else { return false };
    operation(document, name.as_deref()).is_some_and(|operation| operation.ty == OperationType::Subscription)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::future::poll_fn;

    use async_graphql::{EmptyMutation, Object, Schema as AnySchema, Subscription};
    use futures_util::{FutureExt, Stream, stream};

    use super::*;

    struct Query;

    #[Object]
    impl Query {
        async fn nothing(&self) -> bool {
            true
        }
    }

    struct Endless;

    #[Subscription]
    impl Endless {
        async fn numbers(&self) -> impl Stream<Item = i32> {
            stream::iter(0..)
        }
    }

    /// With the library's own transport most of many busy subscriptions on one socket never got anything.
    #[tokio::test]
    async fn busy_operations_take_turns() {
        let schema = AnySchema::new(Query, EmptyMutation, Endless);
        let mut streams = SelectAll::new();
        for id in 0..500 {
            streams.push(schema.execute_stream("subscription { numbers }").map(move |_| id).boxed());
        }
        let seen: HashSet<i32> = streams.take(1_500).collect().await;
        assert_eq!(seen.len(), 500);
    }

    #[tokio::test]
    async fn a_stopped_operation_gives_nothing_more() {
        let mut alone = Alone::default();
        let (schema, documents) = (super::super::super::schema::build(), Arc::default());
        alone.start("1", (&schema, &documents), Request::new("{ __typename }"), GapSlot::default());
        alone.stop("1");
        assert!(poll_fn(|context| alone.poll_next(context)).now_or_never().is_none());
        alone.start("1", (&schema, &documents), Request::new("{ __typename }"), GapSlot::default());
        assert!(
            matches!(poll_fn(|context| alone.poll_next(context)).await, Output::Response(id, ..) if &*id == "1")
        );
        assert!(matches!(poll_fn(|context| alone.poll_next(context)).await, Output::Done(_)));
    }
}
