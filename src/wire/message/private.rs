//! What is one reader's business alone: jobs whose command and output are their submitter's and executor's (protocol.md, section 11),
//! and all that nodes with `encryption` say to one member.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::JobBody;
use crate::id::JobId;
use crate::wire::binary;

/// What a private job's broadcast says in place of its command, before the commitment in hex. It stands there and not in a field of
/// its own, which every other job would pay for.
const PREFIX: &str = "private/1:";

/// The command of a private job, as submitter, executor and backup know it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PrivateCommand {
    /// Drawn for this job: without it, who guesses a command could see in the commitment whether the guess is right.
    pub salt: [u8; 32],
    /// In the job type's own terms.
    pub command: String,
}

/// The command of a private job, sealed for one reader: its executor or its backup.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedCommand {
    /// The job.
    pub job_id: JobId,
    /// A [`PrivateCommand`], in a box between submitter and reader (see `identity::seal`).
    #[serde(with = "crate::wire::json::base64_bytes")]
    pub sealed: Vec<u8>,
}

/// What the sender says to one member: a bundle, sealed. Compressed it is not: sizes would tell of what is inside.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedBundle {
    /// A bundle of the binary codec without a [`SealedBundle`] in it, in a box between sender and recipient.
    #[serde(with = "crate::wire::json::base64_bytes")]
    pub sealed: Vec<u8>,
}

impl PrivateCommand {
    /// What the job's broadcast says in place of the command: nobody can run another under its id.
    #[must_use]
    pub fn commitment(&self) -> String {
        let hash = Sha256::new()
            .chain_update(b"marlos/private-command/1\0")
            .chain_update(self.salt)
            .chain_update(self.command.as_bytes())
            .finalize();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{PREFIX}{hex}")
    }

    /// As it is sealed.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        binary::encode_into(self, &mut bytes);
        bytes
    }
}

/// Whether a command is a commitment to another.
#[must_use]
pub fn is_commitment(command: &str) -> bool {
    command.strip_prefix(PREFIX).is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl JobBody {
    /// Whether its command is only committed to, and its output sealed.
    #[must_use]
    pub fn is_private(&self) -> bool {
        is_commitment(&self.command)
    }
}
