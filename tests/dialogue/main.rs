//! Dialogues with real nodes: in, at this time, out - and nothing else. No clock, no sockets, no threads.

mod admission;
mod auction;
mod available;
mod evidence;
mod hand;
mod jobs;
mod ledger;
mod membership;
mod net;
mod penalty;
mod private;
mod python_failures;
mod recall;
mod reputation;
mod robustness;
mod rotation;
mod sync;
mod takeover;
