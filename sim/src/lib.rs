//! A network of MarlOS nodes in a seeded discrete-event world. (Map to be written.)

pub mod check;
pub mod cli;
pub mod draw;
pub mod fault;
pub mod kpi;
pub mod memo;
pub mod network;
pub mod observe;
pub mod outcome;
pub mod progress;
pub mod queue;
pub mod report;
pub mod scenario;
pub mod timeline;
pub mod workload;
pub mod world;
