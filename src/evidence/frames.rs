//! Frames as they came, for a while: proposals and transactions are compared by life, which only their envelopes tell.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{JobId, NodeId};
use crate::wire::Payload;
use crate::wire::message::MAX_EVIDENCE_FRAME;

/// Frames with proposals that are kept: at 100 jobs a second those of the last two and a half seconds, several rounds. A megabyte
/// at most.
const PROPOSALS: usize = 256;

/// Whose proposal, of which incarnation, for which round of which job.
type Round = (NodeId, u32, JobId, u32);

/// The latest frames: with proposals by what they are for, with transactions one of each account.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    proposals: BTreeMap<Round, Vec<u8>>,
    order: VecDeque<Round>,
    transactions: BTreeMap<NodeId, (u32, u64, Vec<u8>)>,
}

impl Frames {
    /// Takes a member's frame of this incarnation for what it says, unless it is too large to be evidence. Returns the frame that
    /// was there before and says something in the same place.
    pub fn take(&mut self, author: NodeId, incarnation: u32, said: &Payload, frame: &[u8]) -> Option<&[u8]> {
        if frame.len() > MAX_EVIDENCE_FRAME {
            return None;
        }
        match said {
            Payload::AuctionCoordinate(proposal) => {
                self.take_proposal((author, incarnation, proposal.job_id, proposal.round), frame)
            }
            Payload::TokenTransaction(transaction) => {
                self.take_transaction(author, incarnation, transaction.seq, frame)
            }
            _ => None,
        }
    }

    fn take_proposal(&mut self, round: Round, frame: &[u8]) -> Option<&[u8]> {
        if self.proposals.contains_key(&round) {
            return self.proposals.get(&round).map(Vec::as_slice);
        }
        if self.order.len() == PROPOSALS {
            let oldest = self.order.pop_front().expect("it is full");
            self.proposals.remove(&oldest);
        }
        self.order.push_back(round);
        self.proposals.insert(round, frame.to_vec());
        None
    }

    fn take_transaction(&mut self, account: NodeId, incarnation: u32, seq: u64, frame: &[u8]) -> Option<&[u8]> {
        let known = self.transactions.get(&account).map(|(incarnation, seq, _)| (*incarnation, *seq));
        if known == Some((incarnation, seq)) {
            return self.transactions.get(&account).map(|(.., frame)| frame.as_slice());
        }
        if known.is_none_or(|known| known < (incarnation, seq)) {
            self.transactions.insert(account, (incarnation, seq, frame.to_vec()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: NodeId = NodeId([1; 16]);

    #[test]
    fn the_latest_proposals_are_kept_each_round_once() {
        let mut frames = Frames::default();
        let round = |n: u32| (AUTHOR, 1, JobId([2; 16]), n);
        for n in 0..1_000 {
            assert_eq!(frames.take_proposal(round(n), &n.to_le_bytes()), None);
        }
        assert_eq!((frames.proposals.len(), frames.order.len()), (PROPOSALS, PROPOSALS));
        assert_eq!(
            frames.take_proposal(round(999), b"another"),
            Some(&999u32.to_le_bytes()[..]),
            "the first one stays"
        );
        assert_eq!(frames.take_proposal(round(999), b"a third"), Some(&999u32.to_le_bytes()[..]));
        assert_eq!(frames.take_proposal(round(0), b"again"), None, "long gone");
        assert_eq!(frames.proposals.len(), PROPOSALS);
    }

    #[test]
    fn of_each_account_the_newest_transaction_is_kept() {
        let mut frames = Frames::default();
        let mut take = |incarnation, seq, frame: &[u8]| {
            frames.take_transaction(AUTHOR, incarnation, seq, frame).map(<[u8]>::to_vec)
        };
        assert_eq!(take(1, 7, b"a"), None);
        assert_eq!(take(1, 7, b"b"), Some(b"a".to_vec()), "the first one stays");
        assert_eq!(take(1, 6, b"c"), None, "an older one does not take its place");
        assert_eq!(take(1, 7, b"d"), Some(b"a".to_vec()));
        assert_eq!(take(1, 8, b"e"), None);
        assert_eq!(take(1, 7, b"f"), None, "gone");
        assert_eq!(take(2, 3, b"g"), None, "a new life");
        assert_eq!(take(1, 9, b"h"), None);
        assert_eq!(take(2, 3, b"i"), Some(b"g".to_vec()));
        assert_eq!(frames.transactions.len(), 1);
    }
}
