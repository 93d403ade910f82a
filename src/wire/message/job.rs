//! A job, from its broadcast to the last piece of its output (protocol.md, sections 6, 7 and 10).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{MAX_ATTEMPTS, MAX_REQUIREMENTS, is_capability};
use crate::id::{JobId, NodeId};
use crate::io::JobStatus;
use crate::time::{Span, WallTime};
use crate::units::{Ppm, Tokens};
use crate::wire::binary;

/// A job, offered to all. Its id is the hash of submitter, counter and the encoded body.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(into = "JobFields", try_from = "JobFields")]
pub struct JobBroadcast {
    /// Counts the jobs of the submitter, over restarts.
    pub counter: u64,
    /// Who submits; only it may broadcast.
    pub submitter: NodeId,
    /// What is to be run.
    pub body: JobBody,
}

/// What a job is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct JobBody {
    /// Which capability it needs.
    pub job_type: String,
    /// In the job type's own terms.
    pub command: String,
    /// Between 0 and 1.
    pub priority: Ppm,
    /// When it was submitted, by the submitter's synchronised clock.
    pub submitted: WallTime,
    /// When it is of no use any more.
    pub deadline: WallTime,
    /// What is offered.
    pub payment: Tokens,
    /// Further capabilities; at most 16.
    pub requirements: Vec<String>,
    /// What a claim needs.
    pub consistency: Consistency,
    /// How often it is run at most, where running it fails; at least 1.
    pub max_attempts: u32,
}

impl JobBody {
    pub(super) fn within_limits(&self) -> bool {
        is_capability(&self.job_type)
            && self.requirements.len() <= MAX_REQUIREMENTS
            && self.requirements.iter().all(|requirement| is_capability(requirement))
            && self.priority <= Ppm::ONE
            && (1..=MAX_ATTEMPTS).contains(&self.max_attempts)
    }
}

/// A job as the document writes it: flat, and with its id, which is checked when it is read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobFields {
    job_id: JobId,
    job_type: String,
    command: String,
    priority: Ppm,
    submitted: WallTime,
    deadline: WallTime,
    payment: Tokens,
    requirements: Vec<String>,
    consistency: Consistency,
    max_attempts: u32,
    submitter: NodeId,
    counter: u64,
}

impl From<JobBroadcast> for JobFields {
    fn from(job: JobBroadcast) -> JobFields {
        let mut encoded = Vec::new();
        binary::encode_into(&job.body, &mut encoded);
        let JobBroadcast { counter, submitter, body } = job;
        let job_id = JobId::of_job(submitter, counter, &encoded);
        let JobBody { job_type, command, priority, submitted, deadline, payment, requirements, .. } = body;
        let JobBody { consistency, max_attempts, .. } = body;
        JobFields {
            job_id,
            job_type,
            command,
            priority,
            submitted,
            deadline,
            payment,
            requirements,
            consistency,
            max_attempts,
            submitter,
            counter,
        }
    }
}

impl TryFrom<JobFields> for JobBroadcast {
    type Error = String;

    fn try_from(fields: JobFields) -> Result<JobBroadcast, String> {
        let JobFields { job_id, submitter, counter, .. } = fields;
        let JobFields { job_type, command, priority, submitted, deadline, payment, requirements, .. } = fields;
        let JobFields { consistency, max_attempts, .. } = fields;
        let body = JobBody {
            job_type,
            command,
            priority,
            submitted,
            deadline,
            payment,
            requirements,
            consistency,
            max_attempts,
        };
        let mut encoded = Vec::new();
        binary::encode_into(&body, &mut encoded);
        let expected = JobId::of_job(submitter, counter, &encoded);
        if job_id != expected {
            return Err(format!("the job's id is {expected}, not {job_id}"));
        }
        Ok(JobBroadcast { counter, submitter, body })
    }
}

/// What a claim needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// A quorum of all known members.
    #[default]
    Quorum,
    /// A quorum of all where one can be reached, and else of those that can: such a claim is provisional (protocol.md, section 10).
    Available,
}

/// "I am still running it", to submitter and backup.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobHeartbeat {
    /// The job.
    pub job_id: JobId,
    /// The round of the claim.
    pub round: u32,
    /// Between 0 and 1, as far as the executor knows.
    pub progress: Ppm,
}

/// How a job ended: to the submitter with output, to backup and coordinator without.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobResult {
    /// The job.
    pub job_id: JobId,
    /// The round of the claim under which it ran.
    pub round: u32,
    /// How it ended.
    pub status: JobStatus,
    /// The beginning of what it printed: at most [`OUTPUT_CHUNK`](super::OUTPUT_CHUNK) bytes.
    #[serde(with = "crate::wire::json::base64_bytes")]
    pub output: Vec<u8>,
    /// How many bytes of output there are; those that are missing here are asked for with OUTPUT_REQUEST.
    pub output_bytes: u32,
    /// Whether the output was longer than `max_output_bytes`, so that its end is lost.
    pub truncated: bool,
    /// How long it ran.
    #[serde(with = "crate::units::seconds")]
    pub duration: Span,
}

/// The submitter's word, to all: the claim of this round brings no result any more, so the job may be claimed in a later one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseLapsed {
    /// The job.
    pub job_id: JobId,
    /// The round of the claim.
    pub round: u32,
}

/// "Send me the output from here on."
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputRequest {
    /// The job.
    pub job_id: JobId,
    /// Where to begin, in bytes.
    pub offset: u32,
}

/// A piece of a job's output.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputChunk {
    /// The job.
    pub job_id: JobId,
    /// The round of the claim under which it ran.
    pub round: u32,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// At most [`OUTPUT_CHUNK`](super::OUTPUT_CHUNK) bytes.
    #[serde(with = "crate::wire::json::base64_bytes")]
    pub bytes: Vec<u8>,
}

/// "I could not hear everyone: tell me what is still open of what you said", to all. Each answers for itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateRequest {
    /// Since when; zero asks for everything.
    pub since: WallTime,
}
