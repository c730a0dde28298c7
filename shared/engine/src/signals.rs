//! Signals that children must not inherit as ignored.
//!
//! The shell of a script starts `program &` with SIGINT and SIGQUIT ignored. All its descendants inherit that: no shell can
//! undo it, and Rust only with unsafe code. `env` of coreutils 8.31 can.

use std::process::{Command, Stdio};
use std::sync::LazyLock;

use rustix::process::Signal;

const ENV: &str = "/usr/bin/env";
const RESET: &str = "--default-signal=INT,QUIT";

/// Returns whether this machine's `env` resets signals.
static RESETS: LazyLock<bool> = LazyLock::new(|| {
    let mut probe = Command::new(ENV);
    probe.args([RESET, "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
});

/// Starts a shell that SIGINT and SIGQUIT end, even if this process ignores them. Without an `env` that resets signals the
/// shell ignores them too.
pub(crate) fn shell() -> Command {
    if !(ignored() && *RESETS) {
        return Command::new("/bin/sh");
    }
    let mut command = Command::new(ENV);
    command.args([RESET, "/bin/sh"]);
    command
}

/// Reports whether this process ignores SIGINT or SIGQUIT.
fn ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let bits = [Signal::INT, Signal::QUIT].map(|signal| 1 << (signal.as_raw() - 1));
    mask.is_some_and(|mask| bits.iter().any(|bit| mask & bit != 0))
}
