//! Results of local jobs: kept for whoever asks later, also after a restart.
//!
//! The node lets go of an own job with the commit in which it tells its end. The result is remembered in the same commit, so
//! that it cannot fall between the two: a job that was acknowledged is open, or its end can be asked for.

use std::collections::{BTreeMap, VecDeque};

use super::text::name_of;
use crate::id::{JobId, NodeId};
use crate::io::{Action, Event, JobStatus, Outbox, Record};
use crate::wire::binary;

/// Finished local jobs whose output is kept.
const KEPT_JOBS: usize = 1_000;
/// Bytes of output that are kept.
const KEPT_BYTES: usize = 64 * 1024 * 1024;
/// First byte of the driver's own keys in the store, which the node does not use.
const KEY: u8 = 0xff;

/// How a local job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Who ran it; nobody where it ended without a result.
    pub executor: Option<NodeId>,
    /// How it ended.
    pub end: Result<JobStatus, String>,
    /// What it printed.
    pub output: Vec<u8>,
}

/// As it is stored.
#[derive(bincode::Encode, bincode::Decode)]
struct Stored {
    /// Orders what is kept by age.
    number: u64,
    executor: Option<[u8; 16]>,
    status: Option<JobStatus>,
    reason: String,
    output: Vec<u8>,
}

/// The newest results, within their number and their bytes.
#[derive(Debug, Default)]
pub struct Results {
    kept: BTreeMap<JobId, Kept>,
    order: VecDeque<JobId>,
    bytes: usize,
    /// The number of the next one.
    next: u64,
    /// Let go of, and yet to be forgotten by the store.
    gone: Vec<JobId>,
}

impl Results {
    /// Takes out of what the store remembers what was kept there.
    #[must_use]
    pub fn recall(records: &mut Vec<Record>) -> Results {
        let mut found = Vec::new();
        for Record { key, value } in records.extract_if(.., |record| record.key.first() == Some(&KEY)) {
            let job = key.get(1..).and_then(|id| id.try_into().ok()).map(JobId);
            // What the store verified and cannot be read is of another version.
            if let (Some(job), Ok(stored)) = (job, binary::decode::<Stored>(&value)) {
                found.push((job, stored));
            }
        }
        found.sort_by_key(|(_, stored)| stored.number);
        let mut results = Results::default();
        for (job, stored) in found {
            results.next = stored.number + 1;
            let end = stored.status.ok_or(stored.reason);
            results.keep(job, Kept { executor: stored.executor.map(NodeId), end, output: stored.output });
        }
        results
    }

    /// Has the ends of jobs that these actions tell remembered with them, and what was let go of forgotten.
    pub fn remember(&mut self, outbox: &mut Outbox) {
        for at in 0..outbox.actions.len() {
            let Action::Report(event) = &outbox.actions[at] else { continue };
            let Some((job, Kept { executor, end, output })) = end_told(event, outbox) else { continue };
            let (status, reason) = match end {
                Ok(status) => (Some(status), String::new()),
                Err(reason) => (None, reason),
            };
            let stored = Stored { number: self.next, executor: executor.map(|id| id.0), status, reason, output };
            self.next += 1;
            let key = outbox.put(&key_of(job));
            let start = outbox.at();
            binary::encode_into(&stored, &mut outbox.bytes);
            let value = start..outbox.at();
            outbox.actions.push(Action::Persist { key, value });
        }
        for job in self.gone.drain(..) {
            let key = outbox.put(&key_of(job));
            outbox.actions.push(Action::Forget { key });
        }
    }

    /// Keeps what an event tells, if it tells an end.
    pub fn on_event(&mut self, event: &Event, outbox: &Outbox) {
        if let Some((job, kept)) = end_told(event, outbox) {
            self.keep(job, kept);
        }
    }

    /// Keeps a result, and lets go of the oldest where there are too many.
    fn keep(&mut self, job: JobId, kept: Kept) {
        self.bytes += kept.output.len();
        if let Some(before) = self.kept.insert(job, kept) {
            self.bytes -= before.output.len();
        } else {
            self.order.push_back(job);
        }
        while self.order.len() > KEPT_JOBS || (self.bytes > KEPT_BYTES && self.order.len() > 1) {
            let oldest = self.order.pop_front().expect("it was not empty");
            let gone = self.kept.remove(&oldest).expect("every ordered job is kept");
            self.bytes -= gone.output.len();
            self.gone.push(oldest);
        }
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, job: JobId) -> Option<&Kept> {
        self.kept.get(&job)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (JobId, &Kept)> {
        self.kept.iter().map(|(job, kept)| (*job, kept))
    }
}

fn key_of(job: JobId) -> [u8; 17] {
    let mut key = [KEY; 17];
    key[1..].copy_from_slice(&job.0);
    key
}

fn end_told(event: &Event, outbox: &Outbox) -> Option<(JobId, Kept)> {
    match event {
        Event::JobCompleted { job, executor, status, output } => {
            let output = outbox.slice(output).to_vec();
            Some((*job, Kept { executor: Some(*executor), end: Ok(*status), output }))
        }
        Event::JobFailed { job, reason } => {
            Some((*job, Kept { executor: None, end: Err(name_of(reason)), output: Vec::new() }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::FailReason;

    fn job(n: u32) -> JobId {
        JobId(std::array::from_fn(|i| if i < 4 { n.to_be_bytes()[i] } else { 0 }))
    }

    #[test]
    fn results_are_kept_within_number_and_bytes_oldest_gone_first() {
        let mut results = Results::default();
        let kept = |bytes: usize| Kept { executor: None, end: Ok(JobStatus::Success), output: vec![0; bytes] };
        for n in 0..1_005 {
            results.keep(job(n), kept(1));
        }
        assert_eq!((results.kept.len(), results.bytes), (1_000, 1_000));
        assert!(results.get(job(4)).is_none() && results.get(job(5)).is_some());
        results.keep(job(2_000), kept(KEPT_BYTES));
        assert_eq!((results.kept.len(), results.bytes), (1, KEPT_BYTES));
    }

    #[test]
    fn an_end_is_remembered_with_the_actions_that_tell_it_and_found_again_in_order() {
        let mut outbox = Outbox::default();
        let output = outbox.put(b"hello");
        // In the order of their ids the second comes first.
        let completed =
            Event::JobCompleted { job: job(9), executor: NodeId([3; 16]), status: JobStatus::Failure, output };
        outbox.report(completed);
        outbox.report(Event::Pinged);
        outbox.report(Event::JobFailed { job: job(1), reason: FailReason::NoBids });
        let mut results = Results::default();
        results.remember(&mut outbox);
        assert_eq!(outbox.actions.len(), 5);
        assert!(results.get(job(9)).is_none(), "it is told once it is durable");
        for action in outbox.actions.clone() {
            if let Action::Report(event) = action {
                results.on_event(&event, &outbox);
            }
        }

        let mut records = vec![Record { key: b"i".to_vec(), value: vec![1] }];
        for action in &outbox.actions {
            if let Action::Persist { key, value } = action {
                let (key, value) = (outbox.slice(key).to_vec(), outbox.slice(value).to_vec());
                records.push(Record { key, value });
            }
        }
        let again = Results::recall(&mut records);
        assert_eq!(records.len(), 1, "the node gets its own records only");
        assert_eq!(again.kept, results.kept);
        assert_eq!(again.order, [job(9), job(1)]);
        assert_eq!(again.get(job(9)).unwrap().output, b"hello");
        assert_eq!(again.next, 2);
    }

    #[test]
    fn what_is_let_go_of_is_forgotten_by_the_store_too() {
        let mut results = Results::default();
        for n in 0..=KEPT_JOBS as u32 {
            results.keep(job(n), Kept { executor: None, end: Err("no_bids".into()), output: Vec::new() });
        }
        let mut outbox = Outbox::default();
        results.remember(&mut outbox);
        let [Action::Forget { key }] = &outbox.actions[..] else { panic!("{:?}", outbox.actions) };
        assert_eq!(outbox.slice(key), key_of(job(0)));
    }
}
