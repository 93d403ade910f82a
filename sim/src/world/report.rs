//! A node's own reports, in the world's numbers.

use marlos::io::{Event, Outbox};

use super::{Watcher, World};
use crate::observe::Observation;
use crate::scenario::NodeNo;

impl World {
    /// A node's own report, as an observation. What is about members that somebody made up is nobody's.
    pub(super) fn on_report(&mut self, node: NodeNo, event: &Event, outbox: &Outbox, watcher: &mut dyn Watcher) {
        self.slots[node].tally.on_event(self.sight.truth.now, event);
        if let Some(observation) = self.observation(node, event, outbox) {
            self.sight.observe(&observation, &mut self.memo, watcher);
        }
    }

    fn observation<'o>(&mut self, node: NodeNo, event: &Event, outbox: &'o Outbox) -> Option<Observation<'o>> {
        let slot = &mut self.slots[node];
        let by_id = |id| self.numbers.get(&id).copied();
        // Counting takes a step for each payer and payee, and every node applies everything: of many, some count.
        let nodes = self.sight.truth.ids.len() as u64;
        let machine = slot.node.as_ref();
        let counted = |node: NodeNo, seq: u64| {
            let counts = (node as u64 + seq).is_multiple_of(1 + nodes * nodes / 1_024);
            counts.then(|| machine.expect("it reports").view().supply())
        };
        Some(match event {
            Event::Accepted { from, kind, .. } => {
                let origin = slot.arriving.expect("frames are accepted while they are delivered");
                Observation::Accepted {
                    node,
                    sender: origin.sender,
                    claimed: slot.world_number(*from)?,
                    kind: *kind,
                    frame: origin.number,
                    latency: self.sight.truth.now.since(origin.at),
                }
            }
            Event::PeerDiscovered { peer } => {
                let known = slot.node.as_ref().expect("it reports").view().peer_id(*peer);
                slot.meet(*peer, by_id(known));
                Observation::Discovered { node, peer: slot.world_number(*peer)? }
            }
            Event::PeerRecalled { peer } => {
                let known = slot.node.as_ref().expect("it reports").view().peer_id(*peer);
                slot.meet(*peer, by_id(known));
                Observation::Recalled { node, peer: slot.world_number(*peer)? }
            }
            Event::Refused { reason, .. } => Observation::Refused { node, reason: *reason },
            Event::Blacklisted { peer } => Observation::Blacklisted { node, peer: slot.world_number(*peer)? },
            Event::Quarantined { peer } => Observation::Quarantined { node, peer: slot.world_number(*peer)? },
            Event::Proven { peer } => Observation::Proven { node, peer: slot.world_number(*peer)? },
            Event::Pinged => Observation::Pinged { node },
            Event::PeerState { peer, state } => {
                Observation::PeerState { node, peer: slot.world_number(*peer)?, state: *state }
            }
            Event::Degraded { .. } => Observation::Degraded { node, degraded: true },
            Event::Recovered { .. } => Observation::Degraded { node, degraded: false },
            Event::JobSubmitted { job } => {
                // Its client has the answer: as binding as a frame.
                slot.store.sync();
                Observation::JobSubmitted { node, job: *job }
            }
            Event::SubmitRefused { .. } => Observation::SubmitRefused { node },
            Event::JobSeen { job, .. } => Observation::JobSeen { node, job: *job },
            Event::AuctionClosed { job, round, winner, .. } => {
                Observation::AuctionClosed { node, job: *job, round: *round, winner: by_id(*winner)? }
            }
            Event::Voted { job, round, winner } => {
                Observation::Voted { node, job: *job, round: *round, winner: by_id(*winner)? }
            }
            Event::Certified { job, round, votes, members, certificate } => Observation::Certified {
                node,
                job: *job,
                round: *round,
                votes: *votes,
                members: *members,
                certificate: outbox.slice(certificate),
            },
            Event::ClaimLearned { job, round, claimer } => {
                Observation::ClaimLearned { node, job: *job, round: *round, claimer: by_id(*claimer)? }
            }
            Event::ExecutionStarted { job, round } => Observation::ExecutionStarted { node, job: *job, round: *round },
            Event::ExecutionCancelled { job } => Observation::Fenced { node, job: *job },
            Event::JobCompleted { job, executor, status, .. } => {
                Observation::JobCompleted { node, job: *job, executor: by_id(*executor)?, status: *status }
            }
            Event::JobFailed { job, reason } => Observation::JobFailed { node, job: *job, reason: *reason },
            Event::TransactionVoted { account, seq, transaction } => {
                Observation::TransactionVoted { node, account: by_id(*account)?, seq: *seq, transaction: *transaction }
            }
            Event::TransactionCertified { seq, certificate, .. } => {
                Observation::TransactionCertified { node, seq: *seq, certificate: outbox.slice(certificate) }
            }
            Event::TransactionApplied { account, seq, row, .. } => {
                let supply = counted(node, *seq);
                Observation::TransactionApplied { node, account: by_id(*account)?, seq: *seq, row: *row, supply }
            }
            Event::PenaltyCertified { claimer, number, certificate, .. } => Observation::PenaltyCertified {
                node,
                claimer: by_id(*claimer)?,
                number: *number,
                certificate: outbox.slice(certificate),
            },
            Event::PenaltyApplied { submitter, claimer, number, .. } => Observation::PenaltyApplied {
                node,
                submitter: by_id(*submitter)?,
                claimer: by_id(*claimer)?,
                number: *number,
                supply: counted(node, *number),
            },
            Event::Started { .. }
            | Event::KeyRotated { .. }
            | Event::KeyKnown { .. }
            | Event::AuctionEmpty { .. }
            | Event::ConflictingTransactions { .. }
            | Event::ClockOffset { .. }
            | Event::ClaimLapsed { .. }
            | Event::TakeoverAsked { .. }
            | Event::JobRetried { .. }
            | Event::Released { .. } => return None,
        })
    }
}
