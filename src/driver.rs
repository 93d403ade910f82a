//! The real driver.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    reason = "clocks, files, sockets and threads are what this module is for"
)]

pub mod beacon;
pub mod config;
pub mod executor;
pub mod files;
pub mod front;
pub mod inbound;
pub mod store;
pub mod zmq;
