//! `keyplane-rate-limiting`: see [`keyplane_rate_limiting`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_rate_limiting::main()
}
