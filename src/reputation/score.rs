//! What a member's deeds are worth to who saw them: a score, from the document's table of gains and losses (protocol.md,
//! section 9). Pure.
//!
//! Two things the table alone does not say. *Misfortune is not proof*: a node that crashes lapses, and a job that cannot succeed
//! fails wherever it runs. Both cost trust and with it work, but neither takes a score below [`QUARANTINE_BELOW`]: what an honest
//! node can suffer never puts it into quarantine, however much of it comes together. Only what an honest node never does can.
//! *Idleness is not guilt* either: decay makes old merits count less, and quarantines nobody; it is a deed that does.

use bincode::{Decode, Encode};

use crate::time::{Span, WallTime};
use crate::units::Ppm;

/// The score of a member that nothing was seen of.
pub const AT_START: Ppm = Ppm(500_000);
/// A deed that leaves the score below this puts its author into quarantine.
pub const QUARANTINE_BELOW: Ppm = Ppm(200_000);
/// The score of who comes out of quarantine, at least.
pub const RELEASED_AT: Ppm = Ppm(300_000);
/// Good jobs in a row that end a quarantine.
pub const GOOD_JOBS_TO_RELEASE: u32 = 10;
/// Idleness wears a score down to this.
const IDLE_FLOOR: Ppm = Ppm(100_000);
/// Idle for this long, one part per million is lost: 0.01 in a day.
const IDLE_FOR_ONE_PPM: Span = Span(86_400_000_000 / 10_000);
/// Lapses of one member within this count once: a crash with sixteen claims is one misfortune. A guess, the longest that the
/// claims of one outage take to be made by others.
const ONE_OUTAGE: Span = Span::secs(60);

/// What a member did, as this node itself saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It ran a job to success before the deadline.
    OnTime,
    /// It ran a job to success after it.
    Late,
    /// Its claim lapsed: somebody else claimed a later round, or its submitter gave the job up.
    Timeout,
    /// Its run of a job failed.
    Failure,
    /// It sent a result, or evidence against another, that does not hold: an honest node checks first.
    Invalid,
    /// It signed two statements that exclude each other.
    Misbehaviour,
}

/// What a deed does to a score.
enum Worth {
    Gain(u32),
    /// Down to [`QUARANTINE_BELOW`] and no further.
    Misfortune(u32),
    Fault(u32),
}

impl Deed {
    fn worth(self) -> Worth {
        match self {
            Deed::OnTime => Worth::Gain(20_000),
            Deed::Late => Worth::Gain(10_000),
            Deed::Timeout => Worth::Misfortune(30_000),
            Deed::Failure => Worth::Misfortune(50_000),
            Deed::Invalid => Worth::Fault(100_000),
            Deed::Misbehaviour => Worth::Fault(500_000),
        }
    }
}

/// What this node has seen of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Experience {
    /// Between 0 and 1, as of `settled`.
    pub score: Ppm,
    /// Up to when idleness has been charged, in synchronised time.
    settled: WallTime,
    /// Deeds that raised the score.
    pub good: u32,
    /// Deeds that lowered it.
    pub bad: u32,
    /// In quarantine: good jobs since it began, or since the last bad deed in it.
    trial: Option<u32>,
    /// When the last misfortune was counted.
    unlucky: WallTime,
}

impl Experience {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(now: WallTime) -> Experience {
        Experience { score: AT_START, settled: now, good: 0, bad: 0, trial: None, unlucky: WallTime(0) }
    }

    /// Whether its deeds put it into quarantine.
    #[must_use]
    pub fn quarantined(&self) -> bool {
        self.trial.is_some()
    }

    /// Deeds that were seen.
    #[must_use]
    pub fn deeds(&self) -> u32 {
        self.good.saturating_add(self.bad)
    }

    /// With the idleness up to now charged. A clock that went back charges nothing.
    #[must_use]
    pub fn settled(mut self, now: WallTime) -> Experience {
        let idle = now.since(self.settled).as_micros();
        let ppm = u32::try_from(idle / IDLE_FOR_ONE_PPM.as_micros()).unwrap_or(u32::MAX);
        self.settled = if now < self.settled {
            now
        } else {
            WallTime(self.settled.0 + u64::from(ppm) * IDLE_FOR_ONE_PPM.as_micros())
        };
        self.score = Ppm(self.score.0.saturating_sub(ppm).max(self.score.0.min(IDLE_FLOOR.0)));
        self
    }

    /// After one more deed.
    #[must_use]
    pub fn after(self, deed: Deed, now: WallTime) -> Experience {
        if deed == Deed::Timeout && self.unlucky != WallTime(0) && now.distance(self.unlucky) < ONE_OUTAGE {
            return self;
        }
        let mut next = self.settled(now);
        let score = next.score.0;
        let (score, good) = match deed.worth() {
            Worth::Gain(gain) => (score.saturating_add(gain).min(Ppm::ONE.0), true),
            Worth::Misfortune(loss) => {
                next.unlucky = now;
                (score.saturating_sub(loss).max(score.min(QUARANTINE_BELOW.0)), false)
            }
            Worth::Fault(loss) => (score.saturating_sub(loss), false),
        };
        next.settled = now;
        next.score = Ppm(score);
        if good {
            next.good = next.good.saturating_add(1);
            next.trial = next.trial.map(|passed| passed + 1);
        } else {
            next.bad = next.bad.saturating_add(1);
            next.trial = next.trial.map(|_| 0);
        }
        let fault = matches!(deed.worth(), Worth::Fault(_));
        if next.trial.is_none() && fault && next.score < QUARANTINE_BELOW {
            next.trial = Some(0);
        }
        if next.trial.is_some_and(|passed| passed >= GOOD_JOBS_TO_RELEASE) {
            next.trial = None;
            next.score = next.score.max(RELEASED_AT);
        }
        next
    }
}

#[cfg(test)]
mod tests;
