//! Bodies of the fuzz targets: each a function of bytes that returns, or panics where the code under it is wrong.
//!
//! Two run them. `fuzz/` wraps each for cargo-fuzz, which looks for new inputs with coverage as its guide. `tests/smoke.rs` runs
//! the same functions over the corpora in `fuzz/corpus`, whole and spoiled, on any toolchain and in seconds. What fuzzing has
//! found stays in the corpus, and in `tests/finds.rs` by the name of what it was.
//!
//! - [`frame`]: any bytes as a frame, in both codecs; what can be read can be said again, in either.
//! - [`canonical`]: any JSON inside an envelope; what a signature covers does not depend on how it was written.
//! - [`scenario`]: any text as a scenario file; a resolved one says the same when it is read again.
//! - [`node`]: a node among peers whose keys the fuzzer holds, and everything they might do.
//! - [`store`]: a store whose files were tampered with: it is whole, or it is refused.

pub mod canonical;
pub mod frame;
pub mod node;
pub mod scenario;
pub mod store;
pub mod token;

/// A target: its name, which is also that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 5] = [
    ("frame", frame::run),
    ("canonical", canonical::run),
    ("scenario", scenario::run),
    ("node", node::run),
    ("store", store::run),
];
