//! Pins the bytes on the wire: a change of codec, crate or field that would split a network shows here.
//!
//! `MARLOS_BLESS=1 cargo test --test wire_vectors` writes `vectors/wire.json` anew, for a change that is meant.

use marlos::config::Codec;
use marlos::id::{ElectorateId, JobId, NodeId};
use marlos::identity::{Keys, StrictVerifier};
use marlos::io::{JobStatus, Verify};
use marlos::quorum::{Proof, Statement, max_byzantine, quorum};
use marlos::time::{Span, WallTime};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::*;
use marlos::wire::{Envelope, Header, Payload, Signature, encode, network_tag, seal};
use serde_json::{Value, json};

const NETWORK: &str = "marlos";
const SECRET: [u8; 32] = [7; 32];
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/wire.json");
const MAX_MESSAGE: u32 = 10 * 1024 * 1024;

/// The document's stamp, `1704672000.123`.
const STAMP: WallTime = WallTime(1_704_672_000_123_000);
const JOB: JobId = JobId([0xab; 16]);
const AGENT: NodeId = NodeId([0xa1; 16]);

fn announce() -> Announce {
    Announce {
        node_id: Keys::from_secret(&SECRET).id(),
        node_name: "MarlOS Node 1".into(),
        public_key: Keys::from_secret(&SECRET).public(),
        rotations: Vec::new(),
        incarnation: 3,
        sequence: 300,
        signed_at: STAMP,
        pub_endpoint: "tcp://192.168.1.100:5555".into(),
        sub_endpoint: "tcp://192.168.1.100:5556".into(),
        protocol_version: 1,
        capabilities: vec!["shell".into(), "docker".into(), "malware_scan".into()],
        trust_score: Ppm(850_000),
        active_jobs: 2,
        wallet_balance: Tokens::whole(150),
        record_signature: Signature([0x5a; 64]),
    }
}

fn link(new_key: u8) -> KeyLink {
    KeyLink { sequence: 1, new_key: [new_key; 32], rotated_at: STAMP, old_signature: Signature([0x6b; 64]) }
}

fn job() -> JobBroadcast {
    let body = JobBody {
        job_type: "shell".into(),
        command: "ls -la".into(),
        priority: Ppm(800_000),
        submitted: STAMP,
        deadline: WallTime(1_704_672_060_000_000),
        payment: Tokens(10_500_000),
        requirements: vec!["docker".into()],
        consistency: Consistency::Quorum,
        max_attempts: 1,
    };
    JobBroadcast { counter: 70_000, submitter: Keys::from_secret(&SECRET).id(), body }
}

fn certificate() -> ClaimCertificate {
    let statement = Statement {
        job_id: JOB,
        round: 1,
        winner: AGENT,
        backup: Some(NodeId([0xa2; 16])),
        electorate: ElectorateId([0xe1; 8]),
    };
    ClaimCertificate {
        statement,
        voters: vec![0b111],
        signatures: vec![Signature([0x51; 64]); 3],
        reachable: Vec::new(),
    }
}

/// One payload of every type, and those whose form depends on what is in them twice.
fn examples() -> Vec<(MsgType, Payload)> {
    let pong = Pong { node_id: AGENT, ping_timestamp: STAMP, held: Span(1_500_001), direct: true };
    let report = TrustReport { node_id: AGENT, trust_score: Ppm(920_000), total_jobs: 150, good_jobs: 144 };
    let update = ReputationUpdate { proven_digest: 0xfeed_beef, reports: vec![report] };
    let evidence = |proof| {
        (MsgType::Evidence, Payload::Evidence(Box::new(Evidence { author: AGENT, rotations: Vec::new(), proof })))
    };
    let vote = |winner| SignedVote {
        statement: Statement { winner: NodeId([winner; 16]), ..certificate().statement },
        vote_signature: Signature([winner; 64]),
    };
    let offer = Offer { score: Ppm(850_000), stake: Tokens::whole(10), estimated_completion: Span::secs(5) };
    let best = vec![ListedBid { bidder: 3, rank: 8_850 }, ListedBid { bidder: 0, rank: 7 }];
    let (winner_id, backup_id) = (AGENT, Some(NodeId([0xa2; 16])));
    let electorate = ElectorateId([0xe1; 8]);
    let result = JobResult {
        job_id: JOB,
        round: 1,
        status: JobStatus::Success,
        output: b"total 0\n".to_vec(),
        output_bytes: 8,
        truncated: false,
        duration: Span(4_500_000),
    };
    vec![
        (
            MsgType::PeerAnnounce,
            Payload::PeerAnnounce(Box::new(PeerAnnounce { record: announce(), want_records: true })),
        ),
        (
            MsgType::PeerRecords,
            Payload::PeerRecords(PeerRecords { members_digest: 7, complete: true, records: vec![announce()] }),
        ),
        (MsgType::Ping, Payload::Ping(Ping { members_digest: 0xdead_beef, ledger_digest: 9, pongs: [None, None] })),
        (MsgType::Ping, Payload::Ping(Ping { members_digest: 1, ledger_digest: 0, pongs: [Some(pong), None] })),
        (MsgType::PeerProbe, Payload::PeerProbe(PeerProbe { node_id: AGENT, silent_for: Span(7_500_000) })),
        (MsgType::PeerSeen, Payload::PeerSeen(PeerSeen { node_id: AGENT, silent_for: Span(250_000) })),
        (MsgType::Goodbye, Payload::Goodbye(Goodbye {})),
        (MsgType::JobBroadcast, Payload::JobBroadcast(job())),
        (MsgType::JobBid, Payload::JobBid(JobBid { job_id: JOB, round: 1, offer: Some(offer) })),
        (MsgType::JobBid, Payload::JobBid(JobBid { job_id: JOB, round: 0, offer: None })),
        (
            MsgType::AuctionCoordinate,
            Payload::AuctionCoordinate(AuctionCoordinate {
                job_id: JOB,
                round: 1,
                electorate,
                winner_id,
                backup_id,
                bids: 9,
                best,
            }),
        ),
        (
            MsgType::ClaimVote,
            Payload::ClaimVote(ClaimVote { job_id: JOB, round: 1, vote_signature: Signature([0x51; 64]) }),
        ),
        (MsgType::JobClaim, Payload::JobClaim(JobClaim { job_id: JOB, round: 1 })),
        (MsgType::ClaimCertificate, Payload::ClaimCertificate(certificate())),
        (
            MsgType::ClaimCertificate,
            Payload::ClaimCertificate(ClaimCertificate { reachable: vec![0b10111], ..certificate() }),
        ),
        (MsgType::CertificateRequest, Payload::CertificateRequest(CertificateRequest { job_id: JOB })),
        (MsgType::JobHeartbeat, Payload::JobHeartbeat(JobHeartbeat { job_id: JOB, round: 1, progress: Ppm(333_333) })),
        (MsgType::JobResult, Payload::JobResult(result)),
        (
            MsgType::AccountHeads,
            Payload::AccountHeads(AccountHeads { heads: vec![AccountHead { account: AGENT, seq: 7, penalties: 2 }] }),
        ),
        (
            MsgType::SealedCommand,
            Payload::SealedCommand(SealedCommand { job_id: JOB, sealed: b"nonce and box".to_vec() }),
        ),
        (MsgType::StateRequest, Payload::StateRequest(StateRequest { since: STAMP })),
        (MsgType::Takeover, Payload::Takeover(Takeover { job_id: JOB, round: 2, electorate })),
        (MsgType::LeaseLapsed, Payload::LeaseLapsed(LeaseLapsed { job_id: JOB, round: 1 })),
        (MsgType::OutputRequest, Payload::OutputRequest(OutputRequest { job_id: JOB, offset: 262_144 })),
        (
            MsgType::OutputChunk,
            Payload::OutputChunk(OutputChunk { job_id: JOB, round: 1, offset: 262_144, bytes: b"more".to_vec() }),
        ),
        (MsgType::TokenTransaction, Payload::TokenTransaction(transaction())),
        (
            MsgType::LedgerVote,
            Payload::LedgerVote(LedgerVote { seq: 300, electorate, vote_signature: Signature([0x51; 64]) }),
        ),
        (MsgType::LedgerCertificate, Payload::LedgerCertificate(LedgerCertificate { seq: 300, proof: proof() })),
        (MsgType::AccountRequest, Payload::AccountRequest(AccountRequest { account: AGENT, penalties: 2 })),
        (
            MsgType::AccountRecord,
            Payload::AccountRecord(AccountRecord {
                account: AGENT,
                seq: 299,
                row: vec![RowEntry { to: NodeId([0xa2; 16]), paid: Tokens(21_000_000) }],
                proof: Some(HeadProof { transaction: [0x7d; 32], votes: proof() }),
                pending: Some(transaction()),
            }),
        ),
        (
            MsgType::PenaltyVote,
            Payload::PenaltyVote(PenaltyVote {
                claimer: NodeId([0xa2; 16]),
                number: 3,
                electorate,
                vote_signature: Signature([0x51; 64]),
            }),
        ),
        (
            MsgType::PenaltyRecords,
            Payload::PenaltyRecords(PenaltyRecords {
                submitter: AGENT,
                penalties: vec![PenaltyRecord {
                    claimer: NodeId([0xa2; 16]),
                    number: 3,
                    jobs: vec![JOB],
                    proof: proof(),
                }],
            }),
        ),
        (MsgType::ReputationUpdate, Payload::ReputationUpdate(update)),
        evidence(Contradiction::Votes { first: vote(1), second: vote(2) }),
        evidence(Contradiction::Announces { first: Box::new(announce()), second: Box::new(announce()) }),
        evidence(Contradiction::Frames { first: vec![1, 2, 3], second: vec![] }),
        evidence(Contradiction::Rotations { first: link(1), second: link(2) }),
        (
            MsgType::KeyRotation,
            Payload::KeyRotation(Box::new(KeyRotation { record: Announce { rotations: vec![link(1)], ..announce() } })),
        ),
        (MsgType::SealedBundle, Payload::SealedBundle(SealedBundle { sealed: b"nonce and box".to_vec() })),
    ]
}

fn transaction() -> TokenTransaction {
    let transfer = |job: u8, to: u8, amount, reason| Transfer {
        job_id: JobId([job; 16]),
        to: NodeId([to; 16]),
        amount: Tokens(amount),
        reason,
    };
    let transfers = vec![
        transfer(0xab, 0xa2, 12_000_000, TransferReason::OnTime),
        transfer(0xac, 0xa2, 9_000_000, TransferReason::Late),
        transfer(0xad, 0xa3, 5_000_001, TransferReason::VeryLate),
        transfer(0xae, 0xa1, 0, TransferReason::Release),
    ];
    TokenTransaction { account: AGENT, seq: 300, transfers, transaction_signature: Signature([0x7a; 64]) }
}

fn proof() -> Proof {
    Proof { electorate: ElectorateId([0xe1; 8]), voters: vec![0b111], signatures: vec![Signature([0x51; 64]); 3] }
}

fn header(counter: u64, to: Option<NodeId>) -> Header {
    Header {
        network_tag: network_tag(NETWORK),
        kind: MsgType::Ping,
        sender: Keys::from_secret(&SECRET).id(),
        to,
        timestamp: STAMP,
        incarnation: 3,
        counter,
        compressed: false,
    }
}

fn sealed(header: Header, codec: Codec, payloads: &[(MsgType, Payload)]) -> Vec<u8> {
    let encoded: Vec<(MsgType, Vec<u8>)> = payloads
        .iter()
        .map(|(kind, payload)| {
            let mut bytes = Vec::new();
            encode(codec, payload, &mut bytes);
            (*kind, bytes)
        })
        .collect();
    let items: Vec<(MsgType, &[u8])> = encoded.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())).collect();
    let mut frame = Vec::new();
    seal(header, codec, &items, NETWORK, &Keys::from_secret(&SECRET), &mut frame);
    frame
}

fn opened(frame: &[u8]) -> (Header, Vec<Payload>) {
    let envelope = Envelope::peek(frame, MAX_MESSAGE).expect("an envelope");
    let key = Keys::from_secret(&SECRET).public();
    assert!(StrictVerifier.verify(&key, &envelope.signed(NETWORK), &envelope.signature), "signed by its sender");
    let mut payloads = Vec::new();
    envelope.payloads(MAX_MESSAGE, &mut |payload| payloads.push(payload)).expect("payloads");
    (envelope.header, payloads)
}

/// A frame before it is sealed: its kind, its header and what it says.
type Unsealed = (MsgType, Header, Vec<(MsgType, Payload)>);

/// What is sealed for the vectors: one frame of each example and one bundle.
fn frames() -> Vec<Unsealed> {
    let examples = examples();
    let bundle = vec![examples[6].clone(), examples[12].clone()];
    let mut frames = vec![(MsgType::Bundle, header(300, None), bundle)];
    for (counter, example) in (1u64..).zip(examples) {
        // Every other one is directed.
        let to = (counter % 2 == 0).then_some(AGENT);
        frames.push((example.0, header(counter, to), vec![example]));
    }
    frames
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex digits")).collect()
}

/// The vectors as this build makes them. The text of a JSON frame is there for readers; the hex is what counts.
fn made() -> Value {
    let frames: Vec<Value> = frames()
        .into_iter()
        .map(|(kind, header, payloads)| {
            let binary = sealed(header, Codec::Bincode, &payloads);
            let json = sealed(header, Codec::Json, &payloads);
            let text = String::from_utf8(json.clone()).expect("JSON is UTF-8");
            json!({"msg_type": kind.name(), "bincode": hex(&binary), "json": hex(&json), "json_text": text})
        })
        .collect();
    json!({
        "about": "one frame of every message type in both codecs, bytes in hex; secret is the Ed25519 seed of the sender",
        "network_id": NETWORK,
        "secret": hex(&SECRET),
        "public_key": hex(&Keys::from_secret(&SECRET).public()),
        "node_id": Keys::from_secret(&SECRET).id().to_string(),
        "frames": frames,
    })
}

#[expect(clippy::disallowed_methods, reason = "a test that is asked to rewrite its own vectors")]
fn bless(vectors: &Value) {
    let text = serde_json::to_string_pretty(vectors).expect("a value has a text");
    std::fs::write(VECTORS, text + "\n").expect("vectors/wire.json can be written");
}

fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}; MARLOS_BLESS=1 writes wire.json"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_bytes_on_the_wire_are_those_of_the_vectors() {
    let made = made();
    if std::env::var_os("MARLOS_BLESS").is_some() {
        bless(&made);
    }
    let stored = read(VECTORS);
    let rows = |vectors: &Value| vectors["frames"].as_array().expect("frames").clone();
    for (stored, made) in rows(&stored).iter().zip(rows(&made)) {
        assert_eq!(*stored, made, "{} changed on the wire", made["msg_type"]);
    }
    assert_eq!(stored, made);
}

#[test]
fn the_stored_frames_open_to_what_was_said() {
    let stored = read(VECTORS);
    let rows = stored["frames"].as_array().expect("frames");
    let frames = frames();
    assert_eq!(rows.len(), frames.len());
    for (row, (kind, header, payloads)) in rows.iter().zip(frames) {
        for codec in ["bincode", "json"] {
            let (read, again) = opened(&unhex(row[codec].as_str().expect("hex")));
            assert_eq!(read, Header { kind, ..header }, "{codec}");
            assert!(again.iter().eq(payloads.iter().map(|(_, payload)| payload)), "{codec} {again:?}");
        }
    }
}

#[test]
fn every_message_type_has_a_vector() {
    let stored = read(VECTORS);
    let rows = stored["frames"].as_array().expect("frames");
    for kind in MsgType::ALL {
        assert!(rows.iter().any(|row| row["msg_type"] == kind.name()), "{} has none", kind.name());
    }
}

fn json_frame(example: Payload, kind: MsgType) -> String {
    String::from_utf8(sealed(header(1, None), Codec::Json, &[(kind, example)])).expect("JSON is UTF-8")
}

#[test]
fn json_shows_the_numbers_of_the_document() {
    let announce = json_frame(
        Payload::PeerAnnounce(Box::new(PeerAnnounce { record: announce(), want_records: true })),
        MsgType::PeerAnnounce,
    );
    for part in [r#""timestamp":1704672000.123,"#, r#""trust_score":0.85,"#, r#""wallet_balance":150,"#] {
        assert!(announce.contains(part), "{part} in {announce}");
    }
    for (payment, text) in [(10_000_000, "10"), (10_500_000, "10.5"), (12_000_001, "12.000001"), (0, "0")] {
        let mut job = job();
        job.body.payment = Tokens(payment);
        let frame = json_frame(Payload::JobBroadcast(job.clone()), MsgType::JobBroadcast);
        for part in [&format!(r#""payment":{text},"#), r#""deadline":1704672060,"#, r#""submitted":1704672000.123,"#] {
            assert!(frame.contains(part), "{part} in {frame}");
        }
        assert_eq!(opened(frame.as_bytes()).1, [Payload::JobBroadcast(job)]);
    }
}

#[test]
fn stamps_and_amounts_are_exact_to_the_last_digit() {
    let in_json = |text: &str| serde_json::from_str::<WallTime>(text);
    for (text, us) in [
        ("1704672000.123", 1_704_672_000_123_000),
        ("1704672000.123456", 1_704_672_000_123_456),
        ("1704672000.0", 1_704_672_000_000_000),
        ("8589934591.999999", 8_589_934_591_999_999),
        ("0.000001", 1),
    ] {
        assert_eq!(in_json(text).expect(text), WallTime(us));
        let shown = serde_json::to_string(&WallTime(us)).expect("a number");
        assert_eq!(in_json(&shown).expect(&shown), WallTime(us), "{text} shown as {shown}");
    }
    for text in ["1704672000.1234567", "-1", "-0.5", "1e30", "null", "true"] {
        assert!(in_json(text).is_err(), "{text}");
    }
    // A double in this range stands for several amounts, so they are written as text.
    for amount in [u64::MAX, 9_007_199_254_740_993_001, 8_589_934_592_000_001] {
        let shown = serde_json::to_string(&Tokens(amount)).expect("a number or a text");
        assert_eq!(serde_json::from_str::<Tokens>(&shown).expect(&shown), Tokens(amount), "{shown}");
    }
}

#[test]
fn the_document_writes_its_envelope_like_this() {
    let frame = json_frame(Payload::JobClaim(JobClaim { job_id: JOB, round: 1 }), MsgType::JobClaim);
    let id = Keys::from_secret(&SECRET).id();
    let [start, end] = [
        format!(
            r#"{{"msg_type":"JOB_CLAIM","sender_id":"{id}","timestamp":1704672000.123,"nonce":"{id}:1704672000.123:000000030000000000000001","signature":""#
        ),
        format!(r#"","version":1,"network":"{:04x}","payload":{{"job_id":"{JOB}","round":1}}}}"#, network_tag(NETWORK)),
    ];
    assert!(frame.starts_with(&start) && frame.ends_with(&end), "{frame}");
}

#[test]
fn the_sizes_of_quorums_are_those_of_the_vectors() {
    let vectors = read(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/quorum_sizes.json"));
    let rows = vectors["rows"].as_array().expect("rows");
    assert!(!rows.is_empty());
    for row in rows {
        let number = |key: &str| u32::try_from(row[key].as_u64().expect(key)).expect(key);
        let members = number("members");
        assert_eq!(max_byzantine(members), number("max_byzantine"), "liars among {members}");
        assert_eq!(quorum(members), number("quorum"), "quorum of {members}");
    }
}
