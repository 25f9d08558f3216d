//! Random appends against a model that does the same in memory.

use std::collections::HashMap;

use nuncio_store::{Outcome, Place};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::kit::{Kit, assert_gapless, entry, kit, patterns};

/// Channel, id, data: few of each, so that repeats and conflicts are common; and whether a new batch begins here.
type Item = (u8, u8, u8, bool);

#[derive(Default)]
struct Model {
    known: HashMap<(u8, u8), (u8, Place)>,
    sequences: HashMap<u8, i64>,
    position: i64,
}

impl Model {
    fn append(&mut self, items: &[Item]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut rest = items;
        while !rest.is_empty() {
            let length = 1 + rest[1..].iter().take_while(|item| !item.3).count();
            let (batch, tail) = rest.split_at(length);
            outcomes.extend(self.append_batch(batch));
            rest = tail;
        }
        outcomes
    }

    fn append_batch(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let mut new: HashMap<(u8, u8), u8> = HashMap::new();
        let conflicts: Vec<bool> = batch
            .iter()
            .map(|(channel, id, data, _)| {
                let key = (*channel, *id);
                let before = self.known.get(&key).map(|known| known.0).or_else(|| new.get(&key).copied());
                new.entry(key).or_insert(*data);
                before.is_some_and(|before| before != *data)
            })
            .collect();
        if conflicts.contains(&true) {
            return conflicts
                .iter()
                .map(|c| if *c { Outcome::Conflict } else { Outcome::Withheld })
                .collect();
        }
        batch.iter().map(|(channel, id, data, _)| self.store(*channel, *id, *data)).collect()
    }

    fn store(&mut self, channel: u8, id: u8, data: u8) -> Outcome {
        if let Some((_, place)) = self.known.get(&(channel, id)) {
            return Outcome::Duplicate(*place);
        }
        self.position += 1;
        let sequence = self.sequences.entry(channel).or_default();
        *sequence += 1;
        let place = Place { position: self.position, sequence: *sequence };
        self.known.insert((channel, id), (data, place));
        Outcome::Stored(place)
    }
}

async fn check(kit: &Kit, appends: &[Vec<Item>]) {
    let tables = "truncate events, dedupe, channels; update heads set position = 0";
    kit.database.run(tables).await.expect("the database answers");
    let mut model = Model::default();
    for items in appends {
        let mut batch = 0;
        let entries = items.iter().map(|(channel, id, data, begins)| {
            batch += u32::from(*begins);
            entry(batch, &format!("c{channel}"), &format!("{id}"), &format!("{data}"))
        });
        let appended = kit.store.append(kit.project, entries.collect()).await.expect("the database is there");
        assert_eq!(appended.outcomes, model.append(items));
    }
    assert_gapless(&kit.dump().await);
    let mut after = 0;
    let mut read = Vec::new();
    loop {
        let page = kit.store.page(kit.project, &patterns(&["#"]), after, 7).await.expect("it is read");
        read.extend(page.events.iter().map(|event| event.position));
        after = page.through;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(read, (1..=model.position).collect::<Vec<_>>());
}

#[test]
fn the_log_does_what_the_model_does() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let kit = runtime.block_on(kit());
    let item = (0..3_u8, 0..6_u8, 0..2_u8, any::<bool>());
    let appends = proptest::collection::vec(proptest::collection::vec(item, 1..12), 1..6);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&appends, |appends| {
            runtime.block_on(check(&kit, &appends));
            Ok(())
        })
        .expect("the log agrees with the model");
}
