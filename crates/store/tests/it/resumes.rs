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
    let claim = async || store.claim_resume(&key).await.expect("the database is there");
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
            let claim = kit.store.claim_resume(&key).await.expect("the database is there").number;
            let place = place(&kit, i64::from(n) + i64::from(project.0) * 100);
            known.push(Known { key, claim, place });
        }
    }
    assert_eq!(kit.store.save_resumes(&known).await.expect("the database is there").len(), 100);
    for known in known {
        let claim = kit.store.claim_resume(&known.key).await.expect("the database is there");
        assert_eq!(claim, Claim { number: 2, place: Some(known.place) });
    }
}

#[tokio::test]
async fn what_is_remembered_is_bounded_in_number_and_in_time() {
    let kit = kit().await;
    let claim = async |key| kit.store.claim_resume(&key).await.expect("the database is there").number;
    claim(key(&kit, 2, 0)).await;
    for n in 0..1_001 {
        claim(key(&kit, 1, n)).await;
    }
    let count =
        async || kit.database.run("select count(*) from resumes").await.expect("the database answers");
    assert_eq!(count().await.trim(), "1001", "a thousand of one subject, and the one of another");
    assert_eq!(claim(key(&kit, 1, 1_000)).await, 2, "the newest is there");
    assert_eq!(claim(key(&kit, 2, 0)).await, 2, "another subject's is there");

    let aged = "update resumes set seen_at = now() - interval '26 hours' where claim = 1";
    kit.database.run(aged).await.expect("the database answers");
    kit.store.forget_resumes().await.expect("the database is there");
    assert_eq!(count().await.trim(), "2");
}
