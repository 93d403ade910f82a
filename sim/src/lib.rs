//! A network of MarlOS nodes in a seeded discrete-event world. (Map to be written.)

pub mod check;
pub mod kpi;
pub mod observe;
pub mod outcome;
pub mod scenario;
pub mod timeline;
