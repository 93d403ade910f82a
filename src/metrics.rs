//! The document's `get_metrics`, by its names, counted from what the node itself saw.

use crate::io::Refusal;

/// Counters since the start of this incarnation.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Envelopes sent: a broadcast counts once.
    pub messages_sent: u64,
    /// Envelopes that passed admission.
    pub messages_received: u64,
    /// Bytes of envelopes sent: a broadcast counts once.
    pub bytes_sent: u64,
    /// Bytes of envelopes that passed admission.
    pub bytes_received: u64,
    /// Sum of one-way latencies of accepted envelopes, in microseconds, by the stamps of both clocks.
    pub latency_us_sum: u64,
    /// Envelopes that came a second time over another path, as a first contact's do: dropped, not refused.
    pub duplicates: u64,
    /// Refusals by reason, indexed by the reason's number.
    pub refusals: [u64; Refusal::ALL.len()],
}
