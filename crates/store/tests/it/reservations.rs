//! Streams that are reserved at one node, opened at another, and asked for operations at a third.

use nuncio_store::{Added, Opened, ReservationKey, ReservationLimits, Store, Ticket};

use crate::kit::{Kit, add_project, kit};

const LIMITS: ReservationLimits =
    ReservationLimits { waiting_of_owner: 2, waiting: 3, operations: 3, bytes: 100 };

fn ticket<'a>(token: &str, owner: &'a str) -> Ticket<'a> {
    Ticket { key: ReservationKey::of(token), owner }
}

impl Kit {
    async fn reserve(&self, token: &str, owner: &str) -> bool {
        self.store.reserve_stream(self.project, ticket(token, owner), LIMITS).await.expect("it can be asked")
    }

    async fn open(&self, token: &str, owner: &str, holder: &str) -> Opened {
        self.store.open_stream(self.project, ticket(token, owner), holder).await.expect("it can be asked")
    }

    async fn add(&self, token: &str, owner: &str, id: &str, request: &str) -> Added {
        let operation = (id, request.as_bytes());
        let added = self.store.add_operation(self.project, ticket(token, owner), operation, LIMITS).await;
        added.expect("it can be asked")
    }

    async fn stop(&self, token: &str, owner: &str, id: &str) -> bool {
        self.store.stop_operation(self.project, ticket(token, owner), id).await.expect("it can be asked")
    }
}

/// What the holder is to do, as ids and requests.
async fn orders(store: &Store, holder: &str) -> Vec<(String, Option<String>)> {
    let orders = store.take_orders(holder).await.expect("it can be asked");
    let text = |request: Vec<u8>| String::from_utf8(request).expect("text");
    orders.into_iter().map(|order| (order.id, order.request.map(text))).collect()
}

#[tokio::test]
async fn orders_reach_the_holder_once_and_in_their_order() {
    let kit = kit().await;
    assert!(kit.reserve("t", "ada").await);
    assert_eq!(kit.add("t", "ada", "early", "1").await, Added::Yes);
    assert_eq!(kit.open("t", "ada", "node-a").await, Opened::Now);
    assert_eq!(kit.add("t", "ada", "\0", "2").await, Added::Yes);
    assert_eq!(orders(&kit.store, "node-b").await, []);
    let both = [("early".to_owned(), Some("1".to_owned())), ("\0".to_owned(), Some("2".to_owned()))];
    assert_eq!(orders(&kit.store, "node-a").await, both);
    assert_eq!(orders(&kit.store, "node-a").await, []);
    assert_eq!(kit.add("t", "ada", "early", "3").await, Added::Exists);
    assert!(kit.stop("t", "ada", "early").await && kit.stop("t", "ada", "never").await);
    assert_eq!(orders(&kit.store, "node-a").await, [("early".to_owned(), None)]);
    assert_eq!(kit.add("t", "ada", "early", "3").await, Added::Yes);
    let ended = [(ReservationKey::of("t"), "\0".to_owned())];
    kit.store.end_operations(&ended).await.expect("it can be asked");
    assert_eq!(kit.add("t", "ada", "\0", "4").await, Added::Yes);
    // One that is stopped before it was taken never runs.
    assert!(kit.stop("t", "ada", "early").await);
    assert_eq!(
        orders(&kit.store, "node-a").await,
        [("early".to_owned(), None), ("\0".to_owned(), Some("4".to_owned()))]
    );
}

#[tokio::test]
async fn a_reservation_answers_to_whoever_made_it_alone() {
    let kit = kit().await;
    let other = add_project(&kit.store, "other").await;
    assert!(kit.reserve("t", "ada").await);
    assert_eq!(kit.open("t", "eve", "node").await, Opened::Unknown);
    assert_eq!(kit.add("t", "eve", "1", "x").await, Added::Unknown);
    assert!(!kit.stop("t", "eve", "1").await);
    let foreign = kit.store.open_stream(other, ticket("t", "ada"), "node").await.expect("it can be asked");
    assert_eq!(foreign, Opened::Unknown);
    assert_eq!(kit.open("u", "ada", "node").await, Opened::Unknown);
    assert_eq!(kit.open("t", "ada", "node").await, Opened::Now);
    assert_eq!(kit.open("t", "ada", "node").await, Opened::Before);
    assert_eq!(kit.open("t", "ada", "other node").await, Opened::Before);
}

#[tokio::test]
async fn of_many_who_open_a_stream_at_once_one_does() {
    let kit = kit().await;
    assert!(kit.reserve("t", "ada").await);
    let open = |n: usize| kit.open("t", "ada", ["a", "b"][n % 2]);
    let opened = futures_util::future::join_all((0..8).map(open)).await;
    assert_eq!(opened.iter().filter(|opened| **opened == Opened::Now).count(), 1);
    assert_eq!(opened.iter().filter(|opened| **opened == Opened::Before).count(), 7);
}

#[tokio::test]
async fn all_of_it_is_bounded() {
    let kit = kit().await;
    assert!(kit.reserve("1", "ada").await && kit.reserve("2", "ada").await && !kit.reserve("3", "ada").await);
    assert!(kit.reserve("4", "bob").await && !kit.reserve("5", "cay").await);
    // One that is open waits for nothing any more.
    assert_eq!(kit.open("1", "ada", "node").await, Opened::Now);
    assert!(kit.reserve("3", "ada").await);
    assert_eq!(kit.add("1", "ada", "a", &"x".repeat(60)).await, Added::Yes);
    assert_eq!(kit.add("1", "ada", "b", &"x".repeat(41)).await, Added::TooMany);
    assert_eq!(orders(&kit.store, "node").await.len(), 1);
    assert_eq!(kit.add("1", "ada", "b", &"x".repeat(41)).await, Added::Yes);
    assert_eq!(kit.add("1", "ada", "c", "x").await, Added::Yes);
    assert_eq!(kit.add("1", "ada", "d", "x").await, Added::TooMany);
}

#[tokio::test]
async fn what_nobody_opens_or_holds_is_forgotten() {
    let kit = kit().await;
    let age = "update reservations set made_at = now() - interval '61 s'";
    assert!(kit.reserve("late", "ada").await);
    kit.database.run(age).await.expect("it is older now");
    assert_eq!(kit.open("late", "ada", "node").await, Opened::Unknown);
    assert_eq!(kit.add("late", "ada", "1", "x").await, Added::Unknown);
    for token in ["held", "closed", "waiting"] {
        assert!(kit.reserve(token, "ada").await || token == "waiting");
        if token != "waiting" {
            assert_eq!(kit.open(token, "ada", token).await, Opened::Now);
        }
    }
    kit.database.run(age).await.expect("they are older now");
    kit.store.close_streams("held", &[ReservationKey::of("closed")]).await.expect("it can be asked");
    kit.store.sweep_reservations().await.expect("it can be asked");
    assert_eq!(kit.add("closed", "ada", "1", "x").await, Added::Yes, "only its holder closes a stream");
    kit.store.close_streams("closed", &[ReservationKey::of("closed")]).await.expect("it can be asked");
    assert_eq!(kit.add("closed", "ada", "1", "x").await, Added::Unknown);
    assert_eq!(kit.add("held", "ada", "1", "x").await, Added::Yes);
    assert!(kit.store.heartbeat_holder("held").await.expect("it can be asked"));
    let stop = "update stream_holders set seen_at = now() - interval '121 s'";
    kit.database.run(stop).await.expect("they are older now");
    kit.store.sweep_reservations().await.expect("it can be asked");
    assert!(!kit.store.heartbeat_holder("held").await.expect("it can be asked"));
    assert_eq!(kit.add("held", "ada", "2", "x").await, Added::Unknown);
    assert_eq!(orders(&kit.store, "held").await, []);
}
