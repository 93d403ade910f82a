//! An input that outlives its call.

use bincode::{Decode, Encode};

use crate::id::{JobId, Link};
use crate::identity::Keys;
use crate::io::{Command, Input, JobSpec, JobStatus, Outcome, Record};
use crate::time::Span;
use crate::units::{Ppm, Tokens};
use crate::wire::message::{Consistency, KeyLink};

/// [`Input`] with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "each variant is that of `Input`")]
pub enum Heard {
    Start(Vec<(Vec<u8>, Vec<u8>)>),
    Frame { link: u32, bytes: Vec<u8> },
    Connected(u32),
    Disconnected(u32),
    Submit(Submitted),
    Rotate { first: [u8; 32], chain: Vec<KeyLink> },
    Leave,
    Finished { job: JobId, status: JobStatus, output: Vec<u8>, duration: Span },
    Wake,
}

/// [`JobSpec`] with texts of its own.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "each field is that of `JobSpec`")]
pub struct Submitted {
    pub job_type: String,
    pub command: String,
    pub requirements: Vec<String>,
    pub payment: Tokens,
    pub priority: Ppm,
    pub deadline: Span,
    pub max_attempts: u32,
    pub consistency: Consistency,
    pub private: bool,
}

impl Heard {
    /// A copy of an input.
    #[must_use]
    pub fn of(input: &Input<'_>) -> Heard {
        match *input {
            Input::Start(records) => {
                Heard::Start(records.iter().map(|record| (record.key.clone(), record.value.clone())).collect())
            }
            Input::Frame { link, bytes } => Heard::Frame { link: link.0, bytes: bytes.to_vec() },
            Input::Connected(link) => Heard::Connected(link.0),
            Input::Disconnected(link) => Heard::Disconnected(link.0),
            Input::Command(Command::Submit(spec)) => Heard::Submit(Submitted {
                job_type: spec.job_type.to_owned(),
                command: spec.command.to_owned(),
                requirements: spec.requirements.to_vec(),
                payment: spec.payment,
                priority: spec.priority,
                deadline: spec.deadline,
                max_attempts: spec.max_attempts,
                consistency: spec.consistency,
                private: spec.private,
            }),
            // Without the private half: the signatures are recorded.
            Input::Command(Command::Rotate(keys)) => {
                Heard::Rotate { first: *keys.genesis(), chain: keys.chain().to_vec() }
            }
            Input::Command(Command::Leave) => Heard::Leave,
            Input::Finished { job, outcome: Outcome { status, output, duration } } => {
                Heard::Finished { job, status, output: output.to_vec(), duration }
            }
            Input::Wake => Heard::Wake,
        }
    }

    /// Hands the input to `take`, as the node hears it.
    pub fn with<T>(&self, take: impl FnOnce(Input<'_>) -> T) -> T {
        match self {
            Heard::Start(records) => {
                let records: Vec<Record> =
                    records.iter().map(|(key, value)| Record { key: key.clone(), value: value.clone() }).collect();
                take(Input::Start(&records))
            }
            Heard::Frame { link, bytes } => take(Input::Frame { link: Link(*link), bytes }),
            Heard::Connected(link) => take(Input::Connected(Link(*link))),
            Heard::Disconnected(link) => take(Input::Disconnected(Link(*link))),
            Heard::Submit(spec) => take(Input::Command(Command::Submit(JobSpec {
                job_type: &spec.job_type,
                command: &spec.command,
                requirements: &spec.requirements,
                payment: spec.payment,
                priority: spec.priority,
                deadline: spec.deadline,
                max_attempts: spec.max_attempts,
                consistency: spec.consistency,
                private: spec.private,
            }))),
            Heard::Rotate { first, chain } => {
                take(Input::Command(Command::Rotate(&Keys::without_secret(*first, chain.clone()))))
            }
            Heard::Leave => take(Input::Command(Command::Leave)),
            Heard::Finished { job, status, output, duration } => {
                take(Input::Finished { job: *job, outcome: Outcome { status: *status, output, duration: *duration } })
            }
            Heard::Wake => take(Input::Wake),
        }
    }

    /// In a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Heard::Start(records) => format!("its start with {} records", records.len()),
            Heard::Frame { link, bytes } => format!("a frame of {} bytes on link {link}", bytes.len()),
            Heard::Connected(link) => format!("link {link} up"),
            Heard::Disconnected(link) => format!("link {link} down"),
            Heard::Submit(spec) => format!("a job of type {}", spec.job_type),
            Heard::Rotate { chain, .. } => format!("the order to use its key number {}", chain.len() + 1),
            Heard::Leave => "the order to leave".to_owned(),
            Heard::Finished { job, .. } => format!("the end of {job}"),
            Heard::Wake => "its deadline".to_owned(),
        }
    }
}
