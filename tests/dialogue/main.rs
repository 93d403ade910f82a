//! Dialogues with real nodes: in, at this time, out - and nothing else. No clock, no sockets, no threads.

mod admission;
mod auction;
mod available;
mod hand;
mod jobs;
mod membership;
mod net;
mod reputation;
mod robustness;
mod sync;
mod takeover;
