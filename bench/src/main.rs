//! `keyplane-bench`: see [`keyplane_bench`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_bench::main()
}
