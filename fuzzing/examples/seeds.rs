//! Writes the seeds of the corpora into `fuzz/corpus`: the golden vectors in both codecs, the scenarios, and for the targets that
//! read wishes from bytes some of every length. What is there already stays.
#![allow(clippy::disallowed_methods, reason = "it writes files, and nothing else")]

use std::fs;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let corpus = root.join("fuzz/corpus");
    let vectors: Value =
        serde_json::from_slice(&fs::read(root.join("vectors/wire.json")).expect("vectors")).expect("JSON");
    for frame in vectors["frames"].as_array().expect("frames") {
        let name = frame["msg_type"].as_str().expect("a name").to_lowercase();
        let bytes = |codec: &str| unhex(frame[codec].as_str().expect("hex digits"));
        put(&corpus.join("frame"), &format!("{name}-bincode"), &bytes("bincode"));
        put(&corpus.join("frame"), &format!("{name}-json"), &bytes("json"));
        let envelope: Value = serde_json::from_slice(&bytes("json")).expect("JSON");
        put(&corpus.join("canonical"), &format!("{name}-payload"), envelope["payload"].to_string().as_bytes());
    }
    for (number, text) in ODD_JSON.iter().enumerate() {
        put(&corpus.join("canonical"), &format!("odd-{number}"), text.as_bytes());
    }
    for entry in fs::read_dir(root.join("scenarios")).expect("scenarios") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            put(&corpus.join("scenario"), &name, &fs::read(&path).expect("a scenario"));
        }
    }
    for (target, lengths) in [("node", [64usize, 256, 512, 1_024, 2_048, 3_000]), ("store", [4, 8, 16, 24, 32, 64])] {
        for (number, length) in lengths.into_iter().enumerate() {
            let mut bytes = vec![0; length];
            ChaCha8Rng::seed_from_u64(number as u64).fill_bytes(&mut bytes);
            put(&corpus.join(target), &format!("wishes-{length}"), &bytes);
        }
    }
}

/// Numbers, texts and shapes at the edge of what JSON can say.
const ODD_JSON: [&str; 6] = [
    r#"{"n":[0,-0,1e0,1.0,1E400,-1e-400,9007199254740991,9007199254740993,18446744073709551616,0.1,123456789.123456789]}"#,
    r#"{"t":"\u0000\u001f\u007f\ud83d\ude00\ud800\"\\\/\b\f\n\r\t","é":"é","€":1,"\ufb33":2,"😀":3}"#,
    r#"{"b":{"z":null,"a":true,"":false},"a":[{},[],[[[[]]]]]}"#,
    r#"{"same":1,"same":2}"#,
    r#" { "a" : [ 1 , 2 ] } "#,
    r#"{"tiny":5e-324,"huge":1.7976931348623157e308,"thousand":1e21,"below":0.000001,"lower":0.0000001}"#,
];

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn put(directory: &Path, name: &str, bytes: &[u8]) {
    fs::create_dir_all(directory).expect("a directory");
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path = directory.join(name);
    if !path.exists() {
        fs::write(path, bytes).expect("a seed");
    }
}
