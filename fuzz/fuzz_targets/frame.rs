#![no_main]

libfuzzer_sys::fuzz_target!(
    |data: &[u8]| marlos_fuzzing::frame::run(data)
);
