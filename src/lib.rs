//! One MarlOS node as a sans-IO state machine. (Map to be written.)
#![warn(clippy::float_arithmetic)]

pub mod auction;
pub mod config;
pub mod cx;
#[cfg(feature = "driver")]
pub mod driver;
pub mod egress;
pub mod guard;
pub mod id;
pub mod identity;
pub mod io;
pub mod jobs;
pub mod membership;
pub mod metrics;
pub mod node;
pub mod quorum;
pub mod time;
pub mod timers;
pub mod units;
pub mod wire;

pub use config::Config;
pub use node::Node;
