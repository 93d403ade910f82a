//! Everything a node can hear and say, on one screen. Both drivers speak exactly this.

use std::ops::Range;
use std::sync::Arc;

use crate::id::{JobId, Link, NodeId, PeerIdx, TxId};
use crate::identity::Keys;
use crate::time::Span;
use crate::units::{Ppm, Tokens};
use crate::wire::MsgType;
use crate::wire::message::{Announce, Consistency};

/// What reaches the node.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each variant's line says what its fields are")]
pub enum Input<'a> {
    /// The process starts, with what the store remembers. Always the first input.
    Start(&'a [Record]),
    /// A frame came in, without its topic.
    Frame { link: Link, bytes: &'a [u8] },
    /// What [`Action::Connect`] asked for is up: what the peer publishes from now on arrives. Or what [`Action::Reach`] asked
    /// for: what we publish from now on reaches it.
    Connected(Link),
    /// It broke. The driver goes on trying until [`Action::Disconnect`].
    Disconnected(Link),
    /// The operator, or a local program, asks for something.
    Command(Command<'a>),
    /// An execution ended by itself.
    Finished { job: JobId, outcome: Outcome<'a> },
    /// `next_deadline` has come, or might have: spurious wakes are harmless.
    Wake,
}

/// What an operator or a local program asks for.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// Auction this job. Answered in the same call by [`Event::JobSubmitted`] or [`Event::SubmitRefused`].
    Submit(JobSpec<'a>),
    /// From now on speak with these keys: the same identity with one key more, durable already. Who missed it learns it from the
    /// node's records.
    Rotate(&'a Keys),
    /// Say goodbye to all; the driver stops the process afterwards.
    Leave,
}

/// A job as its submitter describes it.
#[derive(Clone, Copy, Debug)]
pub struct JobSpec<'a> {
    /// `"shell"`, `"simulated"`, ...: only nodes with this capability bid.
    pub job_type: &'a str,
    /// What to run, in the job type's own terms.
    pub command: &'a str,
    /// Further capabilities that a bidder must have.
    pub requirements: &'a [String],
    /// What the submitter offers.
    pub payment: Tokens,
    /// Between 0 and 1.
    pub priority: Ppm,
    /// From now; past it the job fails visibly.
    pub deadline: Span,
    /// How often it is run at most, where running it fails: 1 to 100.
    pub max_attempts: u32,
    /// What a claim of it needs.
    pub consistency: Consistency,
    /// Whether only executor and backup shall see the command, and only the submitter the output.
    pub private: bool,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Success or failure.
    pub status: JobStatus,
    /// What it printed, cut to `max_output_bytes` by the driver or by the node.
    pub output: &'a [u8],
    /// How long it ran.
    pub duration: Span,
}

/// How a job ended, as its result says.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// It ran and exited with zero.
    Success,
    /// It ran and did not.
    Failure,
}

/// One thing the store remembers: the newest value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key: a kind byte and what it is about.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// What the driver must do, in this order. Ranges point into the [`Outbox`]'s bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant's line says what its fields are")]
pub enum Action {
    /// Remember `value` under `key`, durably, before any later `Send`.
    Persist { key: Range<u32>, value: Range<u32> },
    /// Forget `key`; need not be durable.
    Forget { key: Range<u32> },
    /// Publish this frame. A broadcast is one action: the network fans it out.
    Send { to: To, kind: MsgType, frame: Range<u32> },
    /// Subscribe to the publisher at this endpoint, and keep trying; its frames come in on `link`.
    Connect { link: Link, endpoint: Range<u32> },
    /// Connect our publisher to the SUB socket at this endpoint, and keep trying, so that a peer that does not know us yet hears us.
    Reach { link: Link, endpoint: Range<u32> },
    /// Drop what `Connect` or `Reach` built under this number.
    Disconnect(Link),
    /// Run this job and answer with [`Input::Finished`]. `deadline` bounds the run.
    Execute { job: JobId, job_type: Range<u32>, command: Range<u32>, deadline: Span },
    /// Stop this execution, really; no `Finished` follows.
    Cancel(JobId),
    /// What happened: the only source of metrics, logs, KPIs and traces.
    Report(Event),
}

/// Whom a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Topic `*`: every subscriber.
    All,
    /// Topic `@` and the id: one subscriber.
    One(PeerIdx),
    /// A UDP datagram to the multicast group and to the bootstrap hosts.
    Beacon,
}

/// What a node reports of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant's line says what its fields are")]
pub enum Event {
    /// The node runs, as this incarnation.
    Started { incarnation: u32 },
    /// A frame passed every check of admission. `one_way` is by the stamps of both clocks, zero where they disagree.
    Accepted { from: PeerIdx, kind: MsgType, one_way: Span },
    /// A frame, or a statement in it, was refused; nothing else changed.
    Refused { link: Link, from: Option<PeerIdx>, reason: Refusal },
    /// A member became known for the first time.
    PeerDiscovered { peer: PeerIdx },
    /// The store remembers a member: it counts, though nothing was heard of it in this life.
    PeerRecalled { peer: PeerIdx },
    /// The liveness of a member changed.
    PeerState { peer: PeerIdx, state: PeerState },
    /// A sender broke the rate limit and is refused for `blacklist_duration`.
    Blacklisted { peer: PeerIdx },
    /// A member gets no work from this node but trials any more, for what this node saw of it or what is proven.
    Quarantined { peer: PeerIdx },
    /// Its trials went well, or its proven misbehaviour is long ago: its bids are accepted again.
    Released { peer: PeerIdx },
    /// Evidence against a member holds. Against the node itself (peer 0): another process speaks with its key.
    Proven { peer: PeerIdx },
    /// A member, or the node itself (peer 0), has another key: its rotation of this number was accepted.
    KeyRotated { peer: PeerIdx, sequence: u32 },
    /// A quorum has shown that it knows this node's present key: the one before is of no use any more.
    KeyKnown { sequence: u32 },
    /// A heartbeat was broadcast.
    Pinged,
    /// Too few members are reachable: jobs are kept, claims wait.
    Degraded { reachable: u32, quorum: u32 },
    /// Enough members are reachable again.
    Recovered { reachable: u32, quorum: u32 },
    /// A local job was accepted and broadcast.
    JobSubmitted { job: JobId },
    /// A local job was not accepted.
    SubmitRefused { reason: SubmitRefusal },
    /// A job of another node became known.
    JobSeen { job: JobId, submitter: PeerIdx },
    /// As coordinator, this node closed the auction of a round.
    AuctionClosed { job: JobId, round: u32, winner: NodeId, backup: Option<NodeId>, bids: u32 },
    /// As coordinator, this node had nobody to name.
    AuctionEmpty { job: JobId, round: u32 },
    /// This node voted. It was persisted before.
    Voted { job: JobId, round: u32, winner: NodeId },
    /// This node won: it holds a certificate, in these bytes of the outbox (see `quorum::Certificate`).
    Certified { job: JobId, round: u32, votes: u32, members: u32, certificate: Range<u32> },
    /// This node learned who runs a job.
    ClaimLearned { job: JobId, round: u32, claimer: NodeId },
    /// A claim brings no result any more, in this node's eyes or by its submitter's word.
    ClaimLapsed { job: JobId, round: u32, claimer: NodeId },
    /// This node, as backup, asked everyone to let it run the job in this round.
    TakeoverAsked { job: JobId, round: u32 },
    /// The driver was told to run a job, under the certificate of this round.
    ExecutionStarted { job: JobId, round: u32 },
    /// An execution was stopped before its end.
    ExecutionCancelled { job: JobId },
    /// A run of a local job failed, and it is given to somebody for this attempt, counted from 1.
    JobRetried { job: JobId, attempt: u32 },
    /// A local job has its result.
    JobCompleted { job: JobId, executor: NodeId, status: JobStatus, output: Range<u32> },
    /// A local job ended without a result, visibly.
    JobFailed { job: JobId, reason: FailReason },
    /// This node voted for a transaction. Both were persisted before.
    TransactionVoted { account: NodeId, seq: u64, transaction: TxId },
    /// A quorum has voted for a transaction of this node: in these bytes of the outbox, it and the record that its votes prove
    /// (a `TokenTransaction`, then an `AccountRecord`).
    TransactionCertified { account: NodeId, seq: u64, certificate: Range<u32> },
    /// An account is now at this transaction: `row` names all that it has paid so far, `transfers` and `total` are what this
    /// brought where the transaction itself is known.
    TransactionApplied { account: NodeId, seq: u64, row: [u8; 32], transfers: u32, total: Tokens },
    /// A quorum says that a claimer has let this node down so many times: in these bytes of the outbox (a `PenaltyRecords`).
    PenaltyCertified { submitter: NodeId, claimer: NodeId, number: u64, certificate: Range<u32> },
    /// Stakes of so many claims that lapsed are the submitter's, `total` of them since the last time.
    PenaltyApplied { submitter: NodeId, claimer: NodeId, number: u64, total: Tokens },
    /// One payer has signed two transactions of one number, in these bytes of the outbox (two `TokenTransaction`s): the first
    /// keeps its vote, and no other of that number gets one.
    ConflictingTransactions { account: NodeId, seq: u64, records: Range<u32> },
    /// The measured offset of this node's clock to the network's, in microseconds.
    ClockOffset { offset_us: i64 },
}

/// How a member is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Known by its announce, not heard yet.
    Known,
    /// Heard within `suspect_after`, or vouched for by others.
    Alive,
    /// Silent, or its connection broke; others are being asked.
    Suspect,
    /// Silent too long.
    Dead,
    /// It said goodbye.
    Left,
}

/// Why a submission was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmitRefusal {
    /// The command exceeds `max_command_bytes`.
    CommandTooLarge,
    /// A job type or requirement has no or more than 32 bytes, or there are more than 16.
    BadRequirements,
    /// The command reads as the commitment of a private job to another one.
    ReservedCommand,
    /// The deadline is zero, or further than 30 days away.
    BadDeadline,
    /// `max_attempts` is zero or above 100.
    BadAttempts,
    /// `max_known_jobs` are open.
    TooManyJobs,
    /// The node is about to stop.
    Leaving,
    /// The account has less than 120 % of the payment free, which is reserved for the job.
    InsufficientBalance,
}

/// Why a job ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    /// Its deadline passed while too few members were reachable.
    NoQuorum,
    /// Its deadline passed and no node that may run it made a bid.
    NoBids,
    /// Its deadline passed without a claim, though there were bids.
    NoClaim,
    /// It was claimed, and no result came by the deadline.
    NoResult,
}

/// Why a frame, or a statement in it, was refused. The first ten are admission's, in its order (protocol.md, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Larger than `max_message_size`, or than its type allows.
    TooLarge,
    /// Not an envelope, or its payload is not what its type says.
    Malformed,
    /// A protocol version that this node does not speak.
    WrongVersion,
    /// Another network's.
    WrongNetwork,
    /// For another recipient.
    WrongRecipient,
    /// The sender is not a known member.
    UnknownSender,
    /// The sender is blacklisted.
    Blacklisted,
    /// The sender is over its rate.
    RateLimited,
    /// The timestamp is outside the tolerance, or from before the present life of a node that has had others.
    StaleTimestamp,
    /// The nonce was seen before, or lies before the window.
    Replayed,
    /// From before the sender's last restart.
    StaleIncarnation,
    /// The signature does not verify.
    BadSignature,
    /// The node's own message came back.
    FromSelf,
    /// A record's inner signature, key or id is wrong.
    BadRecord,
    /// No room for another member.
    TooManyMembers,
    /// The sender is not a member that may vote, bid or claim.
    NotAMember,
    /// The job is not known.
    UnknownJob,
    /// `max_known_jobs` are open.
    TooManyJobs,
    /// The message does not fit the state of the job it names.
    OutOfPlace,
    /// A claim or vote for another electorate.
    ElectorateDiffers,
    /// The coordinator is not the elected one.
    WrongCoordinator,
    /// A certificate without enough valid votes.
    BadCertificate,
    /// A bid of, a vote of or a proposal for a member that is excluded from it.
    Quarantined,
    /// A transaction that no account may make: it pays nobody, its payer, one job twice, more than a job may cost, or for a job
    /// that is paid already.
    BadTransaction,
    /// A transaction beside another of the same number.
    ConflictingTransaction,
    /// The account cannot pay or stake it, or not yet.
    InsufficientBalance,
    /// Evidence that proves nothing.
    BadEvidence,
    /// A record signed by a key that its owner has replaced.
    RetiredKey,
    /// A rotation that is known already, or older than the one known.
    StaleRotation,
    /// A record whose chain of keys parts from the one that is known.
    ForkedKey,
    /// Sealed, and not for this node, not by its sender, altered, or not the command that was committed to.
    CannotOpen,
}

impl Refusal {
    /// Every reason, in the order of its number.
    pub const ALL: [Refusal; 31] = [
        Refusal::TooLarge,
        Refusal::Malformed,
        Refusal::WrongVersion,
        Refusal::WrongNetwork,
        Refusal::WrongRecipient,
        Refusal::UnknownSender,
        Refusal::Blacklisted,
        Refusal::RateLimited,
        Refusal::StaleTimestamp,
        Refusal::Replayed,
        Refusal::StaleIncarnation,
        Refusal::BadSignature,
        Refusal::FromSelf,
        Refusal::BadRecord,
        Refusal::TooManyMembers,
        Refusal::NotAMember,
        Refusal::UnknownJob,
        Refusal::TooManyJobs,
        Refusal::OutOfPlace,
        Refusal::ElectorateDiffers,
        Refusal::WrongCoordinator,
        Refusal::BadCertificate,
        Refusal::Quarantined,
        Refusal::BadTransaction,
        Refusal::ConflictingTransaction,
        Refusal::InsufficientBalance,
        Refusal::BadEvidence,
        Refusal::RetiredKey,
        Refusal::StaleRotation,
        Refusal::ForkedKey,
        Refusal::CannotOpen,
    ];
}

/// What a call to the node produced. It belongs to the driver and is reused: once warm, nothing is allocated.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// What the actions' ranges point into.
    pub bytes: Vec<u8>,
}

impl Outbox {
    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        self.actions.clear();
        self.bytes.clear();
    }

    /// The bytes of a range.
    #[must_use]
    pub fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    /// The text of a range; endpoints and commands are valid UTF-8 by construction.
    #[must_use]
    pub fn text(&self, range: &Range<u32>) -> &str {
        std::str::from_utf8(self.slice(range)).expect("text ranges are written from &str")
    }

    /// Appends bytes and returns where they lie.
    pub fn put(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.at();
        self.bytes.extend_from_slice(bytes);
        start..self.at()
    }

    /// The end of what is written so far.
    #[must_use]
    pub fn at(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("one call writes less than 4 GiB")
    }

    /// Appends an event.
    pub fn report(&mut self, event: Event) {
        self.actions.push(Action::Report(event));
    }
}

/// The one service a node asks for in the middle of a call: what takes a private key, and what checks signatures. Pure. The driver
/// makes and checks Ed25519; the simulator does the same and remembers what it has signed and checked.
pub trait Verify {
    /// Whether `signature` is `key`'s over `message`, strictly.
    fn verify(&mut self, key: &[u8; 32], message: &crate::wire::Signed<'_>, signature: &crate::wire::Signature)
    -> bool;

    /// The signature of `keys` over `message`.
    fn sign(&mut self, keys: &crate::identity::Keys, message: &crate::wire::Signed<'_>) -> crate::wire::Signature {
        keys.sign(message)
    }

    /// A verified record, to be held on to. Of equal ones a driver of hundreds of nodes gives all of them the same.
    fn hold(&mut self, record: &Announce) -> Arc<Announce> {
        Arc::new(record.clone())
    }

    /// [`seal`](crate::identity::Keys::seal) with `keys`.
    fn seal(
        &mut self,
        keys: &crate::identity::Keys,
        reader: &[u8; 32],
        nonce: &[u8; crate::identity::seal::NONCE],
        plain: &[u8],
    ) -> Option<Vec<u8>> {
        keys.seal(reader, nonce, plain)
    }

    /// [`open`](crate::identity::Keys::open) with `keys`.
    fn open(&mut self, keys: &crate::identity::Keys, writers: &[[u8; 32]], sealed: &[u8]) -> Option<Vec<u8>> {
        keys.open(writers, sealed)
    }
}
