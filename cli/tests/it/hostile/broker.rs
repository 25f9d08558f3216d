//! RabbitMQ: messages that no publisher in its right mind sends.

use crate::clients::run;

use super::Arena;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_among_good_events_reaches_nobody_else() {
    let mut arena = Arena::start().await;
    let options = arena.place.publisher(&arena.tenant, "orders.eu", 0);
    run("publish_poison.py", &options).succeed().await;
    arena.still_well("poison").await;
}
