//! A network of MarlOS nodes in a seeded discrete-event world.
//!
//! The nodes are the production state machine, with their real codec, signatures and limits. Simulated is what is around them:
//! time, network, stores, executions, and what goes wrong. The same scenario and seed give the same run, to the bit, on any machine.
//!
//! # A run, in the order in which it happens
//! - [`cli`]: the commands, one file each; `main.rs` only parses.
//! - [`scenario`]: a TOML file becomes a [`scenario::Scenario`], or an error that points at the line. Nothing is implied any more.
//!   [`scenario::keys`] and [`scenario::schema`] say what a file can hold, by listening to what the parser asks.
//! - [`world`]: the loop. Pop an event, let it happen, apply what the node says, check.
//! - [`queue`]: what happens next, in exact order; ties are broken by content, not by insertion.
//! - [`draw`]: every random choice, as a function of what it is for. Two versions of the protocol meet the same network, message by message.
//! - [`network`]: delay, loss, bandwidth, order, cuts, and connections that come and go. Its head states what a fault does to frames
//!   that are under way.
//! - [`fault`]: what goes wrong, as an explicit timeline, and who can reach whom because of it.
//! - [`byzantine`]: nodes that misbehave, as wrappers around honest ones, and how to add a way of it.
//! - [`workload`]: the jobs that arrive.
//! - [`memo`]: real Ed25519, once for each thing that is signed; or [`token`]s in its place, for very large sweeps.
//!
//! # Looking for what is wrong
//! - [`chaos`]: random timelines of faults on top of a scenario, thousands of them.
//! - [`shrink`]: the smallest scenario that is still wrong in the same way.
//! - [`budget`]: how much may go wrong before nothing is promised any more.
//! - [`trace`] and [`replay`]: a run as a recording, and where it first differs when it runs again; of a real node, too.
//! - [`finding`]: what is wrong with a run, by a name that stays the same from run to run.
//!
//! # What a run is judged by
//! - [`observe`]: what happened, in the world's own numbers: the one stream that everything below is computed from.
//! - [`check`]: safety after every event, liveness once the faults are over. One file for each check; `check/s1.rs` is a good first one.
//! - [`kpi`]: the figures, their targets, and PASS, FAIL or UNKNOWN. A check or KPI that had nothing to look at never passes.
//! - [`timeline`]: one row for each simulated second, and [`story`]: the life of each job, for the plots.
//!
//! # What a run leaves
//! - [`outcome`]: everything that was found, as plain data.
//! - [`report`]: tables, JSON, CSV, histograms and plots of it: the only place that writes files, but for [`export`].
//! - [`export`]: a run for Perfetto and for Wireshark, written as it goes.
//! - [`many`]: many runs on all cores, their results in order.
//! - [`sweep`]: scenarios, settings and seeds together: what is kept of each run, and what is said of all.
//! - [`compare`]: two sets of such results, seed by seed: what became better or worse.
//! - [`log`]: what happened, a line each; [`retrace`]: what was said just before a violation.
//! - [`progress`]: how far a run is, for people. It reads the wall clock, and nothing reads it.

pub mod budget;
pub mod byzantine;
pub mod chaos;
pub mod check;
pub mod cli;
pub mod compare;
pub mod draw;
pub mod export;
pub mod fault;
pub mod finding;
pub mod kpi;
pub mod log;
pub mod many;
pub mod memo;
pub mod network;
pub mod observe;
pub mod outcome;
pub mod progress;
pub mod queue;
pub mod replay;
pub mod report;
pub mod retrace;
pub mod scenario;
pub mod shrink;
pub mod story;
pub mod sweep;
pub mod timeline;
pub mod token;
pub mod trace;
pub mod workload;
pub mod world;
