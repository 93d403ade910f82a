//! The fuzz targets over their corpora, whole and spoiled, without a fuzzer: what was found once is found again, and what lies
//! close to it is looked at.
#![allow(clippy::disallowed_methods, reason = "the corpora are files")]

use std::fs;
use std::path::Path;

use marlos_fuzzing::TARGETS;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Inputs that are longer cost more than they show; fuzzing itself has no such limit.
const LONGEST: usize = 8 * 1024;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    // In the order of their names, so that a failing case depends on nothing but its seed.
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("an input")).collect()
}

/// One change to one input.
#[derive(Clone, Debug)]
enum Spoil {
    Flip(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    /// From here on, another input.
    Splice(prop::sample::Index, prop::sample::Index, prop::sample::Index),
    /// Bytes that mean something to a length or a number.
    Write(prop::sample::Index, &'static [u8]),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 1..=255u8).prop_map(|(place, bits)| Spoil::Flip(place, bits)),
        at().prop_map(Spoil::Truncate),
        (at(), prop::collection::vec(any::<u8>(), 1..16)).prop_map(|(place, bytes)| Spoil::Insert(place, bytes)),
        (at(), at(), at()).prop_map(|(place, other, from)| Spoil::Splice(place, other, from)),
        (
            at(),
            prop::sample::select(vec![
                &[255u8; 8][..],
                &[0; 8],
                &[251, 255, 255],
                &[253],
                b"1e400",
                b"\\ud800",
                b"[[[["
            ])
        )
            .prop_map(|(place, bytes)| Spoil::Write(place, bytes)),
    ]
}

fn spoiled(inputs: &[Vec<u8>], which: prop::sample::Index, spoils: &[Spoil]) -> Vec<u8> {
    let mut bytes = which.get(inputs).clone();
    bytes.truncate(LONGEST);
    for spoil in spoils {
        let place = |index: &prop::sample::Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match spoil {
            Spoil::Flip(at, bits) if !bytes.is_empty() => *at.get_mut(&mut bytes) ^= bits,
            Spoil::Flip(..) => {}
            Spoil::Truncate(at) => bytes.truncate(place(at, &bytes)),
            Spoil::Insert(at, more) => {
                let at = place(at, &bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Spoil::Splice(at, other, from) => {
                let other = other.get(inputs);
                bytes.truncate(place(at, &bytes));
                bytes.extend_from_slice(&other[place(from, other)..]);
            }
            Spoil::Write(at, with) => {
                let at = place(at, &bytes);
                let end = (at + with.len()).min(bytes.len());
                bytes.splice(at..end, with.iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn smoke(target: &str, cases: u32) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let inputs = corpus(target);
    assert!(!inputs.is_empty(), "{target} has a corpus");
    inputs.iter().for_each(|input| run(input));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let strategy = (any::<prop::sample::Index>(), prop::collection::vec(spoil(), 1..6));
    let outcome = runner.run(&strategy, |(which, spoils)| {
        run(&spoiled(&inputs, which, &spoils));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{target}: {failure}"));
}

#[test]
fn no_bytes_near_a_frame_upset_a_codec() {
    smoke("frame", 3_000);
}

#[test]
fn no_json_has_two_canonical_forms() {
    smoke("canonical", 3_000);
}

#[test]
fn no_text_near_a_scenario_upsets_its_reader() {
    smoke("scenario", 300);
}

#[test]
fn no_wishes_of_liars_upset_a_node() {
    smoke("node", 60);
}

#[test]
fn no_tampering_with_a_store_loses_a_promise() {
    smoke("store", 200);
}

#[test]
fn every_target_has_a_corpus_and_all_of_them_together_are_small() {
    let sizes = |target: &str| corpus(target).iter().map(Vec::len).sum::<usize>();
    let total: usize = TARGETS.iter().map(|(target, _)| sizes(target)).sum();
    assert!(TARGETS.iter().all(|(target, _)| sizes(target) > 0));
    assert!(total < 2 * 1024 * 1024, "the corpora have {total} bytes; minimise them with cargo fuzz cmin");
}
