use super::*;
use crate::config::Codec;
use crate::id::{ElectorateId, JobId, NodeId};
use crate::identity::{Keys, StrictVerifier};
use crate::membership::gossip::sign_record;
use crate::quorum::Statement;
use crate::time::WallTime;
use crate::units::{Ppm, Tokens};
use crate::wire::message::{
    AuctionCoordinate, ListedBid, MAX_EVIDENCE_FRAME, TokenTransaction, Transfer, TransferReason,
};
use crate::wire::{Header, MsgType, Signature, encode, network_tag, seal};

const NETWORK: &str = "marlos";

fn keys(n: u8) -> Keys {
    Keys::from_secret(&[n; 32])
}

/// What member 1 is found guilty of by evidence that accuses it.
fn judged(proof: Contradiction) -> Result<(), &'static str> {
    check(
        &Evidence { author: keys(1).id(), rotations: Vec::new(), proof },
        &keys(1).public(),
        NETWORK,
        &mut StrictVerifier,
    )
}

fn statement(job: u8, round: u32, winner: u8) -> Statement {
    let (winner, backup) = (keys(winner).id(), Some(keys(9).id()));
    Statement { job_id: JobId([job; 16]), round, winner, backup, electorate: ElectorateId([7; 8]) }
}

fn vote_in(network_id: &str, voter: u8, statement: Statement) -> SignedVote {
    let vote_signature = keys(voter).sign(&Signed { network_id, bytes: &statement.signed_bytes() });
    SignedVote { statement, vote_signature }
}

fn vote(voter: u8, statement: Statement) -> SignedVote {
    vote_in(NETWORK, voter, statement)
}

#[test]
fn two_votes_prove_something_only_if_both_are_signed_and_for_different_claims_in_one_round() {
    let one = statement(1, 0, 2);
    let other = statement(1, 0, 3);
    let not_signed = Err("one of its votes is not signed by the accused");
    let another_electorate = Statement { electorate: ElectorateId([8; 8]), ..one };
    let another_backup = Statement { backup: None, ..one };
    let table = [
        ("another winner", vote(1, one), vote(1, other), Ok(())),
        ("another backup", vote(1, one), vote(1, another_backup), Ok(())),
        ("another electorate", vote(1, one), vote(1, another_electorate), Ok(())),
        ("the same vote twice", vote(1, one), vote(1, one), Err("its votes are for the same")),
        ("another round", vote(1, one), vote(1, statement(1, 1, 3)), Err("its votes are for different rounds")),
        ("another job", vote(1, one), vote(1, statement(2, 0, 3)), Err("its votes are for different rounds")),
        ("the second of another", vote(1, one), vote(2, other), not_signed),
        ("the first of another", vote(2, one), vote(1, other), not_signed),
        ("of another network", vote(1, one), vote_in("other", 1, other), not_signed),
        (
            "a signature for something else",
            vote(1, one),
            SignedVote { statement: other, ..vote(1, statement(1, 1, 3)) },
            not_signed,
        ),
    ];
    for (what, first, second, expected) in table {
        assert_eq!(judged(Contradiction::Votes { first, second }), expected, "{what}");
    }
}

fn announce(sequence: u32, signed_at: u64, endpoint: &str) -> Announce {
    Announce {
        node_id: keys(1).id(),
        node_name: "one".into(),
        public_key: keys(1).public(),
        rotations: Vec::new(),
        incarnation: 1,
        sequence,
        signed_at: WallTime(signed_at),
        pub_endpoint: endpoint.into(),
        sub_endpoint: "tcp://b:1".into(),
        protocol_version: 1,
        capabilities: Vec::new(),
        trust_score: Ppm(0),
        active_jobs: 0,
        wallet_balance: Tokens(0),
        record_signature: Signature([0; 64]),
    }
}

#[test]
fn two_announces_prove_something_only_if_they_were_made_as_one_and_differ() {
    let signed = |record| sign_record(record, &keys(1), NETWORK);
    let one = signed(announce(1, 1_000, "tcp://a:1"));
    let no_contradiction = Err("its announces do not exclude each other");
    let not_signed = Err("one of its announces is not signed by the accused");
    let of_another = sign_record(
        Announce { node_id: keys(2).id(), public_key: keys(2).public(), ..announce(1, 1_000, "tcp://x:1") },
        &keys(2),
        NETWORK,
    );
    let table = [
        ("another endpoint", signed(announce(1, 1_000, "tcp://x:1")), Ok(())),
        ("another name", signed(Announce { node_name: "two".into(), ..announce(1, 1_000, "tcp://a:1") }), Ok(())),
        ("the same again", one.clone(), no_contradiction),
        ("a later one", signed(announce(2, 1_000, "tcp://x:1")), no_contradiction),
        ("a later life", signed(Announce { incarnation: 2, ..announce(1, 1_000, "tcp://x:1") }), no_contradiction),
        ("a life that forgot the first", signed(announce(1, 1_001, "tcp://x:1")), no_contradiction),
        ("not signed", announce(1, 1_000, "tcp://x:1"), not_signed),
        ("of another network", sign_record(announce(1, 1_000, "tcp://x:1"), &keys(1), "other"), not_signed),
        ("signed by another", sign_record(announce(1, 1_000, "tcp://x:1"), &keys(2), NETWORK), not_signed),
        ("of another node", of_another, Err("one of its announces is of another node")),
        (
            "under another key",
            Announce { public_key: keys(2).public(), ..one.clone() },
            Err("one of its announces is of another node"),
        ),
        (
            "another signature of the same",
            Announce { record_signature: Signature([1; 64]), ..one.clone() },
            no_contradiction,
        ),
    ];
    for (what, second, expected) in table {
        for (first, second) in [(&one, &second), (&second, &one)] {
            let (first, second) = (Box::new(first.clone()), Box::new(second.clone()));
            assert_eq!(judged(Contradiction::Announces { first, second }), expected, "{what}");
        }
    }
}

fn proposal(job: u8, round: u32, winner: u8) -> Payload {
    Payload::AuctionCoordinate(AuctionCoordinate {
        job_id: JobId([job; 16]),
        round,
        electorate: ElectorateId([7; 8]),
        winner_id: keys(winner).id(),
        backup_id: None,
        bids: 3,
        best: vec![ListedBid { bidder: 2, rank: 7_500 }],
    })
}

/// Of an account, the number and the amount that it pays.
fn transaction(account: u8, seq: u64, whole: u64) -> Payload {
    let transfer = Transfer {
        job_id: JobId([3; 16]),
        to: keys(8).id(),
        amount: Tokens::whole(whole),
        reason: TransferReason::OnTime,
    };
    let unsigned = Signature([0; 64]);
    let transfers = vec![transfer];
    let unsigned = TokenTransaction { account: keys(account).id(), seq, transfers, transaction_signature: unsigned };
    let signature = keys(account).sign(&Signed { network_id: NETWORK, bytes: &unsigned.signed_bytes() });
    Payload::TokenTransaction(TokenTransaction { transaction_signature: signature, ..unsigned })
}

struct Frame {
    sender: u8,
    incarnation: u32,
    codec: Codec,
    network: &'static str,
    payloads: Vec<Payload>,
}

/// A frame of member 1 in its third life.
fn frame(payloads: &[Payload]) -> Frame {
    Frame { sender: 1, incarnation: 3, codec: Codec::Bincode, network: NETWORK, payloads: payloads.to_vec() }
}

impl Frame {
    fn sealed(&self, counter: u64) -> Vec<u8> {
        let encoded: Vec<(MsgType, Vec<u8>)> = self
            .payloads
            .iter()
            .map(|payload| {
                let mut bytes = Vec::new();
                encode(self.codec, payload, &mut bytes);
                (payload.kind(), bytes)
            })
            .collect();
        let items: Vec<(MsgType, &[u8])> = encoded.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())).collect();
        let header = Header {
            network_tag: network_tag(self.network),
            kind: MsgType::Bundle,
            sender: keys(self.sender).id(),
            to: None,
            timestamp: WallTime(1_800_000_000_000_000 + counter),
            incarnation: self.incarnation,
            counter,
            compressed: false,
        };
        let mut frame = Vec::new();
        seal(header, self.codec, &items, self.network, &keys(self.sender), &mut frame);
        frame
    }
}

#[test]
fn two_frames_prove_something_only_if_proposals_or_transactions_of_one_life_and_number_differ() {
    let same = Err("its frames say nothing that excludes each other");
    let not_signed = Err("one of its frames is not signed by the accused");
    let (one, other) = (proposal(1, 0, 2), proposal(1, 0, 3));
    let pays = transaction(1, 7, 10);
    let table = [
        ("a transaction", frame(std::slice::from_ref(&pays)), same),
        ("another winner", frame(std::slice::from_ref(&other)), Ok(())),
        ("in a bundle", frame(&[proposal(2, 0, 2), other.clone(), proposal(3, 0, 3)]), Ok(())),
        ("in JSON", Frame { codec: Codec::Json, ..frame(std::slice::from_ref(&other)) }, Ok(())),
        ("sent again", frame(std::slice::from_ref(&one)), same),
        ("sent again in JSON", Frame { codec: Codec::Json, ..frame(std::slice::from_ref(&one)) }, same),
        ("sent again in a bundle", frame(&[one.clone(), proposal(2, 0, 3)]), same),
        ("another round", frame(&[proposal(1, 1, 3)]), same),
        ("another job", frame(&[proposal(2, 0, 3)]), same),
        (
            "after a restart",
            Frame { incarnation: 4, ..frame(std::slice::from_ref(&other)) },
            Err("its frames are of different incarnations"),
        ),
        (
            "of another node",
            Frame { sender: 2, ..frame(std::slice::from_ref(&other)) },
            Err("one of its frames is of another node"),
        ),
        ("of another network", Frame { network: "other", ..frame(std::slice::from_ref(&other)) }, not_signed),
    ];
    for (what, second, expected) in table {
        let (first, second) = (frame(std::slice::from_ref(&one)).sealed(1), second.sealed(2));
        assert!(first.len().max(second.len()) <= MAX_EVIDENCE_FRAME, "{what}: {} bytes", second.len());
        assert_eq!(judged(Contradiction::Frames { first: first.clone(), second: second.clone() }), expected, "{what}");
        assert_eq!(
            judged(Contradiction::Frames { first: second, second: first }),
            expected,
            "{what}, the other way round"
        );
    }
    let transactions = [
        ("pays less", frame(&[transaction(1, 7, 9)]), Ok(())),
        ("in a bundle", frame(&[proposal(2, 0, 2), transaction(1, 7, 9)]), Ok(())),
        ("in JSON", Frame { codec: Codec::Json, ..frame(&[transaction(1, 7, 9)]) }, Ok(())),
        ("sent again", frame(std::slice::from_ref(&pays)), same),
        ("sent again in JSON", Frame { codec: Codec::Json, ..frame(std::slice::from_ref(&pays)) }, same),
        ("the next one", frame(&[transaction(1, 8, 9)]), same),
        (
            "in a life whose store was lost",
            Frame { incarnation: 4, ..frame(&[transaction(1, 7, 9)]) },
            Err("its frames are of different incarnations"),
        ),
        ("of another account", frame(&[transaction(2, 7, 9)]), same),
    ];
    for (what, second, expected) in transactions {
        let (first, second) = (frame(std::slice::from_ref(&pays)).sealed(1), second.sealed(2));
        assert_eq!(judged(Contradiction::Frames { first, second }), expected, "a transaction {what}");
    }
    let both = frame(&[one, other]).sealed(1);
    assert_eq!(
        judged(Contradiction::Frames { first: both.clone(), second: both.clone() }),
        Ok(()),
        "both in one bundle"
    );
    let mut spoiled = both.clone();
    spoiled[20] ^= 1;
    assert!(judged(Contradiction::Frames { first: spoiled, second: both.clone() }).is_err());
    assert_eq!(
        judged(Contradiction::Frames { first: Vec::new(), second: both }),
        Err("one of its frames cannot be read")
    );
}

#[test]
fn what_holds_against_one_accuses_nobody_else() {
    let (first, second) = (vote(1, statement(1, 0, 2)), vote(1, statement(1, 0, 3)));
    let accusing = |author: NodeId, key: u8| {
        let evidence = Evidence { author, rotations: Vec::new(), proof: Contradiction::Votes { first, second } };
        check(&evidence, &keys(key).public(), NETWORK, &mut StrictVerifier)
    };
    assert_eq!(accusing(keys(1).id(), 1), Ok(()));
    assert!(accusing(keys(2).id(), 2).is_err());
}
