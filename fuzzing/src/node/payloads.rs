//! Payloads of every type: fields that fit what the node knows where the input wishes so, and any others where not.

use arbitrary::{Result, Unstructured};
use marlos::config::Codec;
use marlos::id::{ElectorateId, JobId, NodeId};
use marlos::identity::Keys;
use marlos::identity::seal::NONCE;
use marlos::io::JobStatus;
use marlos::quorum::{Proof, Statement};
use marlos::time::{Span, WallTime};
use marlos::units::{MAX_JSON_INTEGER, Ppm, Tokens};
use marlos::wire::message::*;
use marlos::wire::{self, MsgType, Payload, Signature, Signed, binary};

use super::world::{NETWORK, keys};
use crate::token::token;

/// What messages may be about, so that they fit: gathered from everything that was said.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub jobs: Vec<JobId>,
    pub electorate: ElectorateId,
    pub wall: WallTime,
    pub round: u32,
}

/// Jobs that are kept in mind.
const MOST_JOBS: usize = 32;

impl Known {
    pub fn note(&mut self, job: JobId) {
        if !self.jobs.contains(&job) && self.jobs.len() < MOST_JOBS {
            self.jobs.push(job);
        }
    }

    pub fn job(&self, wishes: &mut Unstructured<'_>) -> Result<JobId> {
        if self.jobs.is_empty() || wishes.ratio(1, 16)? {
            return Ok(JobId(wishes.arbitrary()?));
        }
        // The newest ones are where something goes on.
        let back = wishes.int_in_range(0..=self.jobs.len().min(4) - 1)?;
        Ok(self.jobs[self.jobs.len() - 1 - back])
    }

    pub fn round(&self, wishes: &mut Unstructured<'_>) -> Result<u32> {
        Ok(match wishes.int_in_range(0..=7u8)? {
            0 => 0,
            1..=4 => self.round,
            5 => self.round.saturating_add(1),
            6 => self.round.saturating_add(u32::from(wishes.arbitrary::<u8>()?)),
            _ => wishes.arbitrary()?,
        })
    }

    fn electorate(&self, wishes: &mut Unstructured<'_>) -> Result<ElectorateId> {
        if wishes.ratio(1, 8)? { Ok(ElectorateId(wishes.arbitrary()?)) } else { Ok(self.electorate) }
    }

    fn stamp(&self, wishes: &mut Unstructured<'_>) -> Result<WallTime> {
        Ok(match wishes.int_in_range(0..=3u8)? {
            0 => WallTime(wishes.arbitrary()?),
            1 => WallTime(self.wall.0.saturating_sub(u64::from(wishes.arbitrary::<u32>()?))),
            _ => WallTime(self.wall.0.saturating_add(u64::from(wishes.arbitrary::<u32>()?))),
        })
    }
}

pub fn member(wishes: &mut Unstructured<'_>) -> Result<NodeId> {
    if wishes.ratio(1, 16)? {
        return Ok(NodeId(wishes.arbitrary()?));
    }
    Ok(keys(wishes.int_in_range(0..=7usize)?).id())
}

fn text(wishes: &mut Unstructured<'_>, most: usize) -> Result<String> {
    let length = wishes.int_in_range(0..=most)?.min(wishes.len());
    Ok(String::from_utf8_lossy(wishes.bytes(length)?).into_owned())
}

fn list<T>(
    wishes: &mut Unstructured<'_>,
    most: usize,
    mut item: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let length = wishes.int_in_range(0..=most)?;
    let mut items = Vec::new();
    while items.len() < length && !wishes.is_empty() {
        items.push(item(wishes)?);
    }
    Ok(items)
}

fn share(wishes: &mut Unstructured<'_>) -> Result<Ppm> {
    if wishes.ratio(1, 16)? { Ok(Ppm(wishes.arbitrary()?)) } else { Ok(Ppm(wishes.int_in_range(0..=1_000_000)?)) }
}

fn amount(wishes: &mut Unstructured<'_>) -> Result<Tokens> {
    Ok(match wishes.int_in_range(0..=3u8)? {
        0 => Tokens(wishes.arbitrary()?),
        1 => Tokens(MAX_JSON_INTEGER),
        _ => Tokens::whole(wishes.int_in_range(0..=12_000)?),
    })
}

fn span(wishes: &mut Unstructured<'_>) -> Result<Span> {
    if wishes.ratio(1, 8)? { Ok(Span(wishes.arbitrary()?)) } else { Ok(Span(u64::from(wishes.arbitrary::<u32>()?))) }
}

fn small(wishes: &mut Unstructured<'_>) -> Result<u64> {
    if wishes.ratio(1, 8)? { wishes.arbitrary() } else { wishes.int_in_range(0..=4) }
}

/// A signature of this key over these bytes, mostly.
fn signature(wishes: &mut Unstructured<'_>, by: &Keys, bytes: &[u8]) -> Result<Signature> {
    if wishes.ratio(1, 12)? {
        return Ok(Signature([wishes.arbitrary()?; 64]));
    }
    Ok(token(&by.public(), &Signed { network_id: NETWORK, bytes }))
}

/// The record of a member of this number, as it would sign it itself.
pub fn honest_record(at: usize, incarnation: u32, sequence: u32, wall: WallTime) -> Announce {
    let record = Announce {
        node_id: keys(at).id(),
        node_name: format!("n{at}"),
        public_key: keys(at).public(),
        rotations: Vec::new(),
        incarnation,
        sequence,
        signed_at: wall,
        pub_endpoint: format!("tcp://n{at}:1"),
        sub_endpoint: format!("tcp://n{at}:2"),
        protocol_version: 1,
        capabilities: vec!["shell".into()],
        trust_score: Ppm(500_000),
        active_jobs: 0,
        wallet_balance: Tokens(0),
        record_signature: Signature([0; 64]),
    };
    let signature = token(&keys(at).public(), &Signed { network_id: NETWORK, bytes: &record_bytes(&record) });
    Announce { record_signature: signature, ..record }
}

/// What the signature of a record covers.
fn record_bytes(record: &Announce) -> Vec<u8> {
    let mut bytes = b"announce/1\0".to_vec();
    binary::encode_into(&Announce { record_signature: Signature([0; 64]), ..record.clone() }, &mut bytes);
    bytes
}

/// The record of a liar or of a stranger, with what the input puts in it.
fn record(wishes: &mut Unstructured<'_>, known: &Known) -> Result<Announce> {
    let at = if wishes.ratio(1, 3)? { wishes.int_in_range(7..=30usize)? } else { wishes.int_in_range(1..=2usize)? };
    let stamp = known.stamp(wishes)?;
    let mut record = honest_record(
        at,
        u32::try_from(small(wishes)?.min(u64::from(u32::MAX))).expect("cut"),
        wishes.arbitrary()?,
        stamp,
    );
    if wishes.ratio(1, 3)? {
        record.node_name = text(wishes, 80)?;
        record.pub_endpoint = text(wishes, 140)?;
        record.sub_endpoint = text(wishes, 140)?;
        record.capabilities = list(wishes, 34, |wishes| text(wishes, 34))?;
        record.protocol_version = wishes.arbitrary()?;
        record.trust_score = share(wishes)?;
        record.wallet_balance = amount(wishes)?;
    }
    if wishes.ratio(1, 16)? {
        record.node_id = member(wishes)?;
    }
    record.record_signature = signature(wishes, keys(at), &record_bytes(&record))?;
    Ok(record)
}

/// A statement about a claim.
pub fn statement(wishes: &mut Unstructured<'_>, known: &Known) -> Result<Statement> {
    Ok(Statement {
        job_id: known.job(wishes)?,
        round: known.round(wishes)?,
        winner: member(wishes)?,
        backup: wishes.arbitrary::<bool>()?.then(|| member(wishes)).transpose()?,
        electorate: known.electorate(wishes)?,
    })
}

/// A job of this submitter.
pub fn job(wishes: &mut Unstructured<'_>, known: &Known, submitter: NodeId) -> Result<JobBroadcast> {
    let ordinary = wishes.ratio(3, 4)?;
    let body = JobBody {
        job_type: if ordinary { "shell".into() } else { text(wishes, 34)? },
        command: text(wishes, 64)?,
        priority: share(wishes)?,
        submitted: if ordinary { known.wall } else { known.stamp(wishes)? },
        deadline: if ordinary {
            WallTime(known.wall.0 + 1_000_000 * u64::from(wishes.arbitrary::<u8>()?))
        } else {
            known.stamp(wishes)?
        },
        payment: amount(wishes)?,
        requirements: if ordinary { Vec::new() } else { list(wishes, 18, |wishes| text(wishes, 34))? },
        consistency: if wishes.ratio(1, 4)? { Consistency::Available } else { Consistency::Quorum },
        max_attempts: u32::try_from(wishes.int_in_range(0..=101u64)?).expect("small"),
    };
    Ok(JobBroadcast { counter: small(wishes)?, submitter, body })
}

/// A transaction, signed by this member over its own account, mostly.
fn transaction(wishes: &mut Unstructured<'_>, known: &Known, by: usize) -> Result<TokenTransaction> {
    let transfer = |wishes: &mut Unstructured<'_>| {
        let reason = *wishes.choose(&[
            TransferReason::OnTime,
            TransferReason::Late,
            TransferReason::VeryLate,
            TransferReason::Release,
        ])?;
        let amount = if reason == TransferReason::Release && wishes.ratio(7, 8)? { Tokens(0) } else { amount(wishes)? };
        Ok(Transfer { job_id: known.job(wishes)?, to: member(wishes)?, amount, reason })
    };
    let account = if wishes.ratio(1, 8)? { member(wishes)? } else { keys(by).id() };
    let transfers = list(wishes, 66, transfer)?;
    let mut made =
        TokenTransaction { account, seq: small(wishes)?, transfers, transaction_signature: Signature([0; 64]) };
    made.transaction_signature = signature(wishes, keys(by), &made.signed_bytes())?;
    Ok(made)
}

fn proof(wishes: &mut Unstructured<'_>, known: &Known) -> Result<Proof> {
    Ok(Proof {
        electorate: known.electorate(wishes)?,
        voters: list(wishes, 3, |wishes| wishes.arbitrary())?,
        signatures: list(wishes, 8, |wishes| Ok(Signature([wishes.arbitrary()?; 64])))?,
    })
}

/// A rotation that its owner may have signed, or not.
fn link(wishes: &mut Unstructured<'_>) -> Result<KeyLink> {
    let new_key = if wishes.ratio(3, 4)? { keys(0).public() } else { [wishes.arbitrary()?; 32] };
    Ok(KeyLink {
        sequence: u32::try_from(small(wishes)? & 0xffff_ffff).expect("cut"),
        new_key,
        rotated_at: WallTime(wishes.arbitrary()?),
        old_signature: Signature([wishes.arbitrary()?; 64]),
    })
}

fn evidence(wishes: &mut Unstructured<'_>, known: &Known, said: &[Vec<u8>], by: usize) -> Result<Evidence> {
    let vote = |wishes: &mut Unstructured<'_>| {
        let statement = statement(wishes, known)?;
        let vote_signature = signature(wishes, keys(by), &statement.signed_bytes())?;
        Ok(SignedVote { statement, vote_signature })
    };
    let frame = |wishes: &mut Unstructured<'_>| {
        if said.is_empty() { Ok(Vec::new()) } else { Ok(wishes.choose(said)?.clone()) }
    };
    let proof = match wishes.int_in_range(0..=2u8)? {
        0 => Contradiction::Votes { first: vote(wishes)?, second: vote(wishes)? },
        1 => Contradiction::Announces {
            first: Box::new(record(wishes, known)?),
            second: Box::new(record(wishes, known)?),
        },
        _ => Contradiction::Frames { first: frame(wishes)?, second: frame(wishes)? },
    };
    let author = if wishes.ratio(1, 8)? { member(wishes)? } else { keys(by).id() };
    let rotations = if wishes.ratio(1, 4)? { list(wishes, 3, link)? } else { Vec::new() };
    Ok(Evidence { author, rotations, proof })
}

/// Anything that the member of this number, a liar, may say.
#[expect(clippy::too_many_lines, reason = "one arm for each type of message")]
pub fn any(wishes: &mut Unstructured<'_>, known: &Known, said: &[Vec<u8>], by: usize) -> Result<Payload> {
    let kind = *wishes.choose(&MsgType::ALL)?;
    Ok(match kind {
        MsgType::PeerAnnounce => Payload::PeerAnnounce(Box::new(PeerAnnounce {
            record: record(wishes, known)?,
            want_records: wishes.arbitrary()?,
        })),
        MsgType::PeerRecords => Payload::PeerRecords(PeerRecords {
            members_digest: wishes.arbitrary()?,
            complete: wishes.arbitrary()?,
            records: list(wishes, 12, |wishes| record(wishes, known))?,
        }),
        MsgType::Ping | MsgType::Bundle => {
            let pong = |wishes: &mut Unstructured<'_>| {
                Ok(Pong {
                    node_id: member(wishes)?,
                    ping_timestamp: known.stamp(wishes)?,
                    held: span(wishes)?,
                    direct: wishes.arbitrary()?,
                })
            };
            let maybe = |wishes: &mut Unstructured<'_>| wishes.arbitrary::<bool>()?.then(|| pong(wishes)).transpose();
            Payload::Ping(Ping {
                members_digest: wishes.arbitrary()?,
                ledger_digest: wishes.arbitrary()?,
                pongs: [maybe(wishes)?, maybe(wishes)?],
            })
        }
        MsgType::PeerProbe => Payload::PeerProbe(PeerProbe { node_id: member(wishes)?, silent_for: span(wishes)? }),
        MsgType::PeerSeen => Payload::PeerSeen(PeerSeen { node_id: member(wishes)?, silent_for: span(wishes)? }),
        MsgType::Goodbye => Payload::Goodbye(Goodbye {}),
        MsgType::JobBroadcast => {
            let submitter = if wishes.ratio(1, 16)? { member(wishes)? } else { keys(by).id() };
            Payload::JobBroadcast(job(wishes, known, submitter)?)
        }
        MsgType::JobBid => {
            let offer = |wishes: &mut Unstructured<'_>| {
                Ok(Offer { score: share(wishes)?, stake: amount(wishes)?, estimated_completion: span(wishes)? })
            };
            Payload::JobBid(JobBid {
                job_id: known.job(wishes)?,
                round: known.round(wishes)?,
                offer: wishes.arbitrary::<bool>()?.then(|| offer(wishes)).transpose()?,
            })
        }
        MsgType::AuctionCoordinate => {
            let listed = |wishes: &mut Unstructured<'_>| {
                Ok(ListedBid {
                    bidder: u32::try_from(small(wishes)? & 0xffff_ffff).expect("cut"),
                    rank: wishes.arbitrary()?,
                })
            };
            Payload::AuctionCoordinate(AuctionCoordinate {
                job_id: known.job(wishes)?,
                round: known.round(wishes)?,
                electorate: known.electorate(wishes)?,
                winner_id: member(wishes)?,
                backup_id: wishes.arbitrary::<bool>()?.then(|| member(wishes)).transpose()?,
                bids: wishes.arbitrary()?,
                best: list(wishes, 6, listed)?,
            })
        }
        MsgType::ClaimVote => {
            let statement = statement(wishes, known)?;
            let vote_signature = signature(wishes, keys(by), &statement.signed_bytes())?;
            Payload::ClaimVote(ClaimVote { job_id: statement.job_id, round: statement.round, vote_signature })
        }
        MsgType::JobClaim => Payload::JobClaim(JobClaim { job_id: known.job(wishes)?, round: known.round(wishes)? }),
        MsgType::ClaimCertificate => Payload::ClaimCertificate(ClaimCertificate {
            statement: statement(wishes, known)?,
            voters: list(wishes, 3, |wishes| wishes.arbitrary())?,
            signatures: list(wishes, 8, |wishes| Ok(Signature([wishes.arbitrary()?; 64])))?,
            reachable: list(wishes, 2, |wishes| wishes.arbitrary())?,
        }),
        MsgType::CertificateRequest => Payload::CertificateRequest(CertificateRequest { job_id: known.job(wishes)? }),
        MsgType::JobHeartbeat => Payload::JobHeartbeat(JobHeartbeat {
            job_id: known.job(wishes)?,
            round: known.round(wishes)?,
            progress: share(wishes)?,
        }),
        MsgType::JobResult => Payload::JobResult(JobResult {
            job_id: known.job(wishes)?,
            round: known.round(wishes)?,
            status: if wishes.arbitrary()? { JobStatus::Success } else { JobStatus::Failure },
            output: list(wishes, 300, |wishes| wishes.arbitrary())?,
            output_bytes: u32::try_from(small(wishes)? & 0xffff_ffff).expect("cut"),
            truncated: wishes.arbitrary()?,
            duration: span(wishes)?,
        }),
        MsgType::Takeover => Payload::Takeover(Takeover {
            job_id: known.job(wishes)?,
            round: known.round(wishes)?,
            electorate: known.electorate(wishes)?,
        }),
        MsgType::LeaseLapsed => {
            Payload::LeaseLapsed(LeaseLapsed { job_id: known.job(wishes)?, round: known.round(wishes)? })
        }
        MsgType::OutputRequest => {
            Payload::OutputRequest(OutputRequest { job_id: known.job(wishes)?, offset: wishes.arbitrary()? })
        }
        MsgType::OutputChunk => Payload::OutputChunk(OutputChunk {
            job_id: known.job(wishes)?,
            round: known.round(wishes)?,
            offset: u32::try_from(small(wishes)? & 0xffff_ffff).expect("cut"),
            bytes: list(wishes, 300, |wishes| wishes.arbitrary())?,
        }),
        MsgType::StateRequest => Payload::StateRequest(StateRequest { since: known.stamp(wishes)? }),
        MsgType::ReputationUpdate => {
            let report = |wishes: &mut Unstructured<'_>| {
                Ok(TrustReport {
                    node_id: member(wishes)?,
                    trust_score: share(wishes)?,
                    total_jobs: wishes.arbitrary()?,
                    good_jobs: u32::try_from(small(wishes)? & 0xffff_ffff).expect("cut"),
                })
            };
            let (proven_digest, reports) = (wishes.arbitrary()?, list(wishes, 66, report)?);
            Payload::ReputationUpdate(ReputationUpdate { proven_digest, reports })
        }
        MsgType::TokenTransaction => Payload::TokenTransaction(transaction(wishes, known, by)?),
        MsgType::LedgerVote => Payload::LedgerVote(LedgerVote {
            seq: small(wishes)?,
            electorate: known.electorate(wishes)?,
            vote_signature: Signature([wishes.arbitrary()?; 64]),
        }),
        MsgType::LedgerCertificate => {
            Payload::LedgerCertificate(LedgerCertificate { seq: small(wishes)?, proof: proof(wishes, known)? })
        }
        MsgType::AccountRequest => {
            Payload::AccountRequest(AccountRequest { account: member(wishes)?, penalties: small(wishes)? })
        }
        MsgType::AccountRecord => {
            let entry = |wishes: &mut Unstructured<'_>| Ok(RowEntry { to: member(wishes)?, paid: amount(wishes)? });
            let head = |wishes: &mut Unstructured<'_>| {
                Ok(HeadProof { transaction: wishes.arbitrary()?, votes: proof(wishes, known)? })
            };
            let mut row = list(wishes, 8, entry)?;
            if wishes.ratio(7, 8)? {
                row.sort_unstable();
                row.dedup_by_key(|entry| entry.to);
            }
            Payload::AccountRecord(AccountRecord {
                account: member(wishes)?,
                seq: small(wishes)?,
                row,
                proof: wishes.ratio(3, 4)?.then(|| head(wishes)).transpose()?,
                pending: wishes.ratio(1, 4)?.then(|| transaction(wishes, known, by)).transpose()?,
            })
        }
        MsgType::Evidence => Payload::Evidence(Box::new(evidence(wishes, known, said, by)?)),
        MsgType::AccountHeads => {
            let head = |wishes: &mut Unstructured<'_>| {
                Ok(AccountHead { account: member(wishes)?, seq: small(wishes)?, penalties: small(wishes)? })
            };
            Payload::AccountHeads(AccountHeads { heads: list(wishes, 10, head)? })
        }
        MsgType::KeyRotation => {
            let rotations = list(wishes, 18, link)?;
            Payload::KeyRotation(Box::new(KeyRotation { record: Announce { rotations, ..record(wishes, known)? } }))
        }
        MsgType::SealedCommand => Payload::SealedCommand(SealedCommand {
            job_id: known.job(wishes)?,
            sealed: vec![wishes.arbitrary()?; wishes.int_in_range(0..=200)?],
        }),
        MsgType::SealedBundle => {
            let inner = any(wishes, known, said, by)?;
            let mut bytes = Vec::new();
            wire::encode(Codec::Bincode, &inner, &mut bytes);
            let mut sealed = keys(by).seal(
                &keys(0).public(),
                &[wishes.arbitrary()?; NONCE],
                &binary::bundle(&[(inner.kind(), &bytes)]),
            );
            if wishes.ratio(1, 8)? {
                sealed.iter_mut().for_each(|sealed| sealed.truncate(sealed.len() / 2));
            }
            Payload::SealedBundle(SealedBundle { sealed: sealed.expect("a key") })
        }
        MsgType::PenaltyVote => Payload::PenaltyVote(PenaltyVote {
            claimer: member(wishes)?,
            number: small(wishes)?,
            electorate: known.electorate(wishes)?,
            vote_signature: Signature([wishes.arbitrary()?; 64]),
        }),
        MsgType::PenaltyRecords => {
            let record = |wishes: &mut Unstructured<'_>| {
                let job = |wishes: &mut Unstructured<'_>| Ok(JobId([wishes.arbitrary()?; 16]));
                Ok(PenaltyRecord {
                    claimer: member(wishes)?,
                    number: small(wishes)?,
                    jobs: list(wishes, 4, job)?,
                    proof: proof(wishes, known)?,
                })
            };
            Payload::PenaltyRecords(PenaltyRecords { submitter: member(wishes)?, penalties: list(wishes, 6, record)? })
        }
    })
}
