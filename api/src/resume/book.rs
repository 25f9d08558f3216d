//! Which resume ids are in use on this node, and which places are still to be written.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use nuncio_model::{Cursor, ProjectId, ResumeKey};
use nuncio_store::{Claimed, Known};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// After what time a place that has not changed is written again, so that the id is not forgotten.
const REFRESH_EVERY: Duration = Duration::from_secs(3_600);

/// The ids in use, and those whose last place has not been written yet.
#[derive(Debug, Default)]
pub(super) struct Book(HashMap<(ProjectId, [u8; 16]), Entry>);

#[derive(Debug)]
struct Entry {
    key: ResumeKey,
    claim: i64,
    place: Option<Cursor>,
    saved: Saved,
    /// Nobody uses it any more: it is forgotten once its place is written.
    left: bool,
    lost: oneshot::Sender<()>,
}

/// Whether the place in the database is that of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saved {
    No,
    At(Instant),
}

impl Book {
    /// Notes that the id is in use. Whoever used it before has lost it; if somebody took it up later, this one has.
    pub(super) fn enter(
        &mut self,
        key: ResumeKey,
        claim: i64,
        place: Option<Cursor>,
        lost: oneshot::Sender<()>,
    ) {
        if self.0.get(&name(&key)).is_some_and(|entry| entry.claim > claim) {
            let _ = lost.send(());
            return;
        }
        let entry = Entry { key, claim, place, saved: Saved::At(Instant::now()), left: false, lost };
        if let Some(before) = self.0.insert(name(&key), entry) {
            let _ = before.lost.send(());
        }
    }

    /// Notes how far the client has come.
    pub(super) fn note(&mut self, key: &ResumeKey, claim: i64, place: Cursor) {
        if let Some(entry) = self.of(key, claim)
            && entry.place != Some(place)
        {
            (entry.place, entry.saved) = (Some(place), Saved::No);
        }
    }

    /// Notes that the id is not in use any more.
    pub(super) fn leave(&mut self, key: &ResumeKey, claim: i64) {
        let Some(entry) = self.of(key, claim) else { return };
        entry.left = true;
        if entry.saved != Saved::No {
            self.0.remove(&name(key));
        }
    }

    /// The places to be written.
    pub(super) fn unsaved(&self) -> Vec<Known> {
        let is_due = |entry: &&Entry| match entry.saved {
            Saved::No => true,
            Saved::At(time) => time.elapsed() >= REFRESH_EVERY,
        };
        let known = |entry: &Entry| Some(Known { key: entry.key, claim: entry.claim, place: entry.place? });
        self.0.values().filter(is_due).filter_map(known).collect()
    }

    /// Takes the news of what has been written; the rest of what was to be written is somebody else's by now.
    pub(super) fn saved(&mut self, written: &[Known], saved: &[Claimed]) {
        let saved: HashSet<&Claimed> = saved.iter().collect();
        for Known { key, claim, place } in written {
            let Some(entry) = self.of(key, *claim) else { continue };
            if !saved.contains(&Claimed { project: key.project, key: key.key, claim: *claim }) {
                self.lose_one(key);
            } else if entry.place == Some(*place) {
                entry.saved = Saved::At(Instant::now());
                if entry.left {
                    self.0.remove(&name(key));
                }
            }
        }
    }

    /// Takes the news of which ids have been taken up, here or elsewhere.
    pub(super) fn lose(&mut self, claimed: &[Claimed]) {
        for claimed in claimed {
            let lost = self.0.get(&(claimed.project, claimed.key));
            let lost = lost.filter(|entry| entry.claim < claimed.claim);
            if let Some(key) = lost.map(|entry| entry.key) {
                self.lose_one(&key);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&mut self, key: &ResumeKey, claim: i64) -> Option<&mut Entry> {
        self.0.get_mut(&name(key)).filter(|entry| entry.claim == claim)
    }

    fn lose_one(&mut self, key: &ResumeKey) {
        if let Some(entry) = self.0.remove(&name(key)) {
            let _ = entry.lost.send(());
        }
    }
}

fn name(key: &ResumeKey) -> (ProjectId, [u8; 16]) {
    (key.project, key.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ResumeKey = ResumeKey { project: ProjectId(1), owner: [0; 16], key: [7; 16] };

    fn place(position: i64) -> Cursor {
        Cursor { project: ProjectId(1), epoch: 1, position }
    }

    fn entered(book: &mut Book, claim: i64) -> oneshot::Receiver<()> {
        let (notice, lost) = oneshot::channel();
        book.enter(KEY, claim, None, notice);
        lost
    }

    #[tokio::test]
    async fn the_latest_claim_has_the_id() {
        let mut book = Book::default();
        let mut second = entered(&mut book, 2);
        assert!(entered(&mut book, 1).await.is_ok(), "it comes too late");
        assert!(second.try_recv().is_err());
        let mut third = entered(&mut book, 3);
        assert!(second.await.is_ok() && third.try_recv().is_err());
        // What the second still has to say is not listened to.
        book.note(&KEY, 2, place(5));
        book.leave(&KEY, 2);
        assert!(book.unsaved().is_empty() && !book.is_empty());
    }

    #[tokio::test]
    async fn a_place_is_written_once_and_kept_until_it_is() {
        let mut book = Book::default();
        let _lost = entered(&mut book, 1);
        assert!(book.unsaved().is_empty());
        book.note(&KEY, 1, place(5));
        let first = book.unsaved();
        book.note(&KEY, 1, place(6));
        book.leave(&KEY, 1);
        let written = |known: &[Known]| -> Vec<Claimed> {
            known
                .iter()
                .map(|known| Claimed { project: KEY.project, key: KEY.key, claim: known.claim })
                .collect()
        };
        book.saved(&first, &written(&first));
        let second = book.unsaved();
        assert_eq!((first[0].place, second[0].place), (place(5), place(6)));
        book.saved(&second, &written(&second));
        assert!(book.is_empty());
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_lost() {
        let mut book = Book::default();
        let lost = entered(&mut book, 1);
        book.note(&KEY, 1, place(5));
        let known = book.unsaved();
        book.saved(&known, &[]);
        assert!(lost.await.is_ok() && book.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_change_is_written_now_and_then() {
        let mut book = Book::default();
        let (notice, _lost) = oneshot::channel();
        book.enter(KEY, 1, Some(place(5)), notice);
        assert!(book.unsaved().is_empty());
        tokio::time::advance(REFRESH_EVERY).await;
        assert_eq!(book.unsaved().len(), 1);
    }
}
