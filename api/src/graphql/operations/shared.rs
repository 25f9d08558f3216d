//! The subscriptions of one connection that are executed with those of others: each takes its turn at the socket.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use nuncio_model::{Action, Code, Identity, Pattern, Position};

use super::super::fanout::Shared;
use super::super::http::Endpoint;
use super::super::response;
use super::receipt::Receipt;
use super::{Ended, Outlet};
use crate::auth::standing::lost;
use crate::error::ApiError;
use crate::feed::{FeedError, Gap, Member, Next, OnGap, Start};
use crate::hub::{Bell, Content, Page};
use crate::resume::Resumed;

/// At how many bytes that wait for the socket no more are added.
pub(in crate::graphql) const FULL: usize = 32 << 10;
/// About how many bytes a subscription may add before it is the turn of the next.
const SHARE: usize = 8 << 10;

/// The subscriptions of a connection.
///
/// None holds events of its own: what is ready for it is taken from its group when it is its turn and the socket has
/// room. One that always has more is put behind the others each time.
pub(in crate::graphql) struct Subscriptions {
    bell: Arc<Bell>,
    /// What a message with a result ends with.
    tail: &'static [u8],
    numbers: HashMap<Box<str>, u32>,
    all: HashMap<u32, Box<Subscription>>,
    /// The number of the next. None is used twice while anything could still come for it.
    next: u32,
    /// Those that have to look whether there is something for them, in turn.
    due: VecDeque<u32>,
    /// Those that come back with an id.
    resuming: BTreeSet<u32>,
    waiting: FuturesUnordered<BoxFuture<'static, Result<(u32, Arrived), Aborted>>>,
    /// How many events were given out since this was last asked.
    given: u64,
}

struct Subscription {
    id: Box<str>,
    /// What a message with a result begins with.
    head: Box<[u8]>,
    on_gap: OnGap,
    /// To be told with the next event.
    gap: Option<Box<Gap>>,
    /// What is to be read, until there is a member who knows it.
    patterns: Option<Arc<[Pattern]>>,
    member: Option<Member>,
    /// What the client is known to have received, where it comes back with an id.
    receipt: Option<Box<Receipt>>,
    /// Stops what is waited for: the place to begin at, or a page.
    awaited: Option<AbortHandle>,
}

enum Arrived {
    Opened(Result<(Member, Option<Gap>), FeedError>),
    Resumed(Result<Resumed, ApiError>),
    Page(Result<Arc<Page>, FeedError>),
    /// Somebody else goes on under its id.
    Lost,
    /// It ended before.
    Nothing,
}

impl Subscriptions {
    /// No subscriptions; the bell rings for those that will be. Their messages end with `tail`.
    pub(in crate::graphql) fn new(bell: Arc<Bell>, tail: &'static [u8]) -> Self {
        let (numbers, all, due, resuming) =
            (HashMap::new(), HashMap::new(), VecDeque::new(), BTreeSet::new());
        Self { bell, tail, numbers, all, next: 0, due, resuming, waiting: FuturesUnordered::new(), given: 0 }
    }

    /// Starts one; its id is not in use. Its messages begin with `head`.
    pub(in crate::graphql) fn start(
        &mut self,
        (id, head): (&str, Vec<u8>),
        endpoint: &Endpoint,
        identity: &Identity,
        shared: Shared,
    ) {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let (project, bell) = (identity.project, self.bell.clone());
        let (endpoint, on_gap) = (endpoint.clone(), shared.asked.on_gap);
        let (resume, patterns) = (shared.resume_key(identity), Some(shared.asked.patterns.clone()));
        let awaited = self.wait(number, async move {
            let app = &endpoint.app;
            let join = async |start: Start| {
                let (key, render) = (shared.key(), || shared.render(&endpoint));
                app.feeds.join(project, &key, render, (&start, on_gap), (&bell, number)).await
            };
            let start = shared.asked.start.clone();
            match resume {
                None => Arrived::Opened(join(start).await),
                Some(key) => Arrived::Resumed(app.resumes.join((&app.feeds, key), start, join).await),
            }
        });
        let (head, awaited) = (head.into(), Some(awaited));
        let (gap, member, receipt) = (None, None, None);
        let subscription =
            Subscription { id: id.into(), head, on_gap, gap, patterns, member, receipt, awaited };
        self.numbers.insert(id.into(), number);
        self.all.insert(number, Box::new(subscription));
    }

    /// Stops one: nothing more comes of it.
    pub(in crate::graphql) fn stop(&mut self, id: &str) {
        if let Some(number) = self.numbers.remove(id) {
            self.remove(number);
        }
    }

    /// Stops those that may not be read with these rights, and gives them out with why.
    pub(in crate::graphql) fn change(&mut self, identity: &Identity) -> Vec<Ended> {
        let lost = self.all.iter().filter_map(|(number, subscription)| {
            let needs = subscription.patterns().iter().map(|pattern| (Action::Subscribe, pattern));
            lost(identity, needs).map(|error| (*number, error))
        });
        let lost: Vec<_> = lost.collect();
        let end = |(number, error)| {
            let subscription = self.remove(number)?;
            self.numbers.remove(&subscription.id);
            Some(Ended { id: subscription.id.clone(), error })
        };
        lost.into_iter().filter_map(end).collect()
    }

    /// Whether any comes back with an id.
    pub(in crate::graphql) fn are_resuming(&self) -> bool {
        !self.resuming.is_empty()
    }

    /// Whether anything was sent to those that come back with an id that is not known to have been received.
    pub(in crate::graphql) fn are_unconfirmed(&self) -> bool {
        self.resuming().any(|(member, receipt)| receipt.is_behind(member.cursor()))
    }

    /// A ping is sent now. Those that come back with an id also look how far they have come without events.
    pub(in crate::graphql) fn pinged(&mut self) {
        for number in &self.resuming {
            if let Some(Subscription { member: Some(member), receipt: Some(receipt), .. }) =
                self.all.get_mut(number).map(Box::as_mut)
            {
                receipt.pinged(member.cursor());
                self.due.push_back(*number);
            }
        }
    }

    /// The client has answered the last ping.
    pub(in crate::graphql) fn confirmed(&mut self) {
        for number in &self.resuming {
            if let Some(receipt) =
                self.all.get_mut(number).and_then(|subscription| subscription.receipt.as_mut())
            {
                receipt.confirmed();
            }
        }
    }

    fn resuming(&self) -> impl Iterator<Item = (&Member, &Receipt)> {
        let all = self.resuming.iter().filter_map(|number| self.all.get(number));
        all.filter_map(|subscription| Some((subscription.member.as_ref()?, subscription.receipt.as_deref()?)))
    }

    fn remove(&mut self, number: u32) -> Option<Box<Subscription>> {
        self.resuming.remove(&number);
        self.all.remove(&number)
    }

    /// There is something for the subscription of this number.
    pub(in crate::graphql) fn rung(&mut self, number: u32) {
        self.due.push_back(number);
    }

    /// Takes what was waited for and has come; one that ended, if one did.
    pub(in crate::graphql) fn poll_arrived(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        // Most of the time nothing is waited for, and to look would cost a part of every delivery.
        while !self.waiting.is_empty()
            && let Poll::Ready(Some(arrived)) = self.waiting.poll_next_unpin(context)
        {
            let Ok((number, arrived)) = arrived else { continue };
            if let Err(error) = self.arrive(number, arrived)
                && let Some(subscription) = self.remove(number)
            {
                self.numbers.remove(&subscription.id);
                return Poll::Ready(Ended { id: subscription.id.clone(), error });
            }
        }
        Poll::Pending
    }

    /// Gives each its turn until the socket has no room or nothing is left.
    pub(in crate::graphql) fn deliver(&mut self, out: &mut impl Outlet) {
        while out.pending() < FULL {
            let Some(number) = self.due.pop_front() else { return };
            let Some(subscription) = self.all.get_mut(&number) else { continue };
            match subscription.deliver(out, self.tail, &mut self.given) {
                Some(Next::More) => self.due.push_back(number),
                Some(Next::Behind) => self.fetch(number),
                Some(Next::Idle) | None => {}
            }
        }
    }

    /// How many there are.
    pub(in crate::graphql) fn count(&self) -> usize {
        self.all.len()
    }

    /// How many events were given out since this was last asked.
    pub(in crate::graphql) fn given(&mut self) -> u64 {
        std::mem::take(&mut self.given)
    }

    /// Where the one is that is furthest behind, of those for which something waits.
    pub(in crate::graphql) fn slowest(&self) -> Option<Position> {
        let due = self.due.iter().filter_map(|number| self.all.get(number));
        let fetching = self.all.values().filter(|subscription| subscription.awaited.is_some());
        let places = due.chain(fetching).filter_map(|subscription| subscription.member.as_ref());
        places.map(|member| member.cursor().position).min()
    }

    /// Whether any has to have its turn.
    pub(in crate::graphql) fn are_due(&self) -> bool {
        !self.due.is_empty()
    }

    fn arrive(&mut self, number: u32, arrived: Arrived) -> Result<(), ApiError> {
        let Some(subscription) = self.all.get_mut(&number) else { return Ok(()) };
        if matches!(arrived, Arrived::Lost) {
            return Err(resumed_elsewhere());
        }
        subscription.awaited = None;
        match arrived {
            Arrived::Opened(opened) => subscription.begin(opened?),
            Arrived::Resumed(resumed) => {
                let Resumed { member, gap, resuming, lost } = resumed?;
                subscription.receipt = Some(Box::new(Receipt::new(resuming, member.cursor())));
                subscription.begin((member, gap));
                self.resuming.insert(number);
                let lost = lost.map(|lost| if lost.is_ok() { Arrived::Lost } else { Arrived::Nothing });
                self.wait(number, lost);
            }
            Arrived::Page(page) => subscription.turn_to(page)?,
            // Only of one that has been stopped is nothing heard any more.
            Arrived::Lost | Arrived::Nothing => {}
        }
        self.due.push_back(number);
        Ok(())
    }

    fn fetch(&mut self, number: u32) {
        let member = self.all.get(&number).and_then(|subscription| subscription.member.as_ref());
        let Some(page) = member.map(Member::fetch) else { return };
        let awaited = self.wait(number, page.map(Arrived::Page));
        if let Some(subscription) = self.all.get_mut(&number) {
            subscription.awaited = Some(awaited);
        }
    }

    fn wait(&mut self, number: u32, arrived: impl Future<Output = Arrived> + Send + 'static) -> AbortHandle {
        let (handle, registration) = AbortHandle::new_pair();
        let arrived = arrived.map(move |arrived| (number, arrived));
        self.waiting.push(Abortable::new(arrived, registration).boxed());
        handle
    }
}

/// Somebody who gave the same id for the same operation goes on with it.
fn resumed_elsewhere() -> ApiError {
    ApiError::new(
        Code::ResumedElsewhere,
        "another subscription has taken up this resume id; use an id of its own for each",
    )
}

impl Subscription {
    /// Begins with what there is at its place.
    fn begin(&mut self, (member, gap): (Member, Option<Gap>)) {
        self.gap = gap.map(Box::new);
        (self.member, self.patterns) = (Some(member), None);
    }

    /// What it reads.
    fn patterns(&self) -> &[Pattern] {
        let of_member = self.member.as_ref().map(Member::patterns);
        of_member.or(self.patterns.as_deref()).unwrap_or_default()
    }

    /// Takes its share of what is ready; nothing where something is waited for first.
    fn deliver(&mut self, out: &mut impl Outlet, tail: &'static [u8], given: &mut u64) -> Option<Next> {
        if self.awaited.is_some() {
            return None;
        }
        let enough = (out.pending() + SHARE).min(FULL);
        let (head, gap) = (&self.head, &mut self.gap);
        Some(self.member.as_mut()?.take(|entry| {
            // Groups of GraphQL make nothing else.
            let Content::Text(payload) = &entry.content else { return true };
            *given += 1;
            match gap.take() {
                None => out.push(&[head, payload, tail]),
                Some(gap) => out.push(&[head, &response::with_gap(payload, &gap), tail]),
            }
            out.pending() < enough
        }))
    }

    fn turn_to(&mut self, page: Result<Arc<Page>, FeedError>) -> Result<(), FeedError> {
        let Some(member) = &mut self.member else { return Ok(()) };
        match page.and_then(|page| member.turn_to(page)) {
            Err(FeedError::Lost(lost)) if self.on_gap == OnGap::Skip => {
                self.gap = Some(Box::new(lost.gap()));
                member.skip(&lost);
                Ok(())
            }
            turned => turned,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(awaited) = &self.awaited {
            awaited.abort();
        }
    }
}
