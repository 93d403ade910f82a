//! What a node said to one input: for each action its kind and a digest of all of it.

use std::fmt;

use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::io::{Action, Event, Outbox};
use crate::wire::MsgType;

/// One action, shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Said {
    /// The kind: a number of `KINDS`.
    pub kind: u8,
    /// Of what is sent, the type of message; else nothing.
    pub message: u8,
    /// The first four bytes of the SHA-256 of the action.
    pub digest: u32,
}

/// The kinds of actions, as they are named to people.
const KINDS: [&str; 9] =
    ["persists", "forgets", "sends", "connects", "reaches", "disconnects", "executes", "cancels", "reports"];

/// The actions of an outbox from number `from` on.
#[must_use]
pub fn of(outbox: &Outbox, from: usize) -> Vec<Said> {
    outbox.actions[from..].iter().map(|action| said(action, outbox)).collect()
}

fn said(action: &Action, outbox: &Outbox) -> Said {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let (kind, message) = match action {
        Action::Persist { key, value } => {
            put(outbox.slice(key));
            put(outbox.slice(value));
            (0, 0)
        }
        Action::Forget { key } => {
            put(outbox.slice(key));
            (1, 0)
        }
        Action::Send { to, kind, frame } => {
            put(format!("{to:?}").as_bytes());
            put(outbox.slice(frame));
            (2, *kind as u8)
        }
        Action::Connect { link, endpoint } => {
            put(&link.0.to_le_bytes());
            put(outbox.slice(endpoint));
            (3, 0)
        }
        Action::Reach { link, endpoint } => {
            put(&link.0.to_le_bytes());
            put(outbox.slice(endpoint));
            (4, 0)
        }
        Action::Disconnect(link) => {
            put(&link.0.to_le_bytes());
            (5, 0)
        }
        Action::Execute { job, job_type, command, deadline } => {
            put(&job.0);
            put(outbox.slice(job_type));
            put(outbox.slice(command));
            put(&deadline.0.to_le_bytes());
            (6, 0)
        }
        Action::Cancel(job) => {
            put(&job.0);
            (7, 0)
        }
        Action::Report(event) => {
            put(report(event, outbox).as_bytes());
            (8, 0)
        }
    };
    let digest = hash.finalize();
    Said { kind, message, digest: u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) }
}

/// An event without where its bytes lie, as that depends on what else the driver's outbox holds; with the bytes instead.
fn report(event: &Event, outbox: &Outbox) -> String {
    let mut event = event.clone();
    let (Event::Certified { certificate: range, .. }
    | Event::JobCompleted { output: range, .. }
    | Event::TransactionCertified { certificate: range, .. }
    | Event::ConflictingTransactions { records: range, .. }) = &mut event
    else {
        return format!("{event:?}");
    };
    let bytes = outbox.slice(&std::mem::take(range));
    format!("{event:?} {bytes:?}")
}

/// Adds what was said to one input to a hash of everything that was.
pub fn hash_into(hash: &mut Sha256, said: &[Said]) {
    hash.update((said.len() as u64).to_le_bytes());
    for Said { kind, message, digest } in said {
        hash.update([*kind, *message]);
        hash.update(digest.to_le_bytes());
    }
}

/// An action in words, for whoever looks for a difference.
#[must_use]
pub fn describe(action: &Action, outbox: &Outbox) -> String {
    match action {
        Action::Report(event) => format!("reports {event:?}"),
        Action::Persist { key, value } => {
            format!("persists {} bytes under {:02x?}", outbox.slice(value).len(), outbox.slice(key))
        }
        Action::Send { to, kind, frame } => {
            format!("sends {} to {to:?}, {} bytes", kind.name(), outbox.slice(frame).len())
        }
        Action::Forget { .. }
        | Action::Connect { .. }
        | Action::Reach { .. }
        | Action::Disconnect(_)
        | Action::Execute { .. }
        | Action::Cancel(_) => said(action, outbox).to_string(),
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KINDS.get(usize::from(self.kind)).unwrap_or(&"does something unknown"))?;
        if let Some(message) = MsgType::from_number(self.message) {
            write!(f, " {}", message.name())?;
        }
        write!(f, " ({:08x})", self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;
    use crate::id::NodeId;
    use crate::io::JobStatus;

    #[test]
    fn where_bytes_lie_in_the_outbox_does_not_matter_and_what_they_are_does() {
        let completed = |before: &[u8], output: &[u8]| {
            let mut outbox = Outbox::default();
            outbox.put(before);
            let output = outbox.put(output);
            let (job, executor, status) = (JobId([1; 16]), NodeId([2; 16]), JobStatus::Success);
            outbox.report(Event::JobCompleted { job, executor, status, output });
            of(&outbox, 0)
        };
        assert_eq!(completed(b"", b"42"), completed(b"other calls", b"42"));
        assert_ne!(completed(b"", b"42"), completed(b"", b"43"));
        assert!(completed(b"", b"42")[0].to_string().starts_with("reports ("));
    }
}
