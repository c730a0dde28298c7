//! `keyplane-agent-memory`: see [`keyplane_agent_memory`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_agent_memory::main()
}
