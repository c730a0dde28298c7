//! Program `keyplane-gateway`: see [`keyplane_gateway`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_gateway::main()
}
