//! x
pub mod latency;
