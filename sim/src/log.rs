//! What happened, a line each, in fixed columns: time, node, what, about what. For people, `grep` and `awk`.

use marlos::id::JobId;
use marlos::time::Time;

use crate::observe::{Observation, Stop};
use crate::report::words;
use crate::scenario::NodeNo;

/// The columns' names, in their widths.
pub const HEADING: &str = "   time (s)      node  what              about";

/// One line, without its end.
#[must_use]
pub fn line(at: Time, o: &Observation<'_>) -> String {
    let (node, what, about) = columns(o);
    let node = node.map_or("-".to_owned(), |node| format!("n{node}"));
    let text = format!("{:>6}.{:06}  {node:>6}  {what:<16}  {about}", at.0 / 1_000_000, at.0 % 1_000_000);
    text.trim_end().to_owned()
}

/// The first digits of a job's id: enough to tell the jobs of a run apart.
fn short(job: JobId) -> String {
    let text = job.to_string();
    let digits = text.strip_prefix("job-").unwrap_or(&text);
    format!("job {}", digits.get(..8).unwrap_or(digits))
}

fn columns(o: &Observation<'_>) -> (Option<NodeNo>, &'static str, String) {
    let about_job = |job: JobId, more: String| format!("{} {more}", short(job)).trim_end().to_owned();
    let nothing = String::new;
    match *o {
        Observation::NodeStarted { node, restart } => {
            (Some(node), if restart { "restarted" } else { "started" }, nothing())
        }
        Observation::NodeLeaving { node } => (Some(node), "leaving", nothing()),
        Observation::NodeStopped { node, how } => (Some(node), "stopped", stop(how).to_owned()),
        Observation::StoreCut { node, records, since, torn } => {
            let torn = if torn { ", the first half-written" } else { "" };
            (Some(node), "store_cut", format!("{records} records since {since}{torn}"))
        }
        Observation::NodePaused { node, paused } => (Some(node), if paused { "paused" } else { "goes_on" }, nothing()),
        Observation::KeyRotated { node } => (Some(node), "key_rotated", nothing()),
        Observation::NodeTurned { node } => (Some(node), "turned", "not honest any more".to_owned()),
        Observation::Misdeeds { node, behaviour, count } => (Some(node), "misdeeds", format!("{behaviour} {count}")),
        Observation::Proven { node, peer } => (Some(node), "proven", format!("n{peer}")),
        Observation::ReachChanged => (None, "reach_changed", nothing()),
        Observation::Accepted { node, sender, kind, latency, .. } => {
            (Some(node), "accepted", format!("{} of n{sender} after {latency}", kind.name()))
        }
        Observation::Refused { node, reason } => (Some(node), "refused", format!("{reason:?}")),
        Observation::Blacklisted { node, peer } => (Some(node), "blacklisted", format!("n{peer}")),
        Observation::Quarantined { node, peer } => (Some(node), "quarantined", format!("n{peer}")),
        Observation::Pinged { node } => (Some(node), "pinged", nothing()),
        Observation::Discovered { node, peer } => (Some(node), "discovered", format!("n{peer}")),
        Observation::Recalled { node, peer } => (Some(node), "recalled", format!("n{peer}")),
        Observation::PeerState { node, peer, state } => {
            (Some(node), "peer", format!("n{peer} is {}", format!("{state:?}").to_lowercase()))
        }
        Observation::Digest { node, digest } => (Some(node), "digest", format!("{digest:016x}")),
        Observation::Degraded { node, degraded } => {
            (Some(node), if degraded { "degraded" } else { "recovered" }, nothing())
        }
        Observation::Sent { node, kind, bytes, copies } => {
            (Some(node), "sent", format!("{} of {bytes} B to {copies}", kind.name()))
        }
        Observation::FramesCut { count } => (None, "frames_cut", count.to_string()),
        Observation::SegmentLost { udp } => (None, "segment_lost", if udp { "udp" } else { "tcp" }.to_owned()),
        Observation::DatagramMishap { mishap } => (None, "datagram", format!("{mishap:?}").to_lowercase()),
        Observation::JobSubmitted { node, job } => (Some(node), "job_submitted", short(job)),
        Observation::SubmitRefused { node } => (Some(node), "submit_refused", nothing()),
        Observation::JobSeen { node, job } => (Some(node), "job_seen", short(job)),
        Observation::AuctionClosed { node, job, round, winner } => {
            (Some(node), "auction_closed", about_job(job, format!("round {round}: n{winner} wins")))
        }
        Observation::Voted { node, job, round, winner } => {
            (Some(node), "voted", about_job(job, format!("round {round}: for n{winner}")))
        }
        Observation::Certified { node, job, round, votes, members, .. } => {
            (Some(node), "certified", about_job(job, format!("round {round}: {votes} votes of {members}")))
        }
        Observation::ClaimLearned { node, job, round, claimer } => {
            (Some(node), "claim_learned", about_job(job, format!("round {round}: n{claimer} has it")))
        }
        Observation::ExecutionStarted { node, job, round } => {
            (Some(node), "run_started", about_job(job, format!("round {round}")))
        }
        Observation::ExecutionEnded { node, job, by_itself } => {
            (Some(node), if by_itself { "run_ended" } else { "run_cancelled" }, short(job))
        }
        Observation::Fenced { node, job } => (Some(node), "fenced", short(job)),
        Observation::JobCompleted { node, job, executor, status } => {
            let status = format!("{status:?}").to_lowercase();
            (Some(node), "job_completed", about_job(job, format!("{status}, by n{executor}")))
        }
        Observation::JobFailed { node, job, reason } => {
            (Some(node), "job_failed", about_job(job, words::fail_reason(reason).to_owned()))
        }
        Observation::TransactionVoted { node, account, seq, .. } => {
            (Some(node), "tx_voted", format!("n{account} #{seq}"))
        }
        Observation::TransactionCertified { node, seq, .. } => (Some(node), "tx_certified", format!("n{node} #{seq}")),
        Observation::TransactionApplied { node, account, seq, .. } => {
            (Some(node), "tx_applied", format!("n{account} #{seq}"))
        }
        Observation::PenaltyCertified { node, claimer, number, .. } => {
            (Some(node), "penalty_certified", format!("n{claimer} #{number}"))
        }
        Observation::PenaltyApplied { node, submitter, claimer, number, .. } => {
            (Some(node), "penalty_applied", format!("n{claimer} #{number} to n{submitter}"))
        }
    }
}

fn stop(how: Stop) -> &'static str {
    match how {
        Stop::CrashKept => "crashed, store kept",
        Stop::CrashLost => "crashed, store lost",
        Stop::CrashUnsynced => "crashed, unsynced records lost",
        Stop::Leave => "left",
    }
}

#[cfg(test)]
mod tests {
    use marlos::io::PeerState;

    use super::*;

    #[test]
    fn the_columns_stand_below_their_names() {
        let job = JobId([0xab; 16]);
        let lines = [
            (Time(1_500_000), Observation::ReachChanged),
            (Time(61_000_042), Observation::PeerState { node: 3, peer: 12, state: PeerState::Dead }),
            (Time(3_600_000_000), Observation::Voted { node: 0, job, round: 2, winner: 7 }),
        ];
        let text: Vec<String> = lines.iter().map(|(at, o)| line(*at, o)).collect();
        assert_eq!(
            text,
            [
                "     1.500000       -  reach_changed",
                "    61.000042      n3  peer              n12 is dead",
                "  3600.000000      n0  voted             job abababab round 2: for n7",
            ]
        );
        for (name, begins) in [("what", "peer"), ("about", "n12 is")] {
            assert_eq!(HEADING.find(name), text[1].find(begins), "{name}");
        }
    }
}
