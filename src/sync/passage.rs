//! Batches between the directory's last word on them and the journal's receipt: what a receipt for a revocation waits for.
//!
//! A batch that the directory before let pass may still be on its way to the disk when the next one comes into force. Only
//! when all of those are through has the gateway stopped accepting what it refuses now. Batches are counted in two
//! turns: a change begins the other turn and waits until the one before is empty. Nobody on the line ever waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Counts batches on their way.
#[derive(Debug, Default)]
pub struct Passages {
    turn: AtomicUsize,
    passing: [AtomicUsize; 2],
    emptied: Notify,
}

/// One batch on its way; it is through when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct Passage<'a> {
    passages: &'a Passages,
    turn: usize,
}

impl Passages {
    /// Begins a passage. What is read of the directory after this belongs to it.
    #[inline]
    pub fn begin(&self) -> Passage<'_> {
        loop {
            let turn = self.turn.load(Ordering::SeqCst);
            let passage = Passage { passages: self, turn };
            self.passing[turn % 2].fetch_add(1, Ordering::SeqCst);
            // Otherwise the turn may have been found empty meanwhile.
            if self.turn.load(Ordering::SeqCst) == turn {
                return passage;
            }
        }
    }

    /// Resolves when every passage that began before this call is through. For one caller at a time.
    pub async fn settle(&self) {
        // A turn that was given up on is waited for first: its place is needed.
        let turn = self.turn.load(Ordering::SeqCst);
        self.empty(turn + 1).await;
        self.turn.store(turn + 1, Ordering::SeqCst);
        self.empty(turn).await;
    }

    async fn empty(&self, turn: usize) {
        loop {
            let emptied = self.emptied.notified();
            if self.passing[turn % 2].load(Ordering::SeqCst) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Passage<'_> {
    #[inline]
    fn drop(&mut self) {
        let was_last = self.passages.passing[self.turn % 2].fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last && self.passages.turn.load(Ordering::SeqCst) != self.turn {
            self.passages.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Poll;

    fn is_ready(settling: &mut std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
        settling.as_mut().poll(context) == Poll::Ready(())
    }

    #[test]
    fn waits_for_what_began_before_and_for_nothing_else() {
        let passages = Passages::default();
        assert!(is_ready(&mut std::pin::pin!(passages.settle())));
        let before = passages.begin();
        let mut settling = std::pin::pin!(passages.settle());
        assert!(!is_ready(&mut settling));
        let after = passages.begin();
        assert!(!is_ready(&mut settling));
        drop(before);
        assert!(is_ready(&mut settling));
        drop(after);
        assert!(is_ready(&mut std::pin::pin!(passages.settle())));
    }

    #[test]
    fn a_wait_that_was_given_up_is_made_up_for() {
        let passages = Passages::default();
        let stuck = passages.begin();
        assert!(!is_ready(&mut std::pin::pin!(passages.settle())), "and given up");
        let later = passages.begin();
        let mut settling = std::pin::pin!(passages.settle());
        assert!(!is_ready(&mut settling));
        drop(later);
        assert!(!is_ready(&mut settling), "one is still stuck");
        drop(stuck);
        assert!(is_ready(&mut settling));
    }

    /// Whoever settles after it took the word back finds nobody on the way who still had it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_who_saw_the_word_before_is_on_the_way_after_it_settled() {
        let passages = Arc::new(Passages::default());
        let (word, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // The oldest word that somebody on the way has seen, by a count for each.
        let seen: Arc<[AtomicUsize; 512]> = Arc::new(std::array::from_fn(|_| AtomicUsize::new(0)));
        let mut batches = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (passages, word) = (Arc::clone(&passages), Arc::clone(&word));
            let (done, seen) = (Arc::clone(&done), Arc::clone(&seen));
            batches.spawn(async move {
                while done.load(Ordering::SeqCst) == 0 {
                    let passage = passages.begin();
                    let word = word.load(Ordering::SeqCst);
                    seen[word].fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    seen[word].fetch_sub(1, Ordering::SeqCst);
                    drop(passage);
                    tokio::task::yield_now().await;
                }
            });
        }
        for next in 1..512 {
            word.store(next, Ordering::SeqCst);
            passages.settle().await;
            let late: usize = seen[..next].iter().map(|seen| seen.load(Ordering::SeqCst)).sum();
            assert_eq!(late, 0, "before {next}");
        }
        done.store(1, Ordering::SeqCst);
        batches.join_all().await;
    }
}
