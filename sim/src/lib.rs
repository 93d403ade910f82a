//! A network of MarlOS nodes in a seeded discrete-event world. (Map to be written.)

pub mod cli;
pub mod draw;
pub mod fault;
pub mod network;
pub mod observe;
pub mod outcome;
pub mod queue;
pub mod scenario;
pub mod workload;
pub mod world;
