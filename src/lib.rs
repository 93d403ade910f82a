//! One MarlOS node as a sans-IO state machine, and, with the feature `driver`, the process around it.
//!
//! The node never reads a clock, draws from the system's randomness, or opens a socket or a file. Bytes, wakes and commands go in,
//! actions come out; a driver carries them out. There are two drivers: [`driver`], with sockets and files, and the simulator
//! `marlos-sim`, with a model network. So what the simulator finds is found in the very code that runs in production.
//!
//! # Where to begin
//! [`io`] is everything a node can hear and say, on one screen. [`Node::handle`] in [`node`] is the one door in: it admits and
//! dispatches what came, does what is due, and lets out what piled up. From there, follow one protocol: a job, for example,
//! enters at [`Node::handle`] as a command, is persisted and broadcast by [`jobs`], and is given away in [`auction`].
//!
//! # The map, in reading order
//! - [`io`]: inputs, actions, events, and every reason for which something is refused.
//! - [`node`]: routes inputs to the sub-machines; the only file that knows more than one of them. What one asks of another is carried
//!   over here. `admission` is the order in which a message is checked, `view` what may be seen from outside.
//! - [`config`]: what an operator may set, and what goes wrong when it is set badly.
//! - [`time`], [`id`], [`units`]: two clocks in whole microseconds; names of nodes, jobs, peers and links; money and trust as
//!   integers. There is no floating point in the protocol.
//! - [`wire`]: the envelope around everything that is said, in two codecs. [`wire::message`] lists every message with its fields and limits.
//! - [`identity`]: keys, the ids that hang on them, and strict verification.
//! - [`guard`]: may this message in? Blacklist, rate, timestamp, replay, per sender and in constant memory.
//! - [`membership`]: who is there. `gossip` finds members, `detector` watches them, `clock` learns the network's time from them,
//!   `electorate` says who votes.
//! - [`quorum`]: how many votes are enough, what is voted for, and the certificate that proves it. Pure.
//! - [`auction`]: who gets the job. `election` names the coordinator, `score` ranks offers, `round` says whether a voter may vote: all
//!   three pure. `claim` counts votes and makes the certificate; `takeover` is what follows when a claim brings no result,
//!   `provisional` what a part of a split network may claim.
//! - [`jobs`]: what a node runs (`executor`), watches (`backup`) and has submitted (`submitter`), each to its end.
//! - [`reputation`]: whom to trust with work. `score`, `trust` and `standing` are pure.
//! - [`evidence`]: proof of misbehaviour. `check`, pure, is what holds, and why no honest node can make it.
//! - [`sync`]: asking for what was missed.
//! - [`ledger`]: who has how much, and how a job is paid, once. `transaction` is what is signed, `account` adds up, `bound` says what
//!   open jobs and claims bind: all three pure. `settle` makes transactions, `vote` judges them, `penalty` takes
//!   stakes of claims that lapsed, `sync` fetches what was missed.
//! - [`egress`]: what leaves, in one envelope per destination, after everything that must be durable first.
//! - [`metrics`]: what the node counts of itself.
//! - [`recording`]: a run as a file that runs again, without the private key.
//! - [`cx`] and [`timers`]: what every handler gets, and deadlines by name.
//! - [`driver`]: the tokio loop, ZeroMQ behind a front that strangers meet first, beacons, store, executors, HTTP API.
//!
//! Where a rule comes from is written as a section of `protocol.md`, the protocol's specification;
//! `docs/protocol-notes.md` says where the code departs from it, and why.
//!
//! # A sub-machine
//! It is a plain struct with handlers `on_<message>` and `on_<timer>_timer`. They get a [`cx::Ctx`] - the moment, the configuration,
//! the generator, where consequences go - and what they need of another sub-machine as an argument. What a peer does wrong is a
//! [`io::Refusal`] and changes nothing; what an operator does wrong is an `Err` with a sentence; what we do wrong is a panic.
#![warn(clippy::float_arithmetic)]

pub mod auction;
pub mod config;
pub mod cx;
#[cfg(feature = "driver")]
pub mod driver;
pub mod egress;
pub mod evidence;
pub mod guard;
pub mod id;
pub mod identity;
pub mod io;
pub mod jobs;
pub mod ledger;
pub mod membership;
pub mod metrics;
pub mod node;
pub mod quorum;
pub mod recording;
pub mod reputation;
pub mod sync;
pub mod time;
pub mod timers;
pub mod units;
pub mod wire;

pub use config::Config;
pub use node::Node;
