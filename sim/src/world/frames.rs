//! Frames under way: bytes shared by all receivers, and what is known of them. Who needs a frame for longer than the network
//! does - it waits for a node that stands still, or works - keeps it.

use marlos::time::Time;

use crate::draw::below;
use crate::network::FrameNo;
use crate::scenario::NodeNo;

/// Where a frame really comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who sealed it.
    pub sender: NodeNo,
    /// When.
    pub at: Time,
    /// Counts all frames of the run.
    pub number: u64,
}

/// What is known of a frame whose envelope's signature somebody has asked about: of which key, and whether it is that key's.
pub type Verified = Option<([u8; 32], bool)>;

#[derive(Clone, Debug)]
struct Frame {
    /// Empty while it is lent, and once it is gone.
    bytes: Vec<u8>,
    origin: Origin,
    verified: Verified,
    /// Who keeps it: the network, and each node for which it waits.
    keepers: u32,
}

/// All frames under way; room is used again.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    held: Vec<Frame>,
    free: Vec<FrameNo>,
    spare: Vec<Vec<u8>>,
    sealed: u64,
}

impl Frames {
    /// A new frame.
    pub fn seal(&mut self, bytes: &[u8], sender: NodeNo, at: Time) -> FrameNo {
        let number = self.sealed;
        self.sealed += 1;
        self.put(bytes, Origin { sender, at, number })
    }

    /// A frame that was sealed before.
    pub fn put(&mut self, bytes: &[u8], origin: Origin) -> FrameNo {
        let mut room = self.spare.pop().unwrap_or_default();
        room.extend_from_slice(bytes);
        let frame = Frame { bytes: room, origin, verified: None, keepers: 1 };
        match self.free.pop() {
            Some(no) => {
                self.held[no as usize] = frame;
                no
            }
            None => {
                self.held.push(frame);
                u32::try_from(self.held.len() - 1).expect("fewer than 2^32 frames are under way")
            }
        }
    }

    /// A frame as it arrives where a bit or more of it has changed on its way. It is another frame: nobody has sealed it so.
    pub fn changed(&mut self, no: FrameNo, draw: u64) -> FrameNo {
        let frame = self.held(no);
        let (mut bytes, origin) = (frame.bytes.clone(), frame.origin);
        // Up to four bits, in places that the draw's parts name.
        for part in 0..=(draw & 3) {
            let place = (draw >> (16 * part)) & 0xffff;
            let at = below(place << 48, bytes.len() as u64);
            bytes[usize::try_from(at).expect("a place in memory")] ^= 1 << (place & 7);
        }
        assert!(!bytes.is_empty(), "a frame is not empty");
        bytes[0] ^= u8::from(bytes == frame.bytes);
        self.seal(&bytes, origin.sender, origin.at)
    }

    /// Where a frame under way comes from.
    #[must_use]
    pub fn origin(&self, no: FrameNo) -> Origin {
        self.held(no).origin
    }

    /// What is known of its signature.
    #[must_use]
    pub fn verified(&self, no: FrameNo) -> Verified {
        self.held(no).verified
    }

    /// The bytes of a frame under way, and where it comes from.
    #[must_use]
    pub fn look(&self, no: FrameNo) -> (&[u8], Origin) {
        let frame = self.held(no);
        (&frame.bytes, frame.origin)
    }

    /// It is needed until it was released once more.
    pub fn keep(&mut self, no: FrameNo) {
        self.held_mut(no).keepers += 1;
    }

    /// Takes a frame's bytes out while a node looks at them.
    pub fn lend(&mut self, no: FrameNo) -> Vec<u8> {
        std::mem::take(&mut self.held_mut(no).bytes)
    }

    /// Puts them back, with what was found out.
    pub fn give_back(&mut self, no: FrameNo, bytes: Vec<u8>, verified: Verified) {
        let frame = self.held_mut(no);
        (frame.bytes, frame.verified) = (bytes, verified);
    }

    /// One keeper does not need it any more; with the last it is gone.
    pub fn release(&mut self, no: FrameNo) {
        let frame = self.held_mut(no);
        frame.keepers -= 1;
        if frame.keepers > 0 {
            return;
        }
        let mut bytes = std::mem::take(&mut frame.bytes);
        bytes.clear();
        // Room for a large frame is not kept for small ones.
        if bytes.capacity() <= 4_096 {
            self.spare.push(bytes);
        }
        self.free.push(no);
    }

    fn held(&self, no: FrameNo) -> &Frame {
        let frame = &self.held[no as usize];
        assert!(frame.keepers > 0, "a frame is held until it is released");
        frame
    }

    fn held_mut(&mut self, no: FrameNo) -> &mut Frame {
        let frame = &mut self.held[no as usize];
        assert!(frame.keepers > 0, "a frame is held until it is released");
        frame
    }
}
