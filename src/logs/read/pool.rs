//! The threads that read logs: few, of low priority, and shared fairly by all who ask.
//!
//! Work comes in steps of milliseconds. After each, whoever has more to do stands behind the others again, so that a long
//! question does not hold up a short one, and the thread rests if others want the processors. Nothing here may wait for anybody else.

use super::pace::Pace;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, vec};
use tokio::sync::oneshot;

/// A twentieth of a core for each thread, while others want it.
const RESTS_PER_WORK_MAX: u32 = 19;

type Job = Box<dyn FnOnce() + Send>;

/// Handle of the threads, which end when the last one is dropped.
pub(super) struct Pool {
    jobs: Arc<Jobs>,
    workers: usize,
}

#[derive(Default)]
struct Jobs {
    waiting: Mutex<(VecDeque<Job>, bool)>,
    more: Condvar,
    /// Wakes whoever rests.
    closed: Condvar,
}

/// The work was given up: one of its steps has panicked.
#[derive(Debug)]
pub(super) struct GivenUp;

/// Whether there is more to do.
pub(super) enum Next {
    GoOn,
    /// The item took no time: on with the next one at once.
    Skipped,
    /// Items that are left need not be looked at.
    Enough,
}

impl Pool {
    pub(super) fn start(workers: usize) -> io::Result<Self> {
        let pool = Self { jobs: Arc::default(), workers: workers.max(1) };
        for n in 0..pool.workers {
            let jobs = pool.jobs.clone();
            std::thread::Builder::new().name(format!("search-{n}")).spawn(move || jobs.run())?;
        }
        Ok(pool)
    }

    /// How many there are.
    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// Does one piece of work.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GivenUp> {
        let (answer, answered) = oneshot::channel();
        self.jobs.push(Box::new(move || drop(answer.send(work()))));
        answered.await.map_err(|_| GivenUp)
    }

    /// Takes `items` in their order, each on whichever thread is free, into as many states as there are threads, and returns
    /// those. Ends early if the future is dropped.
    pub(super) async fn fold<I, S>(
        &self,
        items: Vec<I>,
        new: impl Fn() -> S,
        step: impl Fn(&mut S, I) -> Next + Send + Sync + 'static,
    ) -> Result<Vec<S>, GivenUp>
    where
        I: Send + 'static,
        S: Send + 'static,
    {
        let lanes = self.workers.min(items.len()).max(1);
        let (answer, answered) = oneshot::channel();
        let stop = Stop(Arc::default());
        let fold = Arc::new(Fold {
            items: Mutex::new(items.into_iter()),
            step,
            stopped: stop.0.clone(),
            ended: Mutex::new((Vec::with_capacity(lanes), lanes, Some(answer))),
        });
        for _ in 0..lanes {
            lane(fold.clone(), self.jobs.clone(), new());
        }
        drop(fold);
        answered.await.map_err(|_| GivenUp)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        locked(&self.jobs.waiting).1 = true;
        self.jobs.more.notify_all();
        self.jobs.closed.notify_all();
    }
}

impl Jobs {
    fn push(&self, job: Job) {
        locked(&self.waiting).0.push_back(job);
        self.more.notify_one();
    }

    fn run(&self) {
        let mut pace = Pace::begin(RESTS_PER_WORK_MAX);
        let mut waiting = locked(&self.waiting);
        loop {
            if let Some(job) = waiting.0.pop_front() {
                drop(waiting);
                // Whoever waits for it sees that its answer will not come; others are not concerned.
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a step of a search has panicked");
                }
                waiting = self.rest(pace.rest());
            } else if waiting.1 {
                return;
            } else {
                waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Rests, while the other threads take what waits, and gives back what waits then.
    fn rest(&self, rest: Duration) -> MutexGuard<'_, (VecDeque<Job>, bool)> {
        let waiting = locked(&self.waiting);
        if rest.is_zero() {
            return waiting;
        }
        let rested = self.closed.wait_timeout_while(waiting, rest, |(_, closed)| !*closed);
        rested.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct Fold<I, S, F> {
    items: Mutex<vec::IntoIter<I>>,
    step: F,
    stopped: Arc<AtomicBool>,
    /// States of lanes that have ended, how many have not, and who waits for them.
    ended: Mutex<Ended<S>>,
}

impl<I, S, F> Fold<I, S, F> {
    fn next(&self) -> Option<I> {
        locked(&self.items).next()
    }
}

type Ended<S> = (Vec<S>, usize, Option<oneshot::Sender<Vec<S>>>);

/// One of the states at work: a step, and then behind everybody else.
fn lane<I, S, F>(fold: Arc<Fold<I, S, F>>, jobs: Arc<Jobs>, mut state: S)
where
    I: Send + 'static,
    S: Send + 'static,
    F: Fn(&mut S, I) -> Next + Send + Sync + 'static,
{
    let queue = jobs.clone();
    queue.push(Box::new(move || {
        while !fold.stopped.load(Ordering::Relaxed) {
            let Some(item) = fold.next() else { break };
            match (fold.step)(&mut state, item) {
                Next::GoOn => return lane(fold, jobs, state),
                Next::Skipped => {}
                Next::Enough => fold.stopped.store(true, Ordering::Relaxed),
            }
        }
        let mut ended = locked(&fold.ended);
        ended.0.push(state);
        ended.1 -= 1;
        if ended.1 == 0
            && let Some(answer) = ended.2.take()
        {
            let _ = answer.send(std::mem::take(&mut ended.0));
        }
    }));
}

/// Stops a fold that nobody waits for any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_item_is_taken_once_and_in_order() {
        let pool = Pool::start(2).unwrap();
        let step = |taken: &mut Vec<u32>, item| {
            taken.push(item);
            Next::GoOn
        };
        let states = pool.fold((0..1000).collect(), Vec::new, step).await.unwrap();
        assert!(states.iter().all(|taken| taken.is_sorted()));
        let mut all = states.concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert_eq!(pool.fold(vec![], || 0, |_, ()| Next::GoOn).await.unwrap(), [0]);
    }

    #[tokio::test]
    async fn every_item_that_is_skipped_is_seen() {
        let pool = Pool::start(1).unwrap();
        let step = |seen: &mut Vec<u32>, item| {
            seen.push(item);
            Next::Skipped
        };
        let states = pool.fold((0..1000).collect(), Vec::new, step).await.unwrap();
        assert_eq!(states, [(0..1000).collect::<Vec<_>>()]);
    }

    #[tokio::test]
    async fn what_is_enough_ends_early() {
        let pool = Pool::start(1).unwrap();
        let step = |taken: &mut u32, _: u32| {
            *taken += 1;
            if *taken == 3 { Next::Enough } else { Next::GoOn }
        };
        assert_eq!(pool.fold((0..1000).collect(), || 0, step).await.unwrap(), [3]);
    }

    #[tokio::test]
    async fn a_panic_is_told_and_the_threads_go_on() {
        let pool = Pool::start(1).unwrap();
        assert!(pool.run(|| panic!("as a defect would")).await.is_err());
        let step = |_: &mut (), item: u32| if item == 2 { panic!("as a defect would") } else { Next::GoOn };
        assert!(pool.fold(vec![1, 2, 3], || (), step).await.is_err());
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }
}
