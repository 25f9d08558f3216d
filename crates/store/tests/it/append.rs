//! One append at a time.

use nuncio_model::NamespaceSettings;
use nuncio_store::{Outcome, Place, Policy};

use crate::kit::{add_project, assert_gapless, entry, kit, patterns};

fn stored(position: i64, sequence: i64) -> Outcome {
    Outcome::Stored(Place { position, sequence })
}

fn duplicate(position: i64, sequence: i64) -> Outcome {
    Outcome::Duplicate(Place { position, sequence })
}

#[tokio::test]
async fn events_get_places_and_come_back_as_they_were_published() {
    let kit = kit().await;
    let mut full = entry(0, "a.b", "1", "{\"n\":1e400,\"z\":\"\\u0000\"}");
    full.draft.subject = Some("s".to_owned());
    full.draft.content_type = Some("application/json".to_owned());
    full.draft.time = Some("2026-01-31T12:00:00.123456Z".parse().expect("a time"));
    full.draft.extensions.insert("traceparent".to_owned(), "00-1".into());
    let second = entry(1, "a.c", "2", "2");
    let appended =
        kit.store.append(kit.project, vec![full.clone(), second.clone()]).await.expect("it is stored");
    assert_eq!(appended.outcomes, [stored(1, 1), stored(2, 1)]);
    let page = kit.store.page(kit.project, &patterns(&["#"]), 0, 10).await.expect("it is read");
    assert_eq!(page.events, appended.events);
    assert_eq!(page.events[0].draft, full.draft);
    assert_eq!((page.through, page.has_more), (2, false));
    assert!(page.events[0].stored_at <= page.events[1].stored_at);
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_originals_place() {
    let kit = kit().await;
    let first = kit.append(&[("a", "1", "1"), ("a", "1", "1"), ("b", "1", "1"), ("a", "1", "2")]).await;
    assert_eq!(first.outcomes, [stored(1, 1), duplicate(1, 1), stored(2, 1), Outcome::Conflict]);
    let second = kit.append(&[("a", "2", "1"), ("a", "1", "1"), ("b", "1", "other")]).await;
    assert_eq!(second.outcomes, [stored(3, 2), duplicate(1, 1), Outcome::Conflict]);
    let third = kit.append(&[("a", "1", "1")]).await;
    assert_eq!((third.outcomes, third.events.len()), (vec![duplicate(1, 1)], 0));
    assert_eq!(kit.dump().await.len(), 3);
    let mut other_source = entry(0, "a", "1", "2");
    other_source.draft.source = "/elsewhere".to_owned();
    let fourth = kit.store.append(kit.project, vec![other_source]).await.expect("it is stored");
    assert_eq!(fourth.outcomes, [stored(4, 3)], "two sources may share an id");
}

#[tokio::test]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let kit = kit().await;
    kit.append(&[("a", "old", "1")]).await;
    let entries = vec![
        entry(0, "a", "1", "1"),
        entry(1, "a", "2", "1"),
        entry(1, "a", "old", "other"),
        entry(1, "b", "3", "1"),
        entry(2, "a", "2", "2"),
    ];
    let appended = kit.store.append(kit.project, entries).await.expect("the database is there");
    let expected = [stored(2, 2), Outcome::Withheld, Outcome::Conflict, Outcome::Withheld, stored(3, 3)];
    assert_eq!(appended.outcomes, expected, "what was withheld leaves no trace, not even its id");
    assert_gapless(&kit.dump().await);
}

#[tokio::test]
async fn outside_the_window_an_id_is_new_again() {
    let kit = kit().await;
    let policy = Policy::of(&NamespaceSettings { dedupe_seconds: 60, ..Default::default() });
    let again = || {
        let mut entry = entry(0, "a", "1", "1");
        entry.policy = policy;
        kit.store.append(kit.project, vec![entry])
    };
    assert_eq!(again().await.expect("stored").outcomes, [stored(1, 1)]);
    assert_eq!(again().await.expect("known").outcomes, [duplicate(1, 1)]);
    kit.age("dedupe", 61, "true").await;
    assert_eq!(again().await.expect("stored").outcomes, [stored(2, 2)]);
    assert_eq!(again().await.expect("known").outcomes, [duplicate(2, 2)], "of the two, the later one counts");
}

#[tokio::test]
async fn projects_do_not_meet() {
    let kit = kit().await;
    let other = add_project(&kit.store, "other").await;
    kit.append(&[("a", "1", "1")]).await;
    let appended = kit.store.append(other, vec![entry(0, "a", "1", "2")]).await.expect("it is stored");
    assert_eq!(
        appended.outcomes,
        [stored(1, 1)],
        "the same channel and id in another project is another event"
    );
    let page = kit.store.page(other, &patterns(&["#"]), 0, 10).await.expect("it is read");
    assert_eq!(page.events, appended.events);
}
