//! A node among peers whose keys the fuzzer holds, and everything they, its network, its operator and its machine might do.
//!
//! Seven members: the node under test, two liars that sign whatever the input says, and four puppets that keep to the protocol
//! where it counts: they vote once in a round, propose once in a round, and sign nothing else that binds them. So what the node
//! must withstand is what protocol.md promises against f = 2 of 7, and certificates are still within reach. After every call:
//! its invariants, what it sends can be read and is signed by it, what it votes for was persisted before and is never voted
//! on twice, what it runs has a certificate, one call writes a bounded outbox, and it does not want to be woken for ever.

mod payloads;
mod watch;
mod world;

use arbitrary::Unstructured;

use world::World;

/// Steps of one run at most.
const MOST_STEPS: usize = 256;

/// Lives a life as `data` says.
pub fn run(data: &[u8]) {
    let mut wishes = Unstructured::new(data);
    let mut world = World::met();
    for _ in 0..MOST_STEPS {
        if wishes.is_empty() || world.step(&mut wishes).is_err() {
            break;
        }
    }
    world.end();
}
