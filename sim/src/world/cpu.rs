//! What a node's work costs: a processor that does one thing after the other.
//!
//! Without a cost (the default) a node answers in the moment in which it is asked. With one, it is a server with a queue: an input
//! that comes while it works waits its turn, whatever it is; what it answers - frames, records, reports - leaves when the work is
//! done, and a wake that falls due meanwhile comes then. So a processor's time counts for every latency that is measured, and a load of
//! 100 % is a thing that can happen.
//!
//! What an input costs is known from what the node did with it: so much for each message (each one of a bundle), for each signature that
//! was made and for each that was asked about. A wake costs its signatures alone. `slow` multiplies all of it, and how long executions
//! take. A process that is paused finishes what it works on when it goes on; one that dies takes it along.

use marlos::io::{Input, Outbox};
use marlos::time::{Span, Time};
use marlos::wire::binary;

use crate::memo::Asked;
use crate::scenario::CpuSpec;

/// A factor of one, in millionths.
const ONE: u64 = 1_000_000;

/// A node's processor.
#[derive(Debug)]
pub(super) struct Cpu {
    spec: CpuSpec,
    /// By what everything takes longer, in millionths.
    factor: u64,
    /// What is being worked on.
    work: Option<Work>,
    /// All work so far.
    busy: Span,
}

/// Something that is being worked on: what comes of it leaves when it is done.
#[derive(Debug)]
pub(super) struct Work {
    /// When it is done.
    pub until: Time,
    /// What comes of it.
    pub outbox: Outbox,
}

impl Cpu {
    pub fn new(spec: CpuSpec) -> Cpu {
        Cpu { spec, factor: ONE, work: None, busy: Span::ZERO }
    }

    /// Everything takes so much longer from the next input on: the product of the factors, each in millionths.
    pub fn slow_down(&mut self, factors: impl Iterator<Item = u64>) {
        self.factor = factors.fold(ONE, scaled);
    }

    /// How long something takes here that takes `span` where nothing is slow.
    pub fn takes(&self, span: Span) -> Span {
        if self.factor == ONE { span } else { Span(scaled(span.0, self.factor)) }
    }

    /// What an input has cost, of which the node made `asked` signatures and questions about signatures.
    pub fn cost(&self, input: &Input<'_>, asked: Asked) -> Span {
        if self.spec == CpuSpec::default() {
            return Span::ZERO;
        }
        let crypto = self.spec.per_signature.times(asked.signed) + self.spec.per_verification.times(asked.verified);
        self.takes(self.spec.per_message.times(messages(input)) + crypto)
    }

    /// Whether something is being worked on.
    pub fn is_busy(&self) -> bool {
        self.work.is_some()
    }

    /// When what is being worked on is done.
    pub fn until(&self) -> Option<Time> {
        self.work.as_ref().map(|work| work.until)
    }

    pub fn begin(&mut self, now: Time, cost: Span, outbox: Outbox) -> Time {
        assert!(self.work.is_none(), "a processor does one thing after the other");
        let until = now + cost;
        self.busy = self.busy + cost;
        self.work = Some(Work { until, outbox });
        until
    }

    pub fn finish(&mut self) -> Option<Work> {
        self.work.take()
    }

    /// All work so far.
    pub fn busy(&self) -> Span {
        self.busy
    }
}

fn scaled(value: u64, millionths: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(millionths) / u128::from(ONE)).unwrap_or(u64::MAX)
}

/// How many messages an input is: each one of a bundle counts.
fn messages(input: &Input<'_>) -> u64 {
    match input {
        Input::Frame { bytes, .. } => (binary::bundle_items(bytes).len() as u64).max(1),
        Input::Start(_) | Input::Connected(_) | Input::Disconnected(_) | Input::Command(_) | Input::Finished { .. } => {
            1
        }
        Input::Wake => 0,
    }
}
