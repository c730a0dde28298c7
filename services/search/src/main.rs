//! `keyplane-search`: see [`keyplane_search`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_search::main()
}
