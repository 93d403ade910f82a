#![no_main]

libfuzzer_sys::fuzz_target!(
    // Opening catches panics of the database: such a one is a refusal, and does not end the run.
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| marlos_fuzzing::store::run(data)
);
