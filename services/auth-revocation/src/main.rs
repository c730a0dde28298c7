//! `keyplane-auth-revocation`: see [`keyplane_auth_revocation`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_auth_revocation::main()
}
