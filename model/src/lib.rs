//! The claim protocol (protocol.md, sections 6 and 7) under a model checker: every order in which a few nodes may hear, crash,
//! lie and run out of time, for one job, on the production code.
//!
//! What decides in the model is what decides in a node: `Auctions` with its rounds, promises and certificates, `Jobs` for who runs
//! and who is paid, `quorum`, `election`, the egress and the binary codec. [`site`] is what `node.rs` is to them; [`setting`] says
//! which world; [`system`] is what [`stateright`] explores, with the properties.
//!
//! # What is explored, and what is not
//! - One job, three or four nodes that have met and know it. Rounds up to a bound: time alone begins none beyond it, and a
//!   takeover may be one round above.
//! - Messages come in any order, late, twice or never. That is more than the network does: a node refuses what comes twice.
//! - One fault of a world: a crash at any moment with a restart from the store, or a liar that signs any vote and proposes
//!   anybody to each node differently. Who is suspected may be held for gone by anybody at any moment, dead or not.
//! - Bids come all at once when the window closes: any subset of them. They bind nobody, and commute.
//! - Clocks move where a round ends, the window closes, or, once for each node, a whole lease goes by. They run independently.
//! - Not explored: rebroadcasts, LEASE_LAPSED and retries (the timers of `Jobs`), provisional claims, changes of membership,
//!   a lost store, money that does not suffice, distrust. The simulator meets those, at random.
//!
//! A lease is kept by a voter's life and not by its store: after a restart it binds no more, and the model takes that as given.

pub mod setting;
pub mod site;
pub mod system;
