#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sci_burn_fuzz::exposure::run(data);
});
