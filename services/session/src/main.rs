//! `keyplane-session`: see [`keyplane_session`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_session::main()
}
