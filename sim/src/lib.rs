//! A network of MarlOS nodes in a seeded discrete-event world. (Map to be written.)

pub mod cli;
pub mod fault;
pub mod observe;
pub mod outcome;
pub mod scenario;
pub mod workload;
