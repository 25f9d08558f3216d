//! Resume ids: who has one, and how far its client had received.

use nuncio_model::{Cursor, ResumeKey};
use nuncio_store::{Claim, Claimed, Known};

use crate::kit::{Kit, add_project, kit};

fn key(kit: &Kit, owner: u8, key: u16) -> ResumeKey {
    let mut bytes = [owner; 16];
    bytes[..2].copy_from_slice(&key.to_be_bytes());
    ResumeKey { project: kit.project, owner: [owner; 16], key: bytes }
}

fn place(kit: &Kit, position: i64) -> Cursor {
    Cursor { project: kit.project, epoch: 1, position }
}

#[tokio::test]
async fn a_place_is_kept_until_the_id_is_taken_up_by_somebody_else() {
    let kit = kit().await;
    let (store, key) = (&kit.store, key(&kit, 1, 1));
    let claim =
        async || store.claim_resume(&key).await.expect("the database is there").expect("there is room");
    assert_eq!(claim().await, Claim { number: 1, place: None });
    let known = |claim, position| Known { key, claim, place: place(&kit, position) };
    let saved = async |known| store.save_resumes(&[known]).await.expect("the database is there").len();
    assert_eq!(saved(known(1, 5)).await, 1);
    assert!(store.recent_resumes().await.expect("the database is there").is_empty());

    assert_eq!(claim().await, Claim { number: 2, place: Some(place(&kit, 5)) });
    assert_eq!((saved(known(1, 9)).await, saved(known(2, 7)).await), (0, 1));
    let recent = store.recent_resumes().await.expect("the database is there");
    assert_eq!(recent, [Claimed { project: kit.project, key: key.key, claim: 2 }]);
    assert_eq!(claim().await, Claim { number: 3, place: Some(place(&kit, 7)) });
}

#[tokio::test]
async fn many_places_are_noted_by_one_statement_each_for_its_project() {
    let mut kit = kit().await;
    let (first, mut known) = (kit.project, Vec::new());
    for project in [first, add_project(&kit.store, "other").await] {
        kit.project = project;
        for n in 0..50 {
            let key = key(&kit, 1, n);
            let claim = kit
                .store
                .claim_resume(&key)
                .await
                .expect("the database is there")
                .expect("there is room")
                .number;
            let place = place(&kit, i64::from(n) + i64::from(project.0) * 100);
            known.push(Known { key, claim, place });
        }
    }
    assert_eq!(kit.store.save_resumes(&known).await.expect("the database is there").len(), 100);
    for known in known {
        let claim = kit.store.claim_resume(&known.key).await.expect("the database is there");
        assert_eq!(claim, Some(Claim { number: 2, place: Some(known.place) }));
    }
}

/// Ids that were in use were crowded out by new ones, and their clients told that somebody else had taken them up.
#[tokio::test]
async fn new_ids_crowd_out_those_that_nobody_uses_and_no_others() {
    let kit = kit().await;
    let claim = async |key| {
        let claim = kit.store.claim_resume(&key).await.expect("the database is there");
        claim.map(|claim| claim.number)
    };
    let run = async |sql: &str| kit.database.run(sql).await.expect("the database answers").trim().to_owned();
    assert_eq!(claim(key(&kit, 2, 0)).await, Some(1));
    let many = "insert into resumes (project_id, key, owner)
        select 1, decode(lpad(to_hex(n), 32, '0'), 'hex'), decode(repeat('01', 16), 'hex') from generate_series(1, 10000) n";
    run(many).await;
    assert_eq!(claim(key(&kit, 1, 1)).await, None, "all of them are in use");
    assert_eq!(claim(key(&kit, 2, 1)).await, Some(1), "another subject has room");
    run("update resumes set seen_at = now() - interval '3 hours' where key < decode(lpad(to_hex(3), 32, '0'), 'hex')").await;
    assert_eq!(claim(key(&kit, 1, 1)).await, Some(1));
    assert_eq!(claim(key(&kit, 1, 1)).await, Some(2));
    let old = run("select count(*) from resumes where seen_at < now() - interval '2 hours'").await;
    assert_eq!(old, "1", "one made room for one");
}

#[tokio::test]
async fn what_was_not_seen_for_a_day_is_forgotten() {
    let kit = kit().await;
    for n in 0..2 {
        kit.store.claim_resume(&key(&kit, 1, n)).await.expect("the database is there");
    }
    kit.store.claim_resume(&key(&kit, 1, 1)).await.expect("the database is there");
    let aged = "update resumes set seen_at = now() - interval '26 hours' where claim = 1";
    kit.database.run(aged).await.expect("the database answers");
    kit.store.forget_resumes().await.expect("the database is there");
    let left = kit.database.run("select count(*) from resumes").await.expect("the database answers");
    assert_eq!(left.trim(), "1");
}
