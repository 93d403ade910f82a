//! What an operator may set about the protocol. Each field says what goes wrong when it is set badly.
//!
//! The names and defaults are the document's where it has one. `Config` holds what the node itself needs; ports, paths
//! and the executor's limits belong to the driver.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::time::Span;
use crate::units::{MAX_JSON_INTEGER, Tokens};
use crate::wire::message::MAX_TRANSFERS;

/// The node's configuration. Every field has a default; unknown fields are errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Separates networks: it is part of what is signed. Two networks with one name merge.
    pub network_id: String,
    /// For people only; at most 64 bytes.
    pub node_name: String,
    /// Where peers subscribe to this node, `tcp://host:port`. A wrong address makes the node deaf to answers.
    pub pub_endpoint: String,
    /// Where peers that nobody can dial connect to, `tcp://host:port`.
    pub sub_endpoint: String,
    /// First contacts. Empty on every node, and without multicast: nobody ever meets.
    pub bootstrap: Vec<Bootstrap>,
    /// Job types this node runs.
    pub capabilities: Vec<String>,
    /// Which codec this node sends; it reads both.
    pub codec: Codec,

    /// How often a beacon is sent, and an announce is repeated where nobody is known.
    pub discovery_interval: Span,
    /// How often a PING is broadcast. Above a fifth of `heartbeat_timeout`, one lost PING makes suspects.
    pub heartbeat_interval: Span,
    /// Silence after which a peer is dead whatever others say. Too short: false deaths.
    pub heartbeat_timeout: Span,
    /// Silence after which a peer is suspected and others are asked. Below two heartbeats, every lost PING is a suspicion.
    pub suspect_after: Span,
    /// How long positive answers to a probe are waited for. Below a round trip, no answer ever counts.
    pub probe_timeout: Span,
    /// How many peers are asked about a suspect.
    pub probe_fanout: u32,
    /// How long a dead member keeps its vote in the electorate. Too short: a partition lets both sides reach a quorum.
    pub forget_after: Span,
    /// Connections at most. Members beyond it are not reached until relaying exists.
    pub max_peers: u32,
    /// Members at most; announces beyond it are refused. Bounds the memory that strangers can fill.
    pub max_members: u32,
    /// Fewer reachable members than this, the node itself included: degraded, whatever the quorum says. It guards the
    /// first seconds, in which a node that knows nobody is a quorum of one.
    pub min_peers: u32,
    /// Who votes.
    pub membership: Membership,

    /// How far a timestamp may lie from synchronised time.
    pub clock_sync_tolerance: Span,
    /// Envelopes per second and sender that are accepted in the long run.
    pub rate_limit_msgs_per_sec: u32,
    /// Envelopes that may come at once on top of the rate.
    pub rate_limit_burst: u32,
    /// How long a sender that broke the rate limit is refused.
    pub blacklist_duration: Span,
    /// The largest frame, in bytes.
    pub max_message_size: u32,

    /// How long a coordinator waits for bids. Below a round trip, distant nodes never win.
    pub bid_window: Span,
    /// How long each of the first two rounds may take before the next coordinator's turn; each further round takes as much
    /// longer, up to eight times. Below four one-way delays, the first round never succeeds.
    pub round_timeout: Span,
    /// How long a vote or a claim keeps a voter from voting for another, without a sign of life of the claimer. At least two job
    /// heartbeats: where it is one, each that is a little late is a takeover from a live executor.
    pub lease: Span,
    /// Bids named in an AUCTION_COORDINATE: at least the winner and the backup.
    pub listed_bids: u32,
    /// How often an open job that nobody has claimed is broadcast again by its submitter.
    pub rebroadcast_interval: Span,
    /// How often an executor tells submitter and backup that it is alive.
    pub job_heartbeat_interval: Span,
    /// Jobs that this node runs at once; above it, it declines.
    pub max_active_jobs: u32,
    /// Open jobs that this node keeps, its own and others'. Bounds the memory that a submitter can fill.
    pub max_known_jobs: u32,
    /// The stake of a bid, and what a claim that lapses costs. It must be the same on all nodes: one with another value sees
    /// other balances.
    pub stake: Tokens,
    /// What every account begins with. It must be the same on all nodes: one with another value sees other balances, and
    /// votes for transactions that no other node would.
    pub genesis_balance: Tokens,
    /// How long a payment waits for company. A transaction costs some 9 KB to ten nodes whatever it carries, so at 5 jobs per
    /// second the page's 10 s would take a fifth of the 10 KB that a job may cost; 30 s take a tenth. Too long: earnings
    /// cannot be spent, and reserves stay bound.
    ///
    /// It is for ten members, and grows with their number beyond.
    pub settle_after: Span,
    /// Payments in one transaction at most; that many do not wait any longer.
    pub settle_batch: u32,
    /// The largest command of a job, in bytes.
    pub max_command_bytes: u32,
    /// The largest output of a job that is kept and taken, in bytes; the rest is cut off and said to be. An executor holds the
    /// output of every job it ran until that job's deadline has passed.
    pub max_output_bytes: u32,
    /// How coordinators are chosen.
    pub election: Election,
    /// Whether what this node says to one member is sealed for it, and every job of this node is private, also where its submitter
    /// does not say so. Others may do as they like: what is sealed is opened by all.
    pub encryption: bool,

    /// How often this node tells the others what it has seen of them, and writes it to its store.
    pub reputation_interval: Span,
    /// How long proven misbehaviour excludes its author. Too short: who was caught begins again.
    pub evidence_lasts: Span,

    /// How long an envelope may wait for company to the same destination while the node is busy.
    pub bundle_window: Span,
    /// Envelopes per second above which the node counts as busy and bundles.
    pub bundle_above_msgs_per_sec: u32,

    /// A defect planted on purpose; see [`Plant`].
    #[cfg(feature = "plant")]
    pub plant: Plant,
}

/// A first contact: where its PUB is, and where its SUB is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// The PUB endpoint, `tcp://host:port`.
    pub pub_endpoint: String,
    /// The SUB endpoint, `tcp://host:port`.
    pub sub_endpoint: String,
}

/// Who votes (protocol.md, section 4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Membership {
    /// Every announced id, up to `max_members`.
    #[default]
    Open,
    /// Exactly these ids.
    Fixed(Vec<NodeId>),
}

/// How a message is written on the wire (protocol.md, section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// bincode 2, standard configuration.
    #[default]
    Bincode,
    /// The document's JSON envelope.
    Json,
}

/// How the coordinator of an auction is chosen (protocol.md, section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Election {
    /// The document's: the hash of the job id, modulo the sorted live members.
    #[default]
    Modulo,
    /// Highest SHA-256(job id ‖ node id): differing views of who lives mostly agree all the same.
    Rendezvous,
}

/// Defects that a test plants to prove that a check fires (architecture.md, "planted bugs").
#[cfg(feature = "plant")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plant {
    /// None.
    #[default]
    Nothing,
    /// A certificate is made of one vote fewer than the quorum.
    QuorumOneShort,
    /// A vote, and the proposal it was for, is neither remembered nor persisted.
    VotesForgotten,
    /// A vote is remembered, but not persisted: a restart forgets it.
    VotesNotPersisted,
    /// A voter accepts any coordinator, so that two can name different winners of one round.
    AnyCoordinator,
    /// A frame heard before is accepted again.
    ReplayWindowOff,
    /// A node that restarts takes what was said before.
    ReplayAfterRestart,
    /// A node runs every job it bid for, certificate or not.
    ExecuteWithoutClaim,
    /// A submitter never notices that a deadline passed.
    DeadlineIgnored,
    /// A backup takes over a job whose executor is alive and well, and voters let it.
    LeaseIgnored,
    /// An executor goes on when a later claim has fenced it.
    FenceIgnored,
    /// A node drops half of the announces it hears of.
    AnnouncesDropped,
    /// Evidence is believed without a look at its signatures.
    EvidenceUnchecked,
    /// Every payload leaves in an envelope of its own, however many there are.
    NothingBundled,
    /// A job that asks for a quorum is claimed by a part of the network all the same.
    ProvisionalForQuorum,
    /// A payer signs two transactions of one number, and voters vote for both.
    DoubleVote,
    /// Neither who votes for a transaction nor who applies it looks at the payer's balance.
    BalanceUnchecked,
    /// A payer forgets that a transaction carries its payments, and voters that they are paid.
    PaidTwice,
    /// A node that is told how far all accounts are neither asks for what it lacks nor sends what the other lacks.
    HeadsIgnored,
    /// A claim that lapsed is counted twice.
    PenaltyTwice,
    /// A voter votes for another winner while its vote for the first is still a lease.
    LeaseUnheld,
    /// A node that lost its store votes on jobs on which it may have voted before.
    VoteFloorIgnored,
    /// The dead are forgotten at once, so that both sides of a partition reach a quorum.
    ForgottenWhenDead,
    /// A coordinator names a winner as often as it is asked to, in one round.
    ProposesTwice,
    /// A transaction is certified with one vote fewer than the quorum.
    LedgerQuorumOneShort,
    /// A payer's own transaction is not persisted before it is sent.
    TransactionForgotten,
    /// A message may be as old as it likes.
    StampsIgnored,
    /// An envelope's signature is not looked at.
    SignaturesUnchecked,
    /// Who sends too much is told by when it arrives alone.
    BanByArrival,
    /// A sign of life of a dead member does not bring it back.
    DeadStayDead,
    /// Members with other records than one's own are not told.
    RecordsIgnored,
    /// A node that restarts counts only the members that it has met since.
    MembersUnrecalled,
}

#[cfg(feature = "plant")]
impl Plant {
    /// Every defect.
    pub const ALL: [Plant; 31] = [
        Plant::QuorumOneShort,
        Plant::VotesForgotten,
        Plant::VotesNotPersisted,
        Plant::AnyCoordinator,
        Plant::ReplayWindowOff,
        Plant::ReplayAfterRestart,
        Plant::ExecuteWithoutClaim,
        Plant::DeadlineIgnored,
        Plant::LeaseIgnored,
        Plant::FenceIgnored,
        Plant::AnnouncesDropped,
        Plant::EvidenceUnchecked,
        Plant::NothingBundled,
        Plant::ProvisionalForQuorum,
        Plant::DoubleVote,
        Plant::BalanceUnchecked,
        Plant::PaidTwice,
        Plant::HeadsIgnored,
        Plant::PenaltyTwice,
        Plant::LeaseUnheld,
        Plant::VoteFloorIgnored,
        Plant::ForgottenWhenDead,
        Plant::ProposesTwice,
        Plant::LedgerQuorumOneShort,
        Plant::TransactionForgotten,
        Plant::StampsIgnored,
        Plant::SignaturesUnchecked,
        Plant::BanByArrival,
        Plant::DeadStayDead,
        Plant::RecordsIgnored,
        Plant::MembersUnrecalled,
    ];
}

/// Whether this defect is planted; never, in a build without the feature `plant`.
macro_rules! planted {
    ($config:expr, $plant:ident) => {{
        #[cfg(feature = "plant")]
        let planted = $config.plant == crate::config::Plant::$plant;
        #[cfg(not(feature = "plant"))]
        let planted = {
            let _ = &$config;
            false
        };
        planted
    }};
}
pub(crate) use planted;

impl Default for Config {
    fn default() -> Config {
        Config {
            network_id: "marlos".into(),
            node_name: String::new(),
            pub_endpoint: "tcp://127.0.0.1:5555".into(),
            sub_endpoint: "tcp://127.0.0.1:5556".into(),
            bootstrap: Vec::new(),
            capabilities: Vec::new(),
            codec: Codec::Bincode,
            discovery_interval: Span::secs(5),
            heartbeat_interval: Span::secs(3),
            heartbeat_timeout: Span::secs(15),
            suspect_after: Span::millis(7_500),
            probe_timeout: Span::secs(1),
            probe_fanout: 3,
            forget_after: Span::secs(3_600),
            max_peers: 50,
            max_members: 1_024,
            min_peers: 2,
            membership: Membership::Open,
            clock_sync_tolerance: Span::secs(30),
            rate_limit_msgs_per_sec: 100,
            rate_limit_burst: 200,
            blacklist_duration: Span::secs(3_600),
            max_message_size: 10 * 1024 * 1024,
            bid_window: Span::millis(300),
            round_timeout: Span::millis(700),
            lease: Span::secs(10),
            listed_bids: 4,
            rebroadcast_interval: Span::secs(5),
            job_heartbeat_interval: Span::secs(3),
            max_active_jobs: 16,
            max_known_jobs: 65_536,
            stake: Tokens::whole(10),
            genesis_balance: Tokens::whole(10_000),
            settle_after: Span::secs(30),
            settle_batch: 64,
            max_command_bytes: 64 * 1024,
            max_output_bytes: 1024 * 1024,
            election: Election::Modulo,
            encryption: false,
            reputation_interval: Span::secs(60),
            evidence_lasts: Span::secs(30 * 86_400),
            bundle_window: Span::millis(5),
            bundle_above_msgs_per_sec: 50,
            #[cfg(feature = "plant")]
            plant: Plant::Nothing,
        }
    }
}

/// Why a configuration cannot be used: the field, its value, the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Checks every bound that the protocol relies on.
    ///
    /// # Errors
    /// The first field that breaks one, with its value and the bound.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let spans = [
            ("discovery_interval", self.discovery_interval, Span::millis(100), Span::secs(3_600)),
            ("heartbeat_interval", self.heartbeat_interval, Span::millis(50), Span::secs(600)),
            ("heartbeat_timeout", self.heartbeat_timeout, Span::millis(100), Span::secs(3_600)),
            ("suspect_after", self.suspect_after, Span::millis(100), self.heartbeat_timeout),
            ("probe_timeout", self.probe_timeout, Span::millis(10), self.heartbeat_timeout),
            ("forget_after", self.forget_after, self.heartbeat_timeout, Span::secs(366 * 86_400)),
            ("clock_sync_tolerance", self.clock_sync_tolerance, Span::secs(1), Span::secs(300)),
            ("blacklist_duration", self.blacklist_duration, Span::secs(1), Span::secs(366 * 86_400)),
            ("bid_window", self.bid_window, Span::millis(1), self.round_timeout),
            ("round_timeout", self.round_timeout, Span::millis(10), Span::secs(60)),
            ("lease", self.lease, self.round_timeout, Span::secs(3_600)),
            ("rebroadcast_interval", self.rebroadcast_interval, Span::millis(100), Span::secs(3_600)),
            ("job_heartbeat_interval", self.job_heartbeat_interval, Span::millis(100), self.lease),
            ("reputation_interval", self.reputation_interval, Span::secs(1), Span::secs(3_600)),
            ("settle_after", self.settle_after, Span::millis(10), Span::secs(3_600)),
            ("evidence_lasts", self.evidence_lasts, Span::secs(1), Span::secs(10 * 366 * 86_400)),
            ("bundle_window", self.bundle_window, Span::ZERO, Span::millis(100)),
        ];
        for (field, value, least, most) in spans {
            if value < least || value > most {
                return Err(ConfigError(format!("{field} = {value} is outside {least} .. {most}")));
            }
        }
        let counts = [
            ("max_peers", self.max_peers, 1, 4_096),
            ("max_members", self.max_members, 1, 4_096),
            ("min_peers", self.min_peers, 1, self.max_members),
            ("probe_fanout", self.probe_fanout, 0, 32),
            ("rate_limit_msgs_per_sec", self.rate_limit_msgs_per_sec, 1, 1_000_000),
            ("rate_limit_burst", self.rate_limit_burst, 1, 1_000_000),
            ("max_message_size", self.max_message_size, 4_096, 64 * 1024 * 1024),
            ("listed_bids", self.listed_bids, 2, 64),
            ("max_active_jobs", self.max_active_jobs, 0, 65_536),
            ("max_known_jobs", self.max_known_jobs, 1, 1 << 20),
            ("settle_batch", self.settle_batch, 1, MAX_TRANSFERS),
            ("max_command_bytes", self.max_command_bytes, 1, self.max_message_size / 4),
            ("max_output_bytes", self.max_output_bytes, 0, 64 * 1024 * 1024),
            ("bundle_above_msgs_per_sec", self.bundle_above_msgs_per_sec, 1, 1_000_000),
        ];
        for (field, value, least, most) in counts {
            if value < least || value > most {
                return Err(ConfigError(format!("{field} = {value} is outside {least} .. {most}")));
            }
        }
        let texts = [
            ("network_id", &self.network_id, 1, 64),
            ("node_name", &self.node_name, 0, 64),
            ("pub_endpoint", &self.pub_endpoint, 1, 128),
            ("sub_endpoint", &self.sub_endpoint, 0, 128),
        ];
        for (field, value, least, most) in texts {
            if value.len() < least || value.len() > most {
                return Err(ConfigError(format!("{field} has {} bytes; {least} to {most} are allowed", value.len())));
            }
        }
        if self.capabilities.len() > 32 || self.capabilities.iter().any(|c| c.is_empty() || c.len() > 32) {
            return Err(ConfigError("capabilities: at most 32, each of 1 to 32 bytes".into()));
        }
        if self.genesis_balance > Tokens(MAX_JSON_INTEGER) {
            let most = Tokens(MAX_JSON_INTEGER);
            return Err(ConfigError(format!("genesis_balance = {} is more than {most}", self.genesis_balance)));
        }
        if self.job_heartbeat_interval.times(2) > self.lease {
            return Err(ConfigError(format!(
                "lease = {} is less than two job heartbeats of {}: every late JOB_HEARTBEAT would be a takeover",
                self.lease, self.job_heartbeat_interval
            )));
        }
        if self.heartbeat_interval.times(2) > self.suspect_after {
            return Err(ConfigError(format!(
                "suspect_after = {} is less than two heartbeats of {}: every lost PING would be a suspicion",
                self.suspect_after, self.heartbeat_interval
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_field_out_of_bounds_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        let broken = Config { bid_window: Span::secs(2), ..Config::default() };
        assert!(broken.validate().unwrap_err().0.starts_with("bid_window = 2s"));
        let nervous = Config { heartbeat_interval: Span::secs(5), ..Config::default() };
        assert!(nervous.validate().unwrap_err().0.contains("less than two heartbeats"));
        let hasty = Config { job_heartbeat_interval: Span::secs(5), ..Config::default() };
        assert_eq!(hasty.validate(), Ok(()));
        let hasty = Config { lease: Span::millis(9_999), ..hasty };
        assert!(hasty.validate().unwrap_err().0.contains("less than two job heartbeats"));
    }
}
