//! Frames with proposals, as they came, for a while: a proposal is signed by its envelope alone, so that only the frame proves it.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{JobId, NodeId};
use crate::wire::message::MAX_EVIDENCE_FRAME;

/// Frames that are kept: at 100 jobs a second those of the last two and a half seconds, several rounds. Half a megabyte.
const KEPT: usize = 256;

/// Whose proposal, of which incarnation, for which round of which job.
pub type Round = (NodeId, u32, JobId, u32);

/// The latest frames, by what they propose for.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    kept: BTreeMap<Round, Vec<u8>>,
    order: VecDeque<Round>,
}

impl Frames {
    /// Takes a frame that proposes for this round, unless it is too large to be evidence. Returns the one that was there before.
    pub fn take(&mut self, round: Round, frame: &[u8]) -> Option<&[u8]> {
        if self.kept.contains_key(&round) {
            return self.kept.get(&round).map(Vec::as_slice);
        }
        if frame.len() <= MAX_EVIDENCE_FRAME {
            if self.order.len() == KEPT {
                let oldest = self.order.pop_front().expect("it is full");
                self.kept.remove(&oldest);
            }
            self.order.push_back(round);
            self.kept.insert(round, frame.to_vec());
        }
        None
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_frames_are_kept_each_round_once_and_large_ones_never() {
        let mut frames = Frames::default();
        let round = |n: u32| (NodeId([1; 16]), 1, JobId([2; 16]), n);
        for n in 0..1_000 {
            assert_eq!(frames.take(round(n), &n.to_le_bytes()), None);
        }
        assert_eq!((frames.len(), frames.order.len()), (KEPT, KEPT));
        assert_eq!(frames.take(round(999), b"another"), Some(&999u32.to_le_bytes()[..]), "the first one stays");
        assert_eq!(frames.take(round(999), b"a third"), Some(&999u32.to_le_bytes()[..]));
        assert_eq!(frames.take(round(0), b"again"), None, "long gone");
        assert_eq!(frames.take(round(5_000), &[0; MAX_EVIDENCE_FRAME + 1]), None);
        assert_eq!(frames.take(round(5_000), b"small"), None, "the large one was not kept");
        assert_eq!(frames.len(), KEPT);
    }
}
