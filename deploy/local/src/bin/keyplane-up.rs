//! Program behind `cargo up`: see [`keyplane_local`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_local::run()
}
