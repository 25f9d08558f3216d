//! Pages and places.

use nuncio_model::{Channel, Cursor};

use crate::kit::{Kit, kit, patterns};

async fn walk(kit: &Kit, texts: &[&str], limit: usize) -> Vec<String> {
    let (mut after, mut ids) = (0, Vec::new());
    loop {
        let page = kit.store.page(kit.project, &patterns(texts), after, limit).await.expect("it is read");
        assert!(page.through > after || !page.has_more, "a page moves its reader on");
        ids.extend(page.events.iter().map(|event| event.draft.id.clone()));
        after = page.through;
        if !page.has_more {
            return ids;
        }
    }
}

async fn walk_back(kit: &Kit, texts: &[&str], limit: usize) -> Vec<String> {
    let (mut before, mut pages) = (i64::MAX, Vec::new());
    loop {
        let page =
            kit.store.page_before(kit.project, &patterns(texts), before, limit).await.expect("it is read");
        assert!(page.through < before || !page.has_more, "a page moves its reader back");
        pages.push(page.events.iter().map(|event| event.draft.id.clone()).collect::<Vec<_>>());
        before = page.through;
        if !page.has_more {
            return pages.into_iter().rev().flatten().collect();
        }
    }
}

#[tokio::test]
async fn every_way_through_the_log_meets_the_same_events() {
    let kit = kit().await;
    for n in 0..40 {
        let channel = ["a.x", "a.y", "b.x", "a.x.deep"][n % 4];
        kit.append(&[(channel, &n.to_string(), "1")]).await;
    }
    let expected = |residues: &[usize]| -> Vec<String> {
        (0..40).filter(|n| residues.contains(&(n % 4))).map(|n: usize| n.to_string()).collect()
    };
    for (texts, residues) in [
        (&["a.x"][..], &[0][..]),
        (&["a.x", "b.x"], &[0, 2]),
        (&["a.*"], &[0, 1]),
        (&["a.#"], &[0, 1, 3]),
        (&["#.x"], &[0, 2]),
        (&["a.x", "b.#"], &[0, 2]),
        (&["#"], &[0, 1, 2, 3]),
        (&["none"], &[]),
        (&["none.#"], &[]),
    ] {
        for limit in [1, 3, 100] {
            assert_eq!(walk(&kit, texts, limit).await, expected(residues), "{texts:?} forward by {limit}");
            assert_eq!(walk_back(&kit, texts, limit).await, expected(residues), "{texts:?} back by {limit}");
        }
    }
}

#[tokio::test]
async fn a_rare_channel_among_many_events_is_found_by_a_pattern() {
    let kit = kit().await;
    kit.append(&[("rare.x", "first", "1")]).await;
    kit.fill("common", 6_000).await;
    kit.append(&[("rare.x", "last", "1")]).await;
    assert_eq!(walk(&kit, &["rare.*"], 10).await, ["first", "last"]);
    assert_eq!(walk_back(&kit, &["rare.*"], 10).await, ["first", "last"]);
    let store = &kit.store;
    assert_eq!(store.position_before_last(kit.project, &patterns(&["rare.*"]), 2).await.expect("found"), 0);
    assert_eq!(
        store.position_before_last(kit.project, &patterns(&["rare.*"]), 1).await.expect("found"),
        6_001
    );
    assert_eq!(
        store.position_before_last(kit.project, &patterns(&["common"]), 10).await.expect("found"),
        5_991
    );
}

/// A page of a thousand of the largest events had 250 MiB, and a few clients at a time ended the node.
#[tokio::test]
async fn a_page_ends_where_it_has_many_bytes() {
    let kit = kit().await;
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    for n in 0..9 {
        kit.append(&[("a.large", &n.to_string(), &large)]).await;
    }
    for texts in [&["a.large"][..], &["a.#"]] {
        let page = kit.store.page(kit.project, &patterns(texts), 0, 100).await.expect("it is read");
        assert_eq!((page.events.len(), page.through, page.has_more), (4, 4, true), "{texts:?}");
        let page = kit.store.page_before(kit.project, &patterns(texts), 10, 100).await.expect("it is read");
        assert_eq!((page.events.len(), page.through, page.has_more), (4, 6, true), "{texts:?}");
        assert_eq!(walk(&kit, texts, 100).await, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!(walk_back(&kit, texts, 100).await.len(), 9);
        let last = kit.store.position_before_last(kit.project, &patterns(texts), 8).await.expect("found");
        assert_eq!(last, 1, "{texts:?}: what is counted back over may be as large as it likes");
    }
}

#[tokio::test]
async fn a_time_names_a_place() {
    let kit = kit().await;
    let mut times = Vec::new();
    for n in 0..20 {
        times.push(kit.append(&[("a", &n.to_string(), "1")]).await.events[0].stored_at);
    }
    for (position, time) in (1..).zip(&times) {
        let found = kit.store.position_before_time(kit.project, *time).await.expect("found");
        assert_eq!(found, position - 1, "the events from that time on are those after this place");
    }
    let later = times[19] + chrono::TimeDelta::hours(1);
    assert_eq!(kit.store.position_before_time(kit.project, later).await.expect("found"), 20);
    // What was removed in front does not lead the search astray.
    kit.database.run("delete from events where position <= 7").await.expect("the database answers");
    assert_eq!(kit.store.position_before_time(kit.project, times[11]).await.expect("found"), 11);
}

#[tokio::test]
async fn a_channel_and_a_head_tell_where_they_are() {
    let kit = kit().await;
    let name = Channel::parse("a").expect("a good name");
    assert!(kit.store.channel(kit.project, &name).await.expect("asked").is_none());
    kit.append(&[("b", "1", "1"), ("a", "1", "1"), ("a", "2", "1")]).await;
    let channel = kit.store.channel(kit.project, &name).await.expect("asked").expect("it is there now");
    assert_eq!((channel.sequence, channel.position, channel.trimmed_position), (2, 3, 0));
    let head = kit.store.head(kit.project).await.expect("asked");
    let cursor = |epoch, position| Cursor { project: kit.project, epoch, position };
    assert!(head.accepts(&cursor(1, 3)) && !head.accepts(&cursor(1, 4)) && !head.accepts(&cursor(2, 1)));
}
