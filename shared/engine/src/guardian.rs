//! Guardian: keeps a child from outliving this process, which may end by exit, panic, signal or SIGKILL.
//!
//! A guardian is a small shell whose standard input is a pipe from this process. If the pipe closes without a line, this
//! process has ended, and the guardian kills the child with its process group. (The kernel's parent-death signal needs
//! unsafe code, and fires when the *thread* that spawned the child ends, as a test's thread does.)

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SHELL: &str = "/bin/sh";

/// Script of the guardian: reads the child's process id, then waits. A line dismisses it; the end of input means that this
/// process has ended.
const GUARDIAN: &str = r#"
read -r child
read -r _ && exit 0
kill -s KILL -- "-$child" 2>/dev/null
[ -z "$1" ] || rm -rf -- "$1"
"#;

/// Script of the child: waits for a line before it becomes the program, so every running child has a guardian.
pub(crate) const GATE: &str = r#"read -r _ || exit 125; exec "$@" </dev/null"#;

/// Guardian of one child.
pub(crate) struct Guardian {
    /// Shell; `None` if no guardian is needed.
    shell: Option<Child>,
}

/// Returns whether children need a gate and a guardian.
///
/// The kernel kills every process of a container with its PID 1. An image without a shell runs in a container, too, whose
/// runtime kills the rest if another program is PID 1.
pub(crate) fn is_needed() -> bool {
    std::process::id() != 1 && Path::new(SHELL).exists()
}

// === impl Guardian ===

impl Guardian {
    /// Starts a guardian, which also removes the folder `remove` if this process ends without dismissing it.
    pub(crate) fn start(remove: Option<&Path>) -> std::io::Result<Guardian> {
        if !is_needed() {
            return Ok(Guardian { shell: None });
        }
        let mut command = Command::new(SHELL);
        command.args(["-c", GUARDIAN, "guardian"]).arg(remove.unwrap_or_else(|| Path::new("")));
        // A terminal's Ctrl-C must not reach the guardian's group before the parent has acted.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Guardian { shell: Some(command.spawn()?) })
    }

    pub(crate) fn watch(&mut self, pid: u32) -> std::io::Result<()> {
        self.send(&format!("{pid}\n"))
    }

    /// Ends the guardian. Call it before the child is reaped: then its id may belong to another process.
    pub(crate) fn dismiss(mut self) {
        // Fails only if the guardian has ended already.
        let _ = self.send("\n");
        let _ = self.shell.map(|mut shell| shell.wait());
    }

    fn send(&mut self, line: &str) -> std::io::Result<()> {
        let stdin = self.shell.as_mut().and_then(|shell| shell.stdin.as_mut());
        stdin.map_or(Ok(()), |stdin| stdin.write_all(line.as_bytes()))
    }
}
