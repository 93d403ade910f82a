//! What every frame has to survive, in both codecs: the way there, and everybody else.

use std::ops::Range;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::message::*;
use super::*;
use crate::id::{ElectorateId, JobId};
use crate::identity::StrictVerifier;
use crate::io::{JobStatus, Verify};
use crate::quorum::{Proof, Statement};
use crate::time::Span;
use crate::units::{Ppm, Tokens};

const NETWORK: &str = "marlos";
const MAX_MESSAGE: u32 = 10 * 1024 * 1024;

fn keys() -> Keys {
    Keys::from_secret(&[7; 32])
}

/// A header of the test's own keys; `seal` decides on kind and compression.
fn header(timestamp: u64, incarnation: u32, counter: u64, to: Option<NodeId>) -> Header {
    Header {
        network_tag: network_tag(NETWORK),
        kind: MsgType::Ping,
        sender: keys().id(),
        to,
        timestamp: WallTime(timestamp),
        incarnation,
        counter,
        compressed: false,
    }
}

fn plain_header() -> Header {
    header(1_704_672_000_123_000, 3, 9, None)
}

fn sealed_raw(header: Header, codec: Codec, items: &[(MsgType, &[u8])]) -> Vec<u8> {
    let mut frame = Vec::new();
    seal(header, codec, items, NETWORK, &keys(), &mut frame);
    frame
}

fn sealed(header: Header, codec: Codec, payloads: &[Payload]) -> Vec<u8> {
    let encoded: Vec<(MsgType, Vec<u8>)> = payloads
        .iter()
        .map(|payload| {
            let mut bytes = Vec::new();
            encode(codec, payload, &mut bytes);
            (payload.kind(), bytes)
        })
        .collect();
    let items: Vec<(MsgType, &[u8])> = encoded.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())).collect();
    sealed_raw(header, codec, &items)
}

/// Everything that stands between a frame and a handler but the sender's state: peek, verify, payloads.
fn open_in(network_id: &str, frame: &[u8]) -> Result<(Header, Vec<Payload>), Refusal> {
    let envelope = Envelope::peek(frame, MAX_MESSAGE)?;
    if !StrictVerifier.verify(&keys().public(), &envelope.signed(network_id), &envelope.signature) {
        return Err(Refusal::BadSignature);
    }
    unpack(&envelope).map(|payloads| (envelope.header, payloads))
}

fn open(frame: &[u8]) -> Result<(Header, Vec<Payload>), Refusal> {
    open_in(NETWORK, frame)
}

/// The payloads; none may be handed out where the envelope is refused.
fn unpack(envelope: &Envelope<'_>) -> Result<Vec<Payload>, Refusal> {
    let mut payloads = Vec::new();
    let result = envelope.payloads(MAX_MESSAGE, &mut |payload| payloads.push(payload));
    assert!(result.is_ok() || payloads.is_empty(), "a refused envelope handed out {payloads:?}");
    result.map(|()| payloads)
}

fn codec() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::Bincode), Just(Codec::Json)]
}

fn text(bytes: Range<usize>) -> impl Strategy<Value = String> {
    // A character of UTF-8 has up to four bytes.
    vec(any::<char>(), bytes.start..bytes.end.div_ceil(4)).prop_map(String::from_iter)
}

fn capabilities(count: usize) -> impl Strategy<Value = Vec<String>> {
    vec(text(1..32), 0..count)
}

fn node_id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 16]>().prop_map(NodeId)
}

fn job_id() -> impl Strategy<Value = JobId> {
    any::<[u8; 16]>().prop_map(JobId)
}

fn share() -> impl Strategy<Value = Ppm> {
    (0..=1_000_000u32).prop_map(Ppm)
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..=100_000_000u64, Just(0), Just(u64::MAX)]
}

fn signature() -> impl Strategy<Value = Signature> {
    any::<[u8; 32]>().prop_map(|half| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&half);
        bytes[32..].copy_from_slice(&half);
        Signature(bytes)
    })
}

fn link(new_key: [u8; 32]) -> KeyLink {
    let rotated_at = WallTime(1_704_672_000_000_000);
    KeyLink { sequence: 1, new_key, rotated_at, old_signature: Signature([8; 64]) }
}

fn announce() -> impl Strategy<Value = Announce> {
    let names = (text(0..64), text(0..128), text(0..128), capabilities(32));
    let numbers = (any::<[u32; 4]>(), share(), amount());
    (node_id(), any::<[u8; 32]>(), signature(), names, numbers).prop_map(
        |(node_id, public_key, record_signature, names, numbers)| {
            let (node_name, pub_endpoint, sub_endpoint, capabilities) = names;
            let ([incarnation, sequence, protocol_version, active_jobs], trust_score, balance) = numbers;
            Announce {
                node_id,
                node_name,
                public_key,
                rotations: vec![link(public_key); (sequence % 3) as usize],
                incarnation,
                sequence,
                signed_at: WallTime(u64::from(incarnation) * 1_000_000),
                pub_endpoint,
                sub_endpoint,
                protocol_version,
                capabilities,
                trust_score,
                active_jobs,
                wallet_balance: Tokens(balance),
                record_signature,
            }
        },
    )
}

fn pong() -> impl Strategy<Value = Pong> {
    (node_id(), amount(), amount(), any::<bool>()).prop_map(|(node_id, stamp, held, direct)| Pong {
        node_id,
        ping_timestamp: WallTime(stamp),
        held: Span(held),
        direct,
    })
}

fn job() -> impl Strategy<Value = Payload> {
    let body = (text(1..32), text(0..6_000), share(), amount(), amount(), amount(), capabilities(16));
    (0..=1u64 << 53, body).prop_map(|(counter, body)| {
        let (job_type, command, priority, submitted, deadline, payment, requirements) = body;
        let body = JobBody {
            job_type,
            command,
            priority,
            submitted: WallTime(submitted),
            deadline: WallTime(deadline),
            payment: Tokens(payment),
            requirements,
            consistency: if counter % 2 == 0 { Consistency::Quorum } else { Consistency::Available },
            max_attempts: 1 + (counter % u64::from(MAX_ATTEMPTS)) as u32,
        };
        Payload::JobBroadcast(JobBroadcast { counter, submitter: keys().id(), body })
    })
}

fn offer() -> impl Strategy<Value = Offer> {
    (share(), amount(), amount()).prop_map(|(score, stake, done)| Offer {
        score,
        stake: Tokens(stake),
        estimated_completion: Span(done),
    })
}

fn proposal() -> impl Strategy<Value = Payload> {
    let listed = any::<(u32, u32)>().prop_map(|(bidder, rank)| ListedBid { bidder, rank });
    let named = (node_id(), option::of(node_id()));
    (job_id(), any::<u32>(), any::<[u8; 8]>(), named, any::<u32>(), vec(listed, 0..=MAX_LISTED_BIDS)).prop_map(
        |(job_id, round, electorate, (winner_id, backup_id), bids, best)| {
            Payload::AuctionCoordinate(AuctionCoordinate {
                job_id,
                round,
                electorate: ElectorateId(electorate),
                winner_id,
                backup_id,
                bids,
                best,
            })
        },
    )
}

fn claim_certificate() -> impl Strategy<Value = Payload> {
    let bitmap = || vec(any::<u8>(), 0..20);
    (statement(), bitmap(), vec(signature(), 0..100), bitmap()).prop_map(
        |(statement, voters, signatures, reachable)| {
            Payload::ClaimCertificate(ClaimCertificate { statement, voters, signatures, reachable })
        },
    )
}

fn job_result() -> impl Strategy<Value = Payload> {
    // Noise stays as it is, runs are compressed.
    let output = prop_oneof![vec(any::<u8>(), 0..8_000), (any::<u8>(), 0..60_000usize).prop_map(|(b, n)| vec![b; n])];
    (job_id(), any::<u32>(), any::<bool>(), output, any::<bool>(), amount()).prop_map(
        |(job_id, round, success, output, truncated, duration)| {
            let status = if success { JobStatus::Success } else { JobStatus::Failure };
            let output_bytes = output.len() as u32 + u32::from(truncated) * 7;
            let duration = Span(duration);
            Payload::JobResult(JobResult { job_id, round, status, output, output_bytes, truncated, duration })
        },
    )
}

fn trust_report() -> impl Strategy<Value = TrustReport> {
    (node_id(), share(), any::<[u32; 2]>()).prop_map(|(node_id, trust_score, counts)| TrustReport {
        node_id,
        trust_score,
        total_jobs: counts[0].max(counts[1]),
        good_jobs: counts[0].min(counts[1]),
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    (job_id(), any::<u32>(), node_id(), option::of(node_id()), any::<[u8; 8]>()).prop_map(
        |(job_id, round, winner, backup, electorate)| {
            let electorate = ElectorateId(electorate);
            Statement { job_id, round, winner, backup, electorate }
        },
    )
}

fn contradiction() -> impl Strategy<Value = Contradiction> {
    let vote =
        || (statement(), signature()).prop_map(|(statement, vote_signature)| SignedVote { statement, vote_signature });
    let frame = || vec(any::<u8>(), 0..=MAX_EVIDENCE_FRAME);
    prop_oneof![
        (vote(), vote()).prop_map(|(first, second)| Contradiction::Votes { first, second }),
        (announce(), announce())
            .prop_map(|(first, second)| Contradiction::Announces { first: Box::new(first), second: Box::new(second) }),
        (frame(), frame()).prop_map(|(first, second)| Contradiction::Frames { first, second }),
    ]
}

fn proof() -> impl Strategy<Value = Proof> {
    (any::<[u8; 8]>(), vec(any::<u8>(), 0..20), vec(signature(), 0..100))
        .prop_map(|(electorate, voters, signatures)| Proof { electorate: ElectorateId(electorate), voters, signatures })
}

fn transaction() -> impl Strategy<Value = TokenTransaction> {
    let reason = prop::sample::select(vec![
        TransferReason::OnTime,
        TransferReason::Late,
        TransferReason::VeryLate,
        TransferReason::Release,
    ]);
    // Few payees, so that several transfers go to one.
    let payee = prop_oneof![node_id(), Just(NodeId([7; 16])), Just(NodeId([8; 16]))];
    let transfer = (job_id(), payee, amount(), reason).prop_map(|(job_id, to, amount, reason)| Transfer {
        job_id,
        to,
        amount: Tokens(amount),
        reason,
    });
    (node_id(), 0..=1u64 << 53, vec(transfer, 0..=MAX_TRANSFERS as usize), signature()).prop_map(
        |(account, seq, transfers, transaction_signature)| TokenTransaction {
            account,
            seq,
            transfers,
            transaction_signature,
        },
    )
}

fn account_record() -> impl Strategy<Value = Payload> {
    let row = vec((node_id(), amount()).prop_map(|(to, paid)| RowEntry { to, paid: Tokens(paid) }), 0..40);
    let proof = (any::<[u8; 32]>(), proof()).prop_map(|(transaction, votes)| HeadProof { transaction, votes });
    (node_id(), 0..=1u64 << 53, row, option::of(proof), option::of(transaction())).prop_map(
        |(account, seq, row, proof, pending)| {
            Payload::AccountRecord(AccountRecord { account, seq, row, proof, pending })
        },
    )
}

fn account_head() -> impl Strategy<Value = AccountHead> {
    (node_id(), 0..=1u64 << 53, 0..=1u64 << 53).prop_map(|(account, seq, penalties)| AccountHead {
        account,
        seq,
        penalties,
    })
}

fn penalty_record() -> impl Strategy<Value = PenaltyRecord> {
    (node_id(), 0..=1u64 << 53, vec(job_id(), 0..=MAX_LAPSES_NAMED), proof())
        .prop_map(|(claimer, number, jobs, proof)| PenaltyRecord { claimer, number, jobs, proof })
}

/// Every kind of payload, within its limits.
fn payload() -> impl Strategy<Value = Payload> {
    let pongs = [option::of(pong()), option::of(pong())];
    prop_oneof![
        (announce(), any::<bool>())
            .prop_map(|(record, want_records)| Payload::PeerAnnounce(Box::new(PeerAnnounce { record, want_records }))),
        (vec(announce(), 0..8), any::<u32>(), any::<bool>()).prop_map(|(records, members_digest, complete)| {
            Payload::PeerRecords(PeerRecords { members_digest, complete, records })
        }),
        (any::<u32>(), any::<u32>(), pongs).prop_map(|(members_digest, ledger_digest, pongs)| {
            Payload::Ping(Ping { members_digest, ledger_digest, pongs })
        }),
        vec(account_head(), 0..50).prop_map(|heads| Payload::AccountHeads(AccountHeads { heads })),
        (node_id(), amount()).prop_map(|(node_id, us)| Payload::PeerProbe(PeerProbe { node_id, silent_for: Span(us) })),
        (node_id(), amount()).prop_map(|(node_id, us)| Payload::PeerSeen(PeerSeen { node_id, silent_for: Span(us) })),
        Just(Payload::Goodbye(Goodbye {})),
        job(),
        (job_id(), any::<u32>(), option::of(offer())).prop_map(|(job_id, round, offer)| Payload::JobBid(JobBid {
            job_id,
            round,
            offer
        })),
        proposal(),
        (job_id(), any::<u32>(), signature()).prop_map(|(job_id, round, vote_signature)| {
            Payload::ClaimVote(ClaimVote { job_id, round, vote_signature })
        }),
        (job_id(), any::<u32>()).prop_map(|(job_id, round)| Payload::JobClaim(JobClaim { job_id, round })),
        claim_certificate(),
        job_id().prop_map(|job_id| Payload::CertificateRequest(CertificateRequest { job_id })),
        (job_id(), any::<u32>(), share())
            .prop_map(|(job_id, round, progress)| { Payload::JobHeartbeat(JobHeartbeat { job_id, round, progress }) }),
        job_result(),
        (job_id(), any::<u32>(), any::<[u8; 8]>()).prop_map(|(job_id, round, electorate)| {
            Payload::Takeover(Takeover { job_id, round, electorate: ElectorateId(electorate) })
        }),
        (job_id(), any::<u32>()).prop_map(|(job_id, round)| Payload::LeaseLapsed(LeaseLapsed { job_id, round })),
        (job_id(), any::<u32>()).prop_map(|(job_id, offset)| Payload::OutputRequest(OutputRequest { job_id, offset })),
        (job_id(), any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..2_000)).prop_map(
            |(job_id, round, offset, bytes)| { Payload::OutputChunk(OutputChunk { job_id, round, offset, bytes }) }
        ),
        amount().prop_map(|since| Payload::StateRequest(StateRequest { since: WallTime(since) })),
        transaction().prop_map(Payload::TokenTransaction),
        (0..=1u64 << 53, any::<[u8; 8]>(), signature()).prop_map(|(seq, electorate, vote_signature)| {
            Payload::LedgerVote(LedgerVote { seq, electorate: ElectorateId(electorate), vote_signature })
        }),
        (0..=1u64 << 53, proof()).prop_map(|(seq, proof)| Payload::LedgerCertificate(LedgerCertificate { seq, proof })),
        (node_id(), 0..=1u64 << 53)
            .prop_map(|(account, penalties)| { Payload::AccountRequest(AccountRequest { account, penalties }) }),
        (node_id(), 0..=1u64 << 53, any::<[u8; 8]>(), signature()).prop_map(
            |(claimer, number, electorate, vote_signature)| {
                let electorate = ElectorateId(electorate);
                Payload::PenaltyVote(PenaltyVote { claimer, number, electorate, vote_signature })
            }
        ),
        (node_id(), vec(penalty_record(), 0..8))
            .prop_map(|(submitter, penalties)| Payload::PenaltyRecords(PenaltyRecords { submitter, penalties })),
        account_record(),
        (any::<u32>(), vec(trust_report(), 0..=MAX_REPORTED)).prop_map(|(proven_digest, reports)| {
            Payload::ReputationUpdate(ReputationUpdate { proven_digest, reports })
        }),
        (job_id(), vec(any::<u8>(), 0..500))
            .prop_map(|(job_id, sealed)| Payload::SealedCommand(SealedCommand { job_id, sealed })),
        vec(any::<u8>(), 0..500).prop_map(|sealed| Payload::SealedBundle(SealedBundle { sealed })),
        announce().prop_map(|record| Payload::KeyRotation(Box::new(KeyRotation { record }))),
        (node_id(), contradiction()).prop_map(|(author, proof)| Payload::Evidence(Box::new(Evidence {
            author,
            rotations: Vec::new(),
            proof
        }))),
    ]
}

fn any_header() -> impl Strategy<Value = Header> {
    // Up to the year 2242: beyond 2^33 seconds a double cannot hold every microsecond.
    let stamp = prop_oneof![0..8_589_934_592_000_000u64, Just(0), Just(1_704_672_000_123_000)];
    (stamp, any::<u32>(), 1..=u64::MAX, option::of(node_id()))
        .prop_map(|(stamp, incarnation, counter, to)| header(stamp, incarnation, counter, to))
}

/// A frame of one payload, or of a bundle.
fn frame() -> impl Strategy<Value = (Codec, Vec<u8>)> {
    (any_header(), codec(), vec(payload(), 1..4))
        .prop_map(|(header, codec, payloads)| (codec, sealed(header, codec, &payloads)))
}

/// Whether its JSON is within the size of its kind: dozens of capabilities made of escaped control characters are not.
fn fits(payload: &Payload) -> bool {
    let mut bytes = Vec::new();
    encode(Codec::Json, payload, &mut bytes);
    bytes.len() <= payload.kind().max_payload(MAX_MESSAGE) as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn whatever_is_sealed_opens_to_the_same_in_both_codecs(
        header in any_header(),
        codec in codec(),
        payloads in vec(payload().prop_filter("within its size", fits), 1..5),
    ) {
        let frame = sealed(header, codec, &payloads);
        let (opened, again) = open(&frame).expect("own frame");
        let kind = if payloads.len() > 1 { MsgType::Bundle } else { payloads[0].kind() };
        prop_assert_eq!(Header { kind, compressed: opened.compressed, ..header }, opened);
        prop_assert_eq!(payloads, again);
    }

    #[test]
    fn a_flipped_byte_of_a_binary_frame_is_never_accepted(
        header in any_header(),
        payloads in vec(payload(), 1..3),
        places in vec((any::<prop::sample::Index>(), 1..=255u8), 24),
    ) {
        let frame = sealed(header, Codec::Bincode, &payloads);
        for (place, flip) in places {
            let mut spoiled = frame.clone();
            *place.get_mut(&mut spoiled) ^= flip;
            prop_assert!(open(&spoiled).is_err(), "byte {} ^ {flip}", place.index(frame.len()));
        }
    }

    #[test]
    fn a_changed_byte_of_a_json_frame_is_refused_or_means_the_same(
        header in any_header(),
        payloads in vec(payload().prop_filter("within its size", fits), 1..3),
        places in vec((any::<prop::sample::Index>(), 1..=255u8), 24),
    ) {
        let frame = sealed(header, Codec::Json, &payloads);
        let meaning = open(&frame);
        for (place, flip) in places {
            let mut spoiled = frame.clone();
            *place.get_mut(&mut spoiled) ^= flip;
            let opened = open(&spoiled);
            prop_assert!(opened.is_err() || opened == meaning, "byte {} ^ {flip}", place.index(frame.len()));
        }
    }

    #[test]
    fn a_frame_of_one_network_is_worth_nothing_in_another((_, frame) in frame(), other in "[a-z]{1,64}") {
        prop_assume!(other != NETWORK);
        prop_assert!(open_in(&other, &frame).is_err());
    }

    #[test]
    fn noise_is_refused_without_a_panic(start in 0..3usize, mut noise in vec(any::<u8>(), 0..400)) {
        // Without a first byte that is a codec's, it does not come far.
        match (start, noise.first_mut()) {
            (0, Some(first)) => *first = VERSION,
            (1, Some(first)) => *first = b'{',
            _ => {}
        }
        if let Ok(envelope) = Envelope::peek(&noise, MAX_MESSAGE) {
            let _ = unpack(&envelope);
        }
    }

    #[test]
    fn noise_under_a_good_signature_is_refused_without_a_panic(
        kind in prop::sample::select(MsgType::ALL.to_vec()),
        noise in vec(any::<u8>(), 0..6_000),
    ) {
        let _ = open(&sealed_raw(plain_header(), Codec::Bincode, &[(kind, &noise)]));
    }

    #[test]
    fn a_frame_cut_short_is_refused_without_a_panic(
        (_, frame) in frame(),
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = &frame[..cut.index(frame.len())];
        prop_assert!(open(cut).is_err());
        if let Ok(envelope) = Envelope::peek(cut, MAX_MESSAGE) {
            let _ = unpack(&envelope);
        }
    }
}

/// A frame of each codec with a recipient and a compressed payload, and one without.
fn examples(codec: Codec) -> [Vec<u8>; 2] {
    let claim = Payload::JobClaim(JobClaim { job_id: JobId([5; 16]), round: 2 });
    let output = Payload::JobResult(JobResult {
        job_id: JobId([5; 16]),
        round: 2,
        status: JobStatus::Success,
        output: vec![b'x'; 9_000],
        output_bytes: 9_000,
        truncated: false,
        duration: Span(4_500_000),
    });
    let directed = header(1_704_672_000_123_000, 3, 9, Some(NodeId([8; 16])));
    [sealed(plain_header(), codec, &[claim]), sealed(directed, codec, &[output])]
}

#[test]
fn every_byte_of_a_binary_frame_is_signed() {
    for frame in examples(Codec::Bincode) {
        for place in 0..frame.len() {
            for flip in [1, 0x80, 0xff] {
                let mut spoiled = frame.clone();
                spoiled[place] ^= flip;
                assert!(open(&spoiled).is_err(), "byte {place} of {} ^ {flip}", frame.len());
            }
        }
    }
}

#[test]
fn every_field_of_a_json_envelope_is_signed() {
    // Another value that is valid by itself, for each field.
    let nonce = format!("{}:1704672000.123:{:08x}{:016x}", keys().id(), 3, 10);
    let others = [
        ("msg_type", json!("JOB_HEARTBEAT")),
        ("sender_id", json!(NodeId([1; 16]))),
        ("to", json!(NodeId([1; 16]))),
        ("timestamp", json!(1_704_672_000.124)),
        ("nonce", json!(nonce)),
        ("signature", json!(Signature([1; 64]))),
        ("version", json!(2)),
        ("network", json!("0000")),
        ("encoding", json!("gzip")),
        ("payload", json!({"job_id": JobId([5; 16]), "round": 3})),
        ("extra", json!(1)),
    ];
    for frame in examples(Codec::Json) {
        let fields: Value = serde_json::from_slice(&frame).expect("JSON");
        assert!(open(&frame).is_ok() && open(&fields.to_string().into_bytes()).is_ok(), "order is free");
        for (key, other) in &others {
            let mut changed = fields.clone();
            if fields.get(key) != Some(other) {
                changed[*key] = other.clone();
                assert!(open(changed.to_string().as_bytes()).is_err(), "{key} = {other}");
            }
            changed = fields.clone();
            if changed.as_object_mut().expect("an object").remove(*key).is_some() {
                assert!(open(changed.to_string().as_bytes()).is_err(), "without {key}");
            }
        }
    }
}

/// A JSON frame with a part of its text replaced, which must be there.
fn edited(from: &str, to: &str) -> Vec<u8> {
    let [frame, _] = examples(Codec::Json);
    let text = String::from_utf8(frame).expect("UTF-8");
    assert!(text.contains(from), "{from} in {text}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn a_json_envelope_is_refused_for_the_reason_that_it_deserves() {
    let stamp = r#""timestamp":1704672000.123"#;
    let sender = keys().id().to_string();
    let table: &[(&str, &str, Refusal)] = &[
        (r#""version":1"#, r#""version":2"#, Refusal::WrongVersion),
        (r#""version":1"#, r#""version":"1""#, Refusal::Malformed),
        (r#""version":1,"#, "", Refusal::Malformed),
        (r#""version":1"#, r#""version":1,"version":1"#, Refusal::Malformed),
        (r#""version":1"#, r#""version":1,"more":1"#, Refusal::Malformed),
        (r#""round":2"#, r#""round":2,"round":2"#, Refusal::Malformed),
        (r#""round":2"#, r#""round":9007199254740993"#, Refusal::Malformed),
        (r#""round":2"#, r#""round":-9007199254740993"#, Refusal::Malformed),
        (r#""round":2"#, r#""round":1e300"#, Refusal::Malformed),
        (r#""round":2"#, r#""round":NaN"#, Refusal::Malformed),
        (r#""round":2"#, r#""round":1"#, Refusal::BadSignature),
        (stamp, r#""timestamp":1704672000.124"#, Refusal::Malformed),
        (stamp, r#""timestamp":1704672000.1234567"#, Refusal::Malformed),
        (stamp, r#""timestamp":-1704672000.123"#, Refusal::Malformed),
        (stamp, r#""timestamp":Infinity"#, Refusal::Malformed),
        (stamp, r#""timestamp":1e999"#, Refusal::Malformed),
        (stamp, r#""timestamp":"1704672000.123""#, Refusal::Malformed),
        (stamp, r#""timestamp":null"#, Refusal::Malformed),
        (":1704672000.123:", ":1704672000.1230:", Refusal::Malformed),
        (":1704672000.123:0", ":1704672000.123:", Refusal::Malformed),
        (":1704672000.123:0", ":1704672000.123:A", Refusal::Malformed),
        (":1704672000.123:0", ":1704672000.123:1", Refusal::BadSignature),
        (&sender, &"0".repeat(32), Refusal::Malformed),
        (r#""payload":{"#, r#""payload":[{"#, Refusal::Malformed),
        (r#""network":"5"#, r#""network":"F"#, Refusal::Malformed),
        (r#""JOB_CLAIM""#, r#""JOB_STEAL""#, Refusal::Malformed),
        (r#""JOB_CLAIM""#, r#""BUNDLE""#, Refusal::BadSignature),
        (r#""version":1"#, r#""version":1,"encoding":"zip""#, Refusal::Malformed),
        (r#""version":1"#, r#""version":1,"encoding":"gzip""#, Refusal::Malformed),
        (r#""version":1"#, r#""version":1,"to":null"#, Refusal::Malformed),
        (r#""signature":""#, r#""signature":"A"#, Refusal::Malformed),
    ];
    let tag = format!("{:04x}", network_tag(NETWORK));
    for (from, to, refusal) in table {
        let from = from.replace(r#""network":"5"#, &format!(r#""network":"{}"#, &tag[..1]));
        assert_eq!(open(&edited(&from, to)).map(|_| ()), Err(*refusal), "{from} -> {to}");
    }
    let [mut frame, _] = examples(Codec::Json);
    frame.push(b'}');
    assert_eq!(open(&frame), Err(Refusal::Malformed), "something after the envelope");
}

#[test]
fn a_stamp_that_a_double_cannot_hold_is_sealed_without_a_panic_and_refused() {
    // What a broken clock may say. In binary it is left to the check of stamps.
    for stamp in [u64::MAX, 8_589_934_592_000_001, 1_000_000_000_000_000_001] {
        let goodbye = [Payload::Goodbye(Goodbye {})];
        assert!(open(&sealed(header(stamp, 1, 1, None), Codec::Bincode, &goodbye)).is_ok());
        let opened = open(&sealed(header(stamp, 1, 1, None), Codec::Json, &goodbye));
        assert!(opened.is_err() || opened.is_ok_and(|(header, _)| header.timestamp == WallTime(stamp)), "{stamp}");
    }
}

#[test]
fn white_space_and_the_writing_of_a_number_are_free_in_json() {
    for (from, to) in [
        (r#""round":2"#, "\n \"round\" :\t2"),
        (r#""timestamp":1704672000.123"#, r#""timestamp":17046720001.23e-1"#),
        (r#""JOB_CLAIM""#, r#""\u004aOB_CLAIM""#),
    ] {
        assert!(open(&edited(from, to)).is_ok(), "{from} -> {to}");
    }
}

#[test]
fn a_bundle_with_a_broken_item_hands_out_none_of_its_items() {
    let claim = Payload::JobClaim(JobClaim { job_id: JobId([5; 16]), round: 2 });
    for codec in [Codec::Bincode, Codec::Json] {
        let mut good = Vec::new();
        encode(codec, &claim, &mut good);
        let broken: &[u8] = if codec == Codec::Json { br#"{"job_id":"job-1","round":2}"# } else { &[0; 3] };
        let nested: &[u8] = if codec == Codec::Json { br#"{"items":[]}"# } else { &[] };
        for last in [(MsgType::JobClaim, broken), (MsgType::Bundle, nested)] {
            let frame = sealed_raw(plain_header(), codec, &[(MsgType::JobClaim, &good), last]);
            assert_eq!(open(&frame), Err(Refusal::Malformed));
        }
        if codec == Codec::Json {
            let array = json!([JobId([5; 16]), 2]).to_string();
            let array = (MsgType::JobClaim, array.as_bytes());
            let frame = sealed_raw(plain_header(), codec, &[(MsgType::JobClaim, &good), array]);
            assert_eq!(open(&frame), Err(Refusal::Malformed), "an array is no payload");
        }
        let good = sealed_raw(plain_header(), codec, &[(MsgType::JobClaim, &good), (MsgType::JobClaim, &good)]);
        assert_eq!(open(&good).map(|(_, payloads)| payloads), Ok(vec![claim.clone(), claim.clone()]));
    }
}

#[test]
fn a_bundle_says_what_each_item_costs_and_nothing_else_does() {
    let (claim, goodbye) = (JobClaim { job_id: JobId([5; 16]), round: 2 }, Payload::Goodbye(Goodbye {}));
    let bundle = [Payload::JobClaim(claim), goodbye];
    let json = r#"{"msg_type":"JOB_CLAIM","payload":{"job_id":"job-05050505050505050505050505050505","round":2}}"#;
    let sizes =
        [(Codec::Bincode, [19, 2]), (Codec::Json, [json.len(), r#"{"msg_type":"GOODBYE","payload":{}}"#.len()])];
    for (codec, [first, second]) in sizes {
        let items = binary::bundle_items(&sealed(plain_header(), codec, &bundle));
        assert_eq!(items, [(MsgType::JobClaim, first), (MsgType::Goodbye, second)]);
        assert_eq!(binary::bundle_items(&sealed(plain_header(), codec, &bundle[..1])), []);
        // Compressed, too.
        let many = sealed(plain_header(), codec, &vec![bundle.clone(); 250].concat());
        let total: usize = binary::bundle_items(&many).iter().map(|(_, bytes)| bytes).sum();
        assert!(many.len() < total && total == 250 * (first + second), "{total}");
    }
    assert_eq!(binary::bundle_items(b""), []);
    assert_eq!(binary::bundle_items(b"{}"), []);
}

#[test]
fn an_item_of_a_bundle_has_the_size_limit_of_its_type() {
    let text = json!({"members_digest": 1, "pongs": [null, null], "x": "y".repeat(400)}).to_string();
    for (codec, large) in [(Codec::Bincode, [0; 400].as_slice()), (Codec::Json, text.as_bytes())] {
        let mut goodbye = Vec::new();
        encode(codec, &Payload::Goodbye(Goodbye {}), &mut goodbye);
        let frame = sealed_raw(plain_header(), codec, &[(MsgType::Goodbye, &goodbye), (MsgType::Ping, large)]);
        assert_eq!(open(&frame), Err(Refusal::TooLarge));
    }
}

#[test]
fn a_bundle_of_more_than_its_limit_is_refused() {
    let items = vec![json!({"msg_type": "GOODBYE", "payload": {}}); binary::MAX_BUNDLE + 1];
    let text = json!({"items": items}).to_string();
    let frame = sealed_raw(plain_header(), Codec::Json, &[(MsgType::Bundle, text.as_bytes())]);
    assert_eq!(open(&frame), Err(Refusal::TooLarge));
    let bytes = [MsgType::Goodbye as u8, 0].repeat(binary::MAX_BUNDLE + 1);
    let frame = sealed_raw(plain_header(), Codec::Bincode, &[(MsgType::Bundle, &bytes)]);
    assert_eq!(open(&frame), Err(Refusal::TooLarge));
    let frame = sealed_raw(plain_header(), Codec::Bincode, &[(MsgType::Bundle, &bytes[2..])]);
    assert_eq!(open(&frame).map(|(_, payloads)| payloads.len()), Ok(binary::MAX_BUNDLE));
}

#[test]
fn a_bomb_stops_at_the_limit_of_its_type() {
    let zeros = vec![0; 40_000_000];
    let frame = sealed_raw(plain_header(), Codec::Bincode, &[(MsgType::Ping, &zeros)]);
    assert!(frame.len() < 600_000, "a bomb is small: {}", frame.len());
    assert_eq!(open(&frame), Err(Refusal::TooLarge));

    let blanks = format!("{{{}}}", " ".repeat(40_000_000));
    let frame = sealed_raw(plain_header(), Codec::Json, &[(MsgType::Ping, blanks.as_bytes())]);
    assert!(frame.len() < 600_000, "a bomb is small: {}", frame.len());
    assert_eq!(open(&frame), Err(Refusal::TooLarge));

    let long = json!({"members_digest": 1, "pongs": [null, null], "x": "y".repeat(1_000)}).to_string();
    let frame = sealed_raw(plain_header(), Codec::Json, &[(MsgType::Ping, long.as_bytes())]);
    assert_eq!(open(&frame), Err(Refusal::TooLarge));
}

#[test]
fn deep_and_crowded_json_is_refused_while_it_is_read() {
    for text in ["[".repeat(100_000), r#"{"a":"#.repeat(100_000), format!("[{}0]", "0,".repeat(100_000))] {
        let frame = format!(r#"{{"payload":{text}"#);
        assert!(matches!(Envelope::peek(frame.as_bytes(), MAX_MESSAGE), Err(Refusal::Malformed)));
        let frame = sealed_raw(plain_header(), Codec::Json, &[(MsgType::JobResult, text.as_bytes())]);
        assert_eq!(open(&frame), Err(Refusal::Malformed), "compressed");
    }
    // In an envelope that is good but for its crowd: fewer values only spoil the signature.
    let crowd = |n: usize| format!(r#""round":[{}0]"#, "0,".repeat(n - 1));
    assert_eq!(open(&edited(r#""round":2"#, &crowd(60_000))), Err(Refusal::BadSignature));
    assert_eq!(open(&edited(r#""round":2"#, &crowd(65_536))), Err(Refusal::Malformed));
}

#[test]
fn a_frame_larger_than_the_limit_is_not_looked_at() {
    for codec in [Codec::Bincode, Codec::Json] {
        for frame in examples(codec) {
            let length = u32::try_from(frame.len()).expect("short");
            assert!(Envelope::peek(&frame, length).is_ok());
            assert!(matches!(Envelope::peek(&frame, length - 1), Err(Refusal::TooLarge)));
        }
    }
    assert!(matches!(Envelope::peek(b"", MAX_MESSAGE), Err(Refusal::Malformed)));
    assert!(matches!(Envelope::peek(b"hello", MAX_MESSAGE), Err(Refusal::WrongVersion)));
}

fn job_with(change: impl FnOnce(&mut JobBroadcast)) -> Payload {
    let body = JobBody {
        job_type: "shell".into(),
        command: "ls -la".into(),
        priority: Ppm(800_000),
        submitted: WallTime(1_704_672_000_000_000),
        deadline: WallTime(1_704_672_060_000_000),
        payment: Tokens::whole(10),
        requirements: Vec::new(),
        consistency: Consistency::Quorum,
        max_attempts: 1,
    };
    let mut job = JobBroadcast { counter: 1, submitter: keys().id(), body };
    change(&mut job);
    Payload::JobBroadcast(job)
}

fn announce_with(change: impl FnOnce(&mut Announce)) -> Payload {
    let mut announce = Announce {
        node_id: NodeId([3; 16]),
        node_name: "n".repeat(64),
        public_key: [4; 32],
        rotations: vec![link([6; 32]); MAX_ROTATIONS],
        incarnation: 1,
        sequence: 1,
        signed_at: WallTime(1_704_672_000_000_000),
        pub_endpoint: "e".repeat(128),
        sub_endpoint: "e".repeat(128),
        protocol_version: 1,
        capabilities: vec!["c".repeat(32); 32],
        trust_score: Ppm::ONE,
        active_jobs: 0,
        wallet_balance: Tokens(0),
        record_signature: Signature([5; 64]),
    };
    change(&mut announce);
    Payload::PeerAnnounce(Box::new(PeerAnnounce { record: announce, want_records: false }))
}

fn records(count: usize) -> Payload {
    let Payload::PeerAnnounce(mut announce) = announce_with(|_| {}) else { unreachable!("an announce") };
    announce.record.capabilities.truncate(2);
    Payload::PeerRecords(PeerRecords { members_digest: 0, complete: true, records: vec![announce.record; count] })
}

fn certificate_with(voters: usize, signatures: usize, reachable: usize) -> Payload {
    let statement = Statement {
        job_id: JobId([5; 16]),
        round: 1,
        winner: NodeId([3; 16]),
        backup: None,
        electorate: ElectorateId([6; 8]),
    };
    Payload::ClaimCertificate(ClaimCertificate {
        statement,
        voters: vec![0; voters],
        signatures: vec![Signature([5; 64]); signatures],
        reachable: vec![0; reachable],
    })
}

fn paying(count: usize, seq: u64) -> TokenTransaction {
    let transfer = Transfer {
        job_id: JobId([0xff; 16]),
        to: NodeId([0xff; 16]),
        amount: Tokens(u64::MAX),
        reason: TransferReason::VeryLate,
    };
    let (account, transaction_signature) = (NodeId([3; 16]), Signature([5; 64]));
    TokenTransaction { account, seq, transfers: vec![transfer; count], transaction_signature }
}

fn ledger_certificate(seq: u64, voters: usize, signatures: usize) -> LedgerCertificate {
    let (electorate, signature) = (ElectorateId([6; 8]), Signature([5; 64]));
    let proof = Proof { electorate, voters: vec![0; voters], signatures: vec![signature; signatures] };
    LedgerCertificate { seq, proof }
}

fn record_with(payees: usize, votes: usize, pending: Option<TokenTransaction>) -> Payload {
    let row = vec![RowEntry { to: NodeId([0xff; 16]), paid: Tokens(u64::MAX) }; payees];
    let votes = ledger_certificate(1, 512, votes).proof;
    let proof = Some(HeadProof { transaction: [0xff; 32], votes });
    Payload::AccountRecord(AccountRecord { account: NodeId([3; 16]), seq: 1, row, proof, pending })
}

fn listed(count: usize) -> Payload {
    let best = vec![ListedBid { bidder: 3, rank: u32::MAX }; count];
    let (winner_id, backup_id) = (NodeId([3; 16]), None);
    let electorate = ElectorateId([6; 8]);
    Payload::AuctionCoordinate(AuctionCoordinate {
        job_id: JobId([5; 16]),
        round: 1,
        electorate,
        winner_id,
        backup_id,
        bids: 99,
        best,
    })
}

#[test]
fn what_is_at_a_limit_passes_and_what_is_over_it_is_refused_in_both_codecs() {
    let (long, longest) = ("x".repeat(33), "x".repeat(32));
    let table = [
        ("a full announce", announce_with(|_| {}), true),
        ("a name of 65 bytes", announce_with(|a| a.node_name.push('n')), false),
        ("a pub endpoint of 129", announce_with(|a| a.pub_endpoint.push('e')), false),
        ("a sub endpoint of 129", announce_with(|a| a.sub_endpoint.push('e')), false),
        ("33 capabilities", announce_with(|a| a.capabilities.push("c".into())), false),
        ("a capability of 33 bytes", announce_with(|a| a.capabilities[0] = long.clone()), false),
        ("an empty capability", announce_with(|a| a.capabilities[0].clear()), false),
        ("trust above 1", announce_with(|a| a.trust_score.0 += 1), false),
        ("256 records", records(256), true),
        ("257 records", records(257), false),
        ("an ordinary job", job_with(|_| {}), true),
        ("16 requirements", job_with(|j| j.body.requirements = vec![longest.clone(); 16]), true),
        ("17 requirements", job_with(|j| j.body.requirements = vec![longest.clone(); 17]), false),
        ("a requirement of 33 bytes", job_with(|j| j.body.requirements = vec![long.clone()]), false),
        ("an empty requirement", job_with(|j| j.body.requirements = vec![String::new()]), false),
        ("a job type of 33 bytes", job_with(|j| j.body.job_type = long.clone()), false),
        ("no job type", job_with(|j| j.body.job_type.clear()), false),
        ("priority above 1", job_with(|j| j.body.priority.0 = 1_000_001), false),
        ("the last counter", job_with(|j| j.counter = 1 << 53), true),
        ("a counter beyond JSON", job_with(|j| j.counter = (1 << 53) + 1), false),
        ("64 listed bids", listed(64), true),
        ("65 listed bids", listed(65), false),
        ("4096 votes", certificate_with(512, 4_096, 512), true),
        ("4097 votes", certificate_with(512, 4_097, 0), false),
        ("a bitmap of 513 bytes", certificate_with(513, 4_096, 0), false),
        ("513 bytes of reachable members", certificate_with(512, 4_096, 513), false),
        ("64 transfers", Payload::TokenTransaction(paying(64, 1 << 53)), true),
        ("65 transfers", Payload::TokenTransaction(paying(65, 1)), false),
        ("a number beyond JSON", Payload::TokenTransaction(paying(1, (1 << 53) + 1)), false),
        ("4096 votes for money", Payload::LedgerCertificate(ledger_certificate(1 << 53, 512, 4_096)), true),
        ("4097 votes for money", Payload::LedgerCertificate(ledger_certificate(1, 512, 4_097)), false),
        ("a bitmap of 513 for money", Payload::LedgerCertificate(ledger_certificate(1, 513, 4_096)), false),
        ("a full account", record_with(4_096, 4_096, Some(paying(64, 1))), true),
        ("4097 payees", record_with(4_097, 1, None), false),
        ("4097 votes for an account", record_with(1, 4_097, None), false),
        ("65 transfers under way", record_with(1, 1, Some(paying(65, 1))), false),
    ];
    for (what, payload, within) in table {
        for codec in [Codec::Bincode, Codec::Json] {
            let opened = open(&sealed(plain_header(), codec, std::slice::from_ref(&payload)));
            let expected = if within { Ok(vec![payload.clone()]) } else { Err(Refusal::Malformed) };
            assert_eq!(opened.map(|(_, payloads)| payloads), expected, "{what}, {codec:?}");
        }
    }
}

#[test]
fn a_json_payload_with_an_unknown_field_or_another_jobs_id_is_refused() {
    let mut bytes = Vec::new();
    encode(Codec::Json, &job_with(|_| {}), &mut bytes);
    let job: Value = serde_json::from_slice(&bytes).expect("JSON");
    let open_job = |job: &Value| {
        let text = job.to_string();
        open(&sealed_raw(plain_header(), Codec::Json, &[(MsgType::JobBroadcast, text.as_bytes())]))
    };
    assert!(open_job(&job).is_ok());
    for (key, value) in [("job_id", json!(JobId([1; 16]))), ("extra", json!(1)), ("command", json!("rm -rf /"))] {
        let mut changed = job.clone();
        changed[key] = value;
        assert_eq!(open_job(&changed), Err(Refusal::Malformed), "{key}");
    }
    let claim = json!([JobId([5; 16]), 2]).to_string();
    let frame = sealed_raw(plain_header(), Codec::Json, &[(MsgType::JobClaim, claim.as_bytes())]);
    assert_eq!(open(&frame).map(|_| ()), Err(Refusal::Malformed), "an array is no payload");
}

#[test]
fn a_transaction_in_json_has_the_id_of_what_it_says() {
    let mut bytes = Vec::new();
    encode(Codec::Json, &Payload::TokenTransaction(paying(2, 7)), &mut bytes);
    let written: Value = serde_json::from_slice(&bytes).expect("JSON");
    let open_written = |written: &Value| {
        let text = written.to_string();
        open(&sealed_raw(plain_header(), Codec::Json, &[(MsgType::TokenTransaction, text.as_bytes())]))
    };
    assert!(open_written(&written).is_ok());
    for (key, value) in
        [("tx_id", json!(crate::id::TxId([1; 16]))), ("seq", json!(8)), ("from", json!(NodeId([4; 16])))]
    {
        let mut changed = written.clone();
        changed[key] = value;
        assert_eq!(open_written(&changed), Err(Refusal::Malformed), "{key}");
    }
}
