//! `keyplane-up`, better known as `cargo up`: see [`keyplane_local`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_local::run()
}
