//! Events as JSON, for the stream and for traces.

use serde_json::{Value, json};

use crate::Node;
use crate::io::{Event, Outbox};

/// The name that serde gives a unit variant, such as `no_quorum`.
pub fn name_of<T: serde::Serialize + std::fmt::Debug>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => format!("{value:?}"),
    }
}

/// An event's name and its fields; peers by their ids.
pub fn describe(event: &Event, outbox: &Outbox, node: &Node) -> (&'static str, Value) {
    let id = |peer| node.view().peer_id(peer);
    match event {
        Event::Started { incarnation } => ("started", json!({ "incarnation": incarnation })),
        Event::Accepted { from, kind, one_way } => {
            ("accepted", json!({ "from": id(*from), "kind": kind.name(), "one_way_us": one_way.as_micros() }))
        }
        Event::Refused { link, from, reason } => {
            ("refused", json!({ "link": link.0, "from": from.map(id), "reason": reason }))
        }
        Event::PeerDiscovered { peer } => ("peer_discovered", json!({ "peer": id(*peer) })),
        Event::PeerRecalled { peer } => ("peer_recalled", json!({ "peer": id(*peer) })),
        Event::PeerState { peer, state } => ("peer_state", json!({ "peer": id(*peer), "state": state })),
        Event::Blacklisted { peer } => ("blacklisted", json!({ "peer": id(*peer) })),
        Event::Quarantined { peer } => ("quarantined", json!({ "peer": id(*peer) })),
        Event::Proven { peer } => ("proven", json!({ "peer": id(*peer) })),
        Event::Released { peer } => ("released", json!({ "peer": id(*peer) })),
        Event::KeyRotated { peer, sequence } => ("key_rotated", json!({ "peer": id(*peer), "sequence": sequence })),
        Event::KeyKnown { sequence } => ("key_known", json!({ "sequence": sequence })),
        Event::Pinged => ("pinged", json!({})),
        Event::Degraded { reachable, quorum } => ("degraded", json!({ "reachable": reachable, "quorum": quorum })),
        Event::Recovered { reachable, quorum } => ("recovered", json!({ "reachable": reachable, "quorum": quorum })),
        Event::JobSubmitted { job } => ("job_submitted", json!({ "job": job })),
        Event::SubmitRefused { reason } => ("submit_refused", json!({ "reason": reason })),
        Event::JobSeen { job, submitter } => ("job_seen", json!({ "job": job, "submitter": id(*submitter) })),
        Event::AuctionClosed { job, round, winner, backup, bids } => {
            ("auction_closed", json!({ "job": job, "round": round, "winner": winner, "backup": backup, "bids": bids }))
        }
        Event::AuctionEmpty { job, round } => ("auction_empty", json!({ "job": job, "round": round })),
        Event::Voted { job, round, winner } => ("voted", json!({ "job": job, "round": round, "winner": winner })),
        Event::Certified { job, round, votes, members, certificate: _ } => {
            ("certified", json!({ "job": job, "round": round, "votes": votes, "members": members }))
        }
        Event::ClaimLearned { job, round, claimer } => {
            ("claim_learned", json!({ "job": job, "round": round, "claimer": claimer }))
        }
        Event::ClaimLapsed { job, round, claimer } => {
            ("claim_lapsed", json!({ "job": job, "round": round, "claimer": claimer }))
        }
        Event::TakeoverAsked { job, round } => ("takeover_asked", json!({ "job": job, "round": round })),
        Event::JobRetried { job, attempt } => ("job_retried", json!({ "job": job, "attempt": attempt })),
        Event::ExecutionStarted { job, round } => ("execution_started", json!({ "job": job, "round": round })),
        Event::ExecutionCancelled { job } => ("execution_cancelled", json!({ "job": job })),
        Event::JobCompleted { job, executor, status, output } => (
            "job_completed",
            json!({ "job": job, "executor": executor, "status": status, "output_bytes": outbox.slice(output).len() }),
        ),
        Event::JobFailed { job, reason } => ("job_failed", json!({ "job": job, "reason": reason })),
        Event::TransactionVoted { account, seq, transaction } => {
            ("transaction_voted", json!({ "account": account, "seq": seq, "transaction": transaction }))
        }
        Event::TransactionCertified { account, seq, certificate: _ } => {
            ("transaction_certified", json!({ "account": account, "seq": seq }))
        }
        Event::TransactionApplied { account, seq, row: _, transfers, total } => {
            ("transaction_applied", json!({ "account": account, "seq": seq, "transfers": transfers, "total": total }))
        }
        Event::PenaltyCertified { submitter, claimer, number, certificate: _ } => {
            ("penalty_certified", json!({ "submitter": submitter, "claimer": claimer, "number": number }))
        }
        Event::PenaltyApplied { submitter, claimer, number, total } => {
            ("penalty_applied", json!({ "submitter": submitter, "claimer": claimer, "number": number, "total": total }))
        }
        Event::ConflictingTransactions { account, seq, records: _ } => {
            ("conflicting_transactions", json!({ "account": account, "seq": seq }))
        }
        Event::ClockOffset { offset_us } => ("clock_offset", json!({ "offset_us": offset_us })),
    }
}
