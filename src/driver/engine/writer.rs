//! Group commit: what the node said while the last commit was under way is remembered in one commit, and done after it.
//!
//! The loop never waits for the disk. It gathers what follows from its inputs in a [`Batch`]; whenever the store is free, the
//! batch goes there as one transaction, and comes back when it is durable. Only then is anything in it done, in its order:
//! the slower the disk, the larger the batches, and nothing is ever sent that could be forgotten.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::driver::api::Answer;
use crate::driver::store::{Change, Store};
use crate::id::JobId;
use crate::io::{Action, Outbox};

/// Actions and bytes that are gathered at most; with more, the loop hears nothing until the store is free.
const ACTIONS: usize = 8_192;
const BYTES: usize = 16 * 1024 * 1024;
/// Forgets that may wait for the next commit; they need not be durable.
const FORGETS: usize = 1_024;
/// A commit that takes longer is worth a line in the log: others begin to doubt a node that is silent for seconds.
const SLOW: Duration = Duration::from_secs(1);
/// Emptied batches that are kept for their room: one under way, one being gathered.
const SPARE: usize = 2;

/// What the node said in some calls, one after the other, and who waits until it is done.
#[derive(Debug, Default)]
pub struct Batch {
    /// What to do.
    pub outbox: Outbox,
    /// Answers of local programs that are true once everything is done.
    pub answers: Vec<(oneshot::Sender<Answer>, Answer)>,
}

impl Batch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outbox.actions.is_empty() && self.answers.is_empty()
    }

    /// Whether it holds as much as may wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.outbox.actions.len() >= ACTIONS || self.outbox.bytes.len() >= BYTES
    }

    /// Whether this execution is to be stopped, or to be stopped and begun anew.
    #[must_use]
    pub fn cancels(&self, job: JobId) -> bool {
        self.outbox.actions.iter().any(|action| matches!(action, Action::Cancel(cancelled) if *cancelled == job))
    }

    fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.outbox.actions.iter().filter_map(|action| match action {
            Action::Persist { key, value } => {
                Some(Change::Persist { key: self.outbox.slice(key), value: self.outbox.slice(value) })
            }
            Action::Forget { key } => Some(Change::Forget { key: self.outbox.slice(key) }),
            Action::Send { .. }
            | Action::Connect { .. }
            | Action::Reach { .. }
            | Action::Disconnect(_)
            | Action::Execute { .. }
            | Action::Cancel(_)
            | Action::Report(_) => None,
        })
    }

    fn clear(&mut self) {
        self.outbox.clear();
        self.answers.clear();
    }
}

/// The store, or the task that writes with it.
#[derive(Debug)]
pub struct Writer {
    hand: Hand,
    forgets: Vec<Vec<u8>>,
    spare: Vec<Batch>,
}

#[derive(Debug)]
enum Hand {
    Free(Box<Store>),
    Writing(JoinHandle<Written>),
    /// The store failed: nothing more is done.
    Broken,
}

#[derive(Debug)]
struct Written {
    store: Box<Store>,
    batch: Batch,
    end: Result<(), String>,
}

impl Writer {
    /// A writer that is free.
    #[must_use]
    pub fn new(store: Store) -> Writer {
        Writer { hand: Hand::Free(Box::new(store)), forgets: Vec::new(), spare: Vec::new() }
    }

    /// Whether a batch can be handed over.
    #[must_use]
    pub fn is_free(&self) -> bool {
        matches!(self.hand, Hand::Free(_))
    }

    /// Takes a batch and begins to write. One that has nothing to be remembered comes back at once: it may be done now.
    ///
    /// # Panics
    /// The writer is not free.
    pub fn hand_over(&mut self, batch: Batch) -> Option<Batch> {
        let mut must = false;
        for change in batch.changes() {
            match change {
                Change::Persist { .. } => must = true,
                Change::Forget { key } => self.forgets.push(key.to_vec()),
            }
        }
        if must {
            // In the batch they stand in their order among the rest.
            let forgets = batch.changes().filter(|change| matches!(change, Change::Forget { .. })).count();
            self.forgets.truncate(self.forgets.len() - forgets);
        } else if self.forgets.len() <= FORGETS {
            return Some(batch);
        }
        self.write(batch);
        None
    }

    fn write(&mut self, batch: Batch) {
        let Hand::Free(mut store) = std::mem::replace(&mut self.hand, Hand::Broken) else {
            panic!("a batch is handed over to a writer that is free")
        };
        let forgets = std::mem::take(&mut self.forgets);
        self.hand = Hand::Writing(tokio::task::spawn_blocking(move || {
            let before = forgets.iter().map(|key| Change::Forget { key });
            let since = Instant::now();
            let end = store.commit(before.chain(batch.changes()));
            let took = since.elapsed();
            if took > SLOW {
                // Everything that this node has to say waited for it.
                tracing::warn!(?took, "the disk is slow");
            }
            Written { store, batch, end }
        }));
    }

    /// Waits until the batch that was handed over is durable, and gives it back to be done. Never, where there is none.
    ///
    /// # Errors
    /// It could not be written. Nothing of it may be done, and nothing after it.
    pub async fn written(&mut self) -> Result<Batch, String> {
        let Hand::Writing(task) = &mut self.hand else { return std::future::pending().await };
        let end = task.await;
        self.hand = Hand::Broken;
        let Written { store, batch, end } = end.map_err(|e| format!("the task that writes the state ended: {e}"))?;
        end?;
        self.hand = Hand::Free(store);
        Ok(batch)
    }

    /// Writes what was only to be forgotten.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn finish(&mut self) -> Result<(), String> {
        if self.is_free() && !self.forgets.is_empty() {
            self.write(Batch::default());
            self.written().await?;
        }
        Ok(())
    }

    /// An empty batch.
    pub fn spare(&mut self) -> Batch {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps the room of a batch that is done.
    pub fn reuse(&mut self, mut batch: Batch) {
        batch.clear();
        if self.spare.len() < SPARE {
            self.spare.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::io::Event;

    const ME: NodeId = NodeId([1; 16]);

    fn batch(persists: &[(&[u8], &[u8])], forgets: &[&[u8]]) -> Batch {
        let mut batch = Batch::default();
        let out = &mut batch.outbox;
        for (key, value) in persists {
            let (key, value) = (out.put(key), out.put(value));
            out.actions.push(Action::Persist { key, value });
        }
        for key in forgets {
            let key = out.put(key);
            out.actions.push(Action::Forget { key });
        }
        out.report(Event::Pinged);
        batch
    }

    fn keys(data: &std::path::Path) -> Vec<Vec<u8>> {
        Store::open(data, ME).unwrap().1.into_iter().map(|record| record.key).collect()
    }

    #[tokio::test]
    async fn a_batch_with_a_promise_comes_back_once_it_is_durable_and_one_without_at_once() {
        let data = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(Store::open(data.path(), ME).unwrap().0);
        assert!(writer.hand_over(batch(&[], &[])).is_some() && writer.is_free());
        assert!(writer.hand_over(batch(&[(b"a", b"1"), (b"b", b"2")], &[b"a"])).is_none());
        assert!(!writer.is_free());
        let done = writer.written().await.unwrap();
        assert_eq!(done.outbox.actions.len(), 4, "it comes back whole");
        // As if the process were killed before anything of the batch is done.
        assert!(writer.is_free());
        drop(writer);
        assert_eq!(keys(data.path()), [b"b"]);
    }

    #[tokio::test]
    async fn what_is_only_forgotten_waits_for_the_next_commit_and_never_outruns_a_promise() {
        let data = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(Store::open(data.path(), ME).unwrap().0);
        assert!(writer.hand_over(batch(&[(b"a", b"1"), (b"b", b"1")], &[])).is_none());
        writer.written().await.unwrap();
        assert!(writer.hand_over(batch(&[], &[b"a", b"b"])).is_some());
        // Remembered again after it was to be forgotten.
        assert!(writer.hand_over(batch(&[(b"b", b"2")], &[b"c"])).is_none());
        writer.written().await.unwrap();
        assert!(writer.hand_over(batch(&[], &[b"b"])).is_some());
        writer.finish().await.unwrap();
        let Hand::Free(store) = &writer.hand else { panic!("it is free") };
        assert_eq!(store.commits(), 3);
        drop(writer);
        assert_eq!(keys(data.path()), Vec::<Vec<u8>>::new());
    }

    #[tokio::test]
    async fn many_forgets_are_written_by_themselves() {
        let data = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(Store::open(data.path(), ME).unwrap().0);
        let (mut handed, mut written) = (0, 0);
        while written == 0 {
            handed += 1;
            if writer.hand_over(batch(&[], &[b"k"])).is_none() {
                writer.written().await.unwrap();
                written += 1;
            }
        }
        assert_eq!(handed, FORGETS + 1);
        assert!(writer.forgets.is_empty());
    }
}
