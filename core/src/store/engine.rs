//! The one writer: runs queued jobs in one transaction, commits once, then answers them.
//!
//! No artificial wait: whatever queued while the last commit ran is the next batch, so a lone write pays one commit and a
//! burst shares one. Under the simulator there is no thread: a write runs where it is asked for, and the run is repeatable.

mod job;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use redb::{Database, Durability};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use self::job::{Job, Outcome, Work};
use super::{
    Result, StoreError, WriteTx,
    tables::WriteTables,
    tx::{Counters, Scratch},
};
use crate::types::limits::{ENGINE_BATCH_JOBS_MAX, ENGINE_BATCH_TIME_MAX, ENGINE_QUEUE_MAX};

/// Where the engine runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threading {
    /// On a thread of its own, as on a phone.
    #[default]
    Thread,
    /// In the caller, as in simulation: no thread, no race, the same run for the same seed.
    Inline,
}

/// How soon a commit that promised nothing reaches the disk.
const SOFT_FLUSH: Duration = Duration::from_secs(1);

pub(super) enum Message {
    Job(Job, OwnedSemaphorePermit),
    Flush(oneshot::Sender<Result<()>>),
    Stop,
}

/// The writer's own half: the database and what it remembers between batches.
pub(super) struct Writer {
    db: Arc<Database>,
    counters: Counters,
    scratch: Scratch,
    unflushed: bool,
    log_watch: watch::Sender<u64>,
    outbox_watch: watch::Sender<u64>,
    failed: watch::Sender<Option<StoreError>>,
}

/// The callers' half.
pub(super) enum Engine {
    Thread { queue: SyncSender<Message>, permits: Arc<Semaphore>, thread: Mutex<Option<std::thread::JoinHandle<()>>> },
    Inline(Mutex<Option<Writer>>),
}

impl Writer {
    pub(super) fn new(
        db: Arc<Database>,
        counters: Counters,
        log_watch: watch::Sender<u64>,
        outbox_watch: watch::Sender<u64>,
        failed: watch::Sender<Option<StoreError>>,
    ) -> Self {
        Self { db, counters, scratch: Scratch::default(), unflushed: false, log_watch, outbox_watch, failed }
    }

    /// Runs a batch to its end and answers every job of it.
    fn run(&mut self, mut batch: Vec<Job>, mut more: impl FnMut() -> Option<Job>) {
        let started = Instant::now();
        let mut source = || (started.elapsed() < ENGINE_BATCH_TIME_MAX).then(&mut more).flatten();
        loop {
            match self.attempt(&mut batch, &mut source) {
                Attempt::Committed => return batch.into_iter().for_each(|job| job.finish(Ok(()))),
                Attempt::Failed(error) => {
                    return batch.into_iter().for_each(|job| job.finish(Err(error.clone())));
                }
                Attempt::Spoilt(index) => {
                    // The job failed after it had written: it gets its error, and the others run again without it.
                    batch.remove(index).finish(Ok(()));
                    if batch.is_empty() {
                        return;
                    }
                }
            }
        }
    }

    fn attempt(&mut self, batch: &mut Vec<Job>, more: &mut impl FnMut() -> Option<Job>) -> Attempt {
        match self.attempt_inner(batch, more) {
            Ok(attempt) => attempt,
            Err(error) => {
                self.scratch = Scratch::default();
                // redb refuses all work after a failed write, so this is for good.
                self.failed.send_replace(Some(error.clone()));
                Attempt::Failed(error)
            }
        }
    }

    fn attempt_inner(&mut self, batch: &mut Vec<Job>, more: &mut impl FnMut() -> Option<Job>) -> Result<Attempt> {
        let mut txn = self.db.begin_write()?;
        let scratch = std::mem::take(&mut self.scratch);
        let mut tx = WriteTx::new(WriteTables::open(&txn)?, self.counters, scratch);
        let mut wrote = false;
        let mut index = 0;
        while index < ENGINE_BATCH_JOBS_MAX {
            if index == batch.len() {
                let Some(job) = more() else { break };
                batch.push(job);
            }
            let Some(job) = batch.get_mut(index) else { break };
            tx.dirty = false;
            if !job.run(&mut tx) && tx.dirty {
                drop(tx);
                txn.abort()?;
                return Ok(Attempt::Spoilt(index));
            }
            wrote |= tx.dirty;
            index += 1;
        }
        let (counters, touched, scratch) = tx.into_parts();
        if !wrote {
            txn.abort()?;
            self.scratch = scratch;
            return Ok(Attempt::Committed);
        }
        let durable = batch.iter().any(Job::durable);
        txn.set_durability(if durable { Durability::Immediate } else { Durability::None })
            .map_err(|error| StoreError::Database(error.to_string()))?;
        // Phones end processes by SIGKILL. Without the saved allocator state the next open reads the whole file.
        txn.set_quick_repair(durable);
        txn.commit()?;
        self.scratch = scratch;
        self.counters = counters;
        self.unflushed = !durable;
        if touched.log {
            self.log_watch.send_replace(counters.next_n.saturating_sub(1));
        }
        if touched.outbox {
            self.outbox_watch.send_replace(counters.next_n.saturating_sub(1));
        }
        Ok(Attempt::Committed)
    }

    /// Makes earlier soft commits durable.
    fn flush(&mut self) -> Result<()> {
        if !self.unflushed {
            return Ok(());
        }
        let mut txn = self.db.begin_write()?;
        txn.set_quick_repair(true);
        txn.commit()?;
        self.unflushed = false;
        Ok(())
    }

    fn run_thread(mut self, queue: &Receiver<Message>) {
        loop {
            let message = if self.unflushed {
                match queue.recv_timeout(SOFT_FLUSH) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => {
                        if let Err(error) = self.flush() {
                            tracing::error!(%error, "a flush failed");
                        }
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                let Ok(message) = queue.recv() else { break };
                message
            };
            let mut next = Some(message);
            while let Some(message) = next.take() {
                match message {
                    Message::Job(job, permit) => {
                        let mut held = vec![permit];
                        let held = &mut held;
                        let mut other = None;
                        self.run(vec![job], || match other.is_none().then(|| queue.try_recv().ok()).flatten() {
                            Some(Message::Job(job, permit)) => {
                                held.push(permit);
                                Some(job)
                            }
                            message => {
                                other = message.or(other.take());
                                None
                            }
                        });
                        next = other;
                    }
                    Message::Flush(reply) => drop(reply.send(self.flush())),
                    Message::Stop => {
                        if let Err(error) = self.flush() {
                            tracing::error!(%error, "the last flush failed");
                        }
                        return;
                    }
                }
            }
        }
    }
}

enum Attempt {
    Committed,
    Failed(StoreError),
    Spoilt(usize),
}

impl Engine {
    pub(super) fn start(writer: Writer, threading: Threading) -> Result<Self> {
        match threading {
            Threading::Inline => Ok(Self::Inline(Mutex::new(Some(writer)))),
            Threading::Thread => {
                // The permits bound the jobs, so the channel never blocks a sender; two places more for flush and stop.
                let (queue, messages) = sync_channel(ENGINE_QUEUE_MAX + 2);
                let thread = std::thread::Builder::new()
                    .name("hearth-engine".into())
                    .spawn(move || writer.run_thread(&messages))
                    .map_err(|error| StoreError::Database(format!("no thread for the engine: {error}")))?;
                let permits = Arc::new(Semaphore::new(ENGINE_QUEUE_MAX));
                Ok(Self::Thread { queue, permits, thread: Mutex::new(Some(thread)) })
            }
        }
    }

    pub(super) async fn write<T, E, F>(&self, work: F, durable: bool) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        let outcome = Outcome::default();
        let committed = self.submit(outcome.of(work), durable).await;
        outcome.after(committed)
    }

    /// Has a job done, and answers once its batch is committed.
    async fn submit(&self, work: Work, durable: bool) -> Result<()> {
        let (reply, mut answer) = oneshot::channel();
        let job = Job::new(work, durable, reply);
        match self {
            Self::Inline(writer) => {
                lock(writer).as_mut().ok_or(StoreError::Closed)?.run(vec![job], || None);
                answer.try_recv().unwrap_or(Err(StoreError::Closed))
            }
            Self::Thread { queue, permits, .. } => {
                let permit = permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
                queue.try_send(Message::Job(job, permit)).map_err(|_| StoreError::Closed)?;
                answer.await.map_err(|_| StoreError::Closed)?
            }
        }
    }

    pub(super) async fn flush(&self) -> Result<()> {
        match self {
            Self::Inline(writer) => lock(writer).as_mut().map_or(Err(StoreError::Closed), Writer::flush),
            Self::Thread { queue, .. } => {
                let (reply, answer) = oneshot::channel();
                queue.try_send(Message::Flush(reply)).map_err(|_| StoreError::Closed)?;
                answer.await.map_err(|_| StoreError::Closed)?
            }
        }
    }

    /// Ends the writer after what is queued, and returns once it is gone.
    pub(super) fn stop(&self) {
        match self {
            Self::Inline(writer) => {
                if let Some(mut writer) = lock(writer).take()
                    && let Err(error) = writer.flush()
                {
                    tracing::error!(%error, "the last flush failed");
                }
            }
            Self::Thread { queue, permits, thread } => {
                permits.close();
                // Fails only when the thread is gone already.
                drop(queue.send(Message::Stop));
                if let Some(thread) = lock(thread).take() {
                    drop(thread.join());
                }
            }
        }
    }

    /// Forgets the writer without a last flush, as a killed process does.
    pub(super) fn kill(&self) {
        match self {
            Self::Inline(writer) => drop(lock(writer).take()),
            Self::Thread { .. } => self.stop(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
