//! The operations of one connection that are executed for it alone: each gives what it has in its turn.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_graphql::Response;
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{BoxStream, SelectAll, once};

use nuncio_model::Identity;

use super::super::asker::Asker;
use super::super::completion::Completion;
use super::super::fanout::{Documents, Solo};
use super::super::schema::{GapSlot, Schema};
use super::Ended;

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
///
/// Most connections have none, and then this is a word.
#[derive(Default)]
pub(in crate::graphql) struct Alone(Option<Box<Operations>>);

#[derive(Default)]
struct Operations {
    /// Those that are answered once.
    answers: SelectAll<BoxStream<'static, Output>>,
    /// Those that go on until they are stopped.
    streams: SelectAll<BoxStream<'static, Output>>,
    running: HashMap<Arc<str>, Running>,
    /// How many events were given out since this was last asked.
    given: u64,
}

struct Running {
    stop: AbortHandle,
    asker: Arc<Asker>,
}

impl Operations {
    fn count_event(&mut self, output: &Output) {
        // What goes on is a subscription, and each of its responses an event.
        if let Output::Response(_, response, _) = output
            && response.errors.is_empty()
        {
            self.given += 1;
        }
    }
}

impl Alone {
    /// Starts an operation; its id is not in use.
    pub(in crate::graphql) fn start(
        &mut self,
        id: &str,
        (schema, documents): (&Schema, &Arc<Documents>),
        operation: Solo,
    ) {
        let Solo { request, gap, asker, is_subscription } = operation;
        let id: Arc<str> = id.into();
        let completion = Completion::of(&request, documents);
        let (stop, registration) = AbortHandle::new_pair();
        let all = self.0.get_or_insert_default();
        all.running.insert(id.clone(), Running { stop, asker });
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
        let outputs = Abortable::new(responses.chain(done), registration).boxed();
        if is_subscription { all.streams.push(outputs) } else { all.answers.push(outputs) }
    }

    /// Stops an operation: nothing more comes of it.
    pub(in crate::graphql) fn stop(&mut self, id: &str) {
        if let Some(running) = self.0.as_mut().and_then(|all| all.running.remove(id)) {
            running.stop.abort();
        }
    }

    /// How many there are.
    pub(in crate::graphql) fn count(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.running.len())
    }

    /// How many events were given out since this was last asked.
    pub(in crate::graphql) fn given(&mut self) -> u64 {
        self.0.as_mut().map_or(0, |all| std::mem::take(&mut all.given))
    }

    /// From now on they are executed for somebody with other rights. Those that have lost theirs are stopped, and given
    /// out with why.
    pub(in crate::graphql) fn change(&mut self, identity: &Arc<Identity>) -> Vec<Ended> {
        let lost = self.0.iter().flat_map(|all| &all.running).filter_map(|(id, running)| {
            running.asker.change(identity).map(|error| Ended { id: (&**id).into(), error })
        });
        let lost: Vec<_> = lost.collect();
        lost.iter().for_each(|ended| self.stop(&ended.id));
        lost
    }

    /// What comes next, once it is there. While `paused`, those that go on wait.
    pub(in crate::graphql) fn poll_next(&mut self, context: &mut Context<'_>, paused: bool) -> Poll<Output> {
        let Some(all) = &mut self.0 else { return Poll::Pending };
        // Where nothing runs, nothing is ready.
        if let Poll::Ready(Some(output)) = all.answers.poll_next_unpin(context) {
            return Poll::Ready(output);
        }
        if paused {
            return Poll::Pending;
        }
        match all.streams.poll_next_unpin(context) {
            Poll::Ready(Some(output)) => {
                all.count_event(&output);
                Poll::Ready(output)
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::future::poll_fn;

    use async_graphql::{EmptyMutation, Object, Request, Schema as AnySchema, Subscription};
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
        let next =
            |alone: &mut Alone, paused| poll_fn(|context| alone.poll_next(context, paused)).now_or_never();
        for is_subscription in [true, false] {
            alone.start("1", (&schema, &documents), solo(is_subscription));
            alone.stop("1");
            assert!(next(&mut alone, false).is_none());
            alone.start("1", (&schema, &documents), solo(is_subscription));
            // What goes on waits for as long as nothing is to be delivered; answers do not.
            assert_eq!(next(&mut alone, is_subscription).is_none(), is_subscription);
            if is_subscription {
                assert!(matches!(next(&mut alone, false), Some(Output::Response(id, ..)) if &*id == "1"));
            }
            assert!(matches!(next(&mut alone, false), Some(Output::Done(_))));
        }
    }

    fn solo(is_subscription: bool) -> Solo {
        let (request, gap) = (Request::new("{ __typename }"), GapSlot::default());
        let asker = Arc::new(Asker::new(Arc::new(Identity {
            project: nuncio_model::ProjectId(1),
            project_name: nuncio_model::ProjectName::parse("demo").expect("good"),
            subject: None,
            rights: nuncio_model::Rights::default(),
            expires_at: None,
            address: None,
            proof: nuncio_model::rights::Proof::ApiKey("nk_a".to_owned()),
        })));
        Solo { request, gap, asker, is_subscription }
    }
}
