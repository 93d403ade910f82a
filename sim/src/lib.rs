//! A network of MarlOS nodes in a seeded discrete-event world. (Map to be written.)

pub mod draw;
pub mod network;
pub mod observe;
pub mod outcome;
pub mod queue;
pub mod scenario;
