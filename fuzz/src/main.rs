//! libFuzzer over the target that `KEYPLANE_TEST_FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

use keyplane_fuzz::{TARGETS, Target};

/// Target of this process.
static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("KEYPLANE_TEST_FUZZ_TARGET").expect("the name of a target");
    TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
