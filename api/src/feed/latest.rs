//! A value that is read once for all who ask for it at about the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// The latest value of something.
///
/// Whoever asks gets a value that began to be read after the question: a thousand who ask at once cause two reads at
/// the most, and none of them sees what was true before.
#[derive(Debug)]
pub(super) struct Latest<T> {
    begun: AtomicU64,
    /// The value with the number of the read it is from.
    value: Mutex<Option<(u64, T)>>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), value: Mutex::new(None) }
    }
}

impl<T: Copy> Latest<T> {
    /// The value as it is now.
    ///
    /// # Errors
    /// Those of `read`; whoever else waits then reads by itself.
    pub(super) async fn get<E>(&self, read: impl AsyncFnOnce() -> Result<T, E>) -> Result<T, E> {
        let asked = self.begun.load(Ordering::Acquire);
        let mut value = self.value.lock().await;
        if let Some((number, value)) = *value
            && number > asked
        {
            return Ok(value);
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let new = read().await?;
        *value = Some((number, new));
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn who_asks_at_once_shares_a_read_that_began_later() {
        let (latest, reads) = (Latest::default(), Cell::new(0));
        let ask = || {
            latest.get(async || {
                let number = reads.replace(reads.get() + 1);
                tokio::task::yield_now().await;
                Ok::<_, ()>(number)
            })
        };
        assert_eq!(ask().await, Ok(0));
        assert_eq!(ask().await, Ok(1), "an old answer is no answer");
        let answers = join_all((0..1_000).map(|_| ask())).await;
        assert!(answers.iter().all(|answer| answer.is_ok_and(|number| number >= 2)));
        assert!(reads.get() <= 4, "{} reads", reads.get());
    }

    #[tokio::test]
    async fn a_failed_read_is_nobody_elses() {
        let latest = Latest::default();
        assert_eq!(latest.get(async || Err::<i32, _>("away")).await, Err("away"));
        assert_eq!(latest.get(async || Ok::<_, &str>(1)).await, Ok(1));
    }
}
