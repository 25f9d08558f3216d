//! A log that was replaced by an older copy of itself.

use nuncio_model::Cursor;
use nuncio_store::Store;

use crate::kit::{kit, options};

#[tokio::test]
async fn another_copy_of_the_database_begins_a_new_epoch() {
    let kit = kit().await;
    kit.fill("a", 5).await;
    let same = Store::connect(&options(&kit.database.url)).await.expect("the database is there");
    assert_eq!(same.head(kit.project).await.expect("asked").epoch, 1, "the same copy is the same epoch");
    kit.database.run("update log_origin set timeline = timeline + 1").await.expect("the database answers");
    let other = Store::connect(&options(&kit.database.url)).await.expect("the database is there");
    let head = other.head(kit.project).await.expect("asked");
    assert_eq!((head.epoch, head.epoch_base, head.position), (2, 5, 5));
    let cursor = |epoch, position| Cursor { project: kit.project, epoch, position };
    assert!(head.accepts(&cursor(1, 5)), "what both copies share is still a place");
    assert!(!head.accepts(&cursor(1, 6)), "what the older copy lost is none");
    assert!(head.accepts(&cursor(2, 5)) && !head.accepts(&cursor(0, 1)));
}
