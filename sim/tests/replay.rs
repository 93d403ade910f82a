//! A recorded run says the same when it runs again, and the first call that does not is named.

#[path = "support/worlds.rs"]
mod worlds;

use marlos::Config;
use marlos::identity::{Keys, StrictVerifier};
use marlos::io::{Input, Outbox};
use marlos::recording::answers::Answer;
use marlos::recording::log::{Log, Records};
use marlos::recording::{Entry, Recorder};
use marlos::time::{Now, Span, Time, WallTime};
use marlos_sim::replay::{End, replay};
use marlos_sim::trace::{Trace, Tracing};
use marlos_sim::world::{self, Unwatched};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const SMALL: &str = r#"
name = "small"
duration = "12s"
warmup = "3s"
settle = "4s"
[nodes]
count = 4
[workload]
jobs_per_second = 3.0
job = { type = "simulated", duration = "100ms", deadline = "4s" }
[[fault]]
at = "5s"
for = "1s"
kind = "crash"
nodes = ["n1"]
"#;

fn recorded_world() -> Vec<u8> {
    let scenario = worlds::scenario(SMALL, 7);
    let mut trace = Trace::begin(&scenario);
    let outcome = world::run(scenario, None, &mut Tracing { trace: &mut trace, other: &mut Unwatched });
    trace.end(outcome.reached)
}

/// The same entries, changed, and with sound checksums.
fn rewritten(bytes: &[u8], change: impl FnMut(&mut Entry)) -> Vec<u8> {
    let mut entries: Vec<Entry> =
        Records::new(bytes).expect("a recording").map(|entry| entry.expect("sound")).collect();
    entries.iter_mut().for_each(change);
    let mut out = Vec::new();
    let mut log = Log::begin(&mut out);
    entries.iter().for_each(|entry| log.write(entry, &mut out));
    out
}

#[test]
fn a_world_says_the_same_again_and_the_first_call_that_does_not_is_named() {
    let bytes = recorded_world();
    let again = replay(&bytes).expect("it can be replayed");
    assert_eq!(again.end, End::Same);
    assert!(again.calls > 500, "{again:?}");
    let mut seen = 0;
    let other = rewritten(&bytes, |entry| {
        if let Entry::Calls(calls) = entry {
            for call in calls.iter_mut().filter(|call| !call.said.is_empty()) {
                seen += 1;
                if seen == 200 {
                    call.said[0].digest ^= 1;
                }
            }
        }
    });
    let parted = replay(&other).expect("it can be replayed");
    let End::Diverged(divergence) = &parted.end else { panic!("{parted:?}") };
    assert!(divergence.what.contains("number 1 was"), "{divergence}");
    assert!(parted.calls < again.calls && divergence.event > 199, "{divergence}");
}

#[test]
fn a_world_of_another_seed_parts_at_once_and_a_damaged_recording_is_refused() {
    let bytes = recorded_world();
    let other = rewritten(&bytes, |entry| {
        if let Entry::World { scenario, .. } = entry {
            *scenario = scenario.replace("seed = 7", "seed = 8");
        }
    });
    assert!(matches!(replay(&other).expect("it can be replayed").end, End::Diverged(_)));
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert!(replay(&damaged).unwrap_err().contains("altered"));
    let cut = replay(&bytes[..middle]).expect("what is there can be replayed");
    assert_eq!(cut.end, End::CutOff);
    assert!(replay(b"something else").unwrap_err().contains("no recording"));
    let version = rewritten(&bytes, |entry| {
        if let Entry::World { version, .. } = entry {
            *version = "marlos 0.0.1 recording 0".to_owned();
        }
    });
    assert!(replay(&version).unwrap_err().contains("with that version"));
}

/// One node's first minute, alone.
fn recorded_node() -> Vec<u8> {
    let keys = Keys::from_secret(&[3; 32]);
    let config = Config { min_peers: 1, capabilities: vec!["simulated".to_owned()], ..Config::default() };
    let mut out = Vec::new();
    let mut recorder = Recorder::begin(&config, &keys, [5; 32], &mut out);
    let mut node = marlos::Node::new(config, keys, ChaCha8Rng::from_seed([5; 32])).expect("a valid configuration");
    let mut now = Now { mono: Time(86_400_000_000), wall: WallTime(1_767_225_600_000_000) };
    // Drivers gather what several calls say in one outbox.
    let mut outbox = Outbox::default();
    for turn in 0..60 {
        let input = if turn == 0 { Input::Start(&[]) } else { Input::Wake };
        let from = outbox.actions.len();
        node.handle(now, input, &mut recorder.listen(&mut StrictVerifier), &mut outbox);
        recorder.call(now, &input, &outbox, from, &mut out);
        let next = node.next_deadline().map_or(Span::secs(1), |due| due.since(now.mono));
        now = Now { mono: now.mono + next, wall: now.wall + next };
    }
    recorder.end(&mut out);
    out
}

#[test]
fn a_node_is_replayed_without_its_private_key_and_says_the_same() {
    let bytes = recorded_node();
    let again = replay(&bytes).expect("it can be replayed");
    assert_eq!((again.end, again.calls), (End::Same, 60));
    let secret = [3; 32];
    assert!(!bytes.windows(32).any(|window| window == secret), "the private key is not in it");
}

#[test]
fn a_node_that_heard_something_else_or_signs_something_else_is_told_by_the_call() {
    let bytes = recorded_node();
    let parts_at = |change: &dyn Fn(u64, &mut Entry)| {
        let mut number = 0;
        let changed = rewritten(&bytes, |entry| {
            change(number, entry);
            number += 1;
        });
        match replay(&changed).expect("it can be replayed").end {
            End::Diverged(divergence) => divergence,
            end => panic!("{end:?}"),
        }
    };
    let later = parts_at(&|number, entry| {
        if let (20, Entry::Call { wall, .. }) = (number, entry) {
            *wall += 1;
        }
    });
    assert!(later.event >= 20, "{later}");
    let unsigned = parts_at(&|_, entry| {
        if let Entry::Call { answers, .. } = entry {
            for answer in answers {
                match answer {
                    Answer::Signature(signature) => signature.0[0] ^= 1,
                    Answer::Box { .. } => panic!("nothing is sealed here"),
                }
            }
        }
    });
    assert!(unsigned.what.contains("was not signed then"), "{unsigned}");
}
