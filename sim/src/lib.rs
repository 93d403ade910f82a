//! A network of MarlOS nodes in a seeded discrete-event world. (Map to be written.)

pub mod observe;
pub mod outcome;
pub mod progress;
pub mod report;
pub mod scenario;
