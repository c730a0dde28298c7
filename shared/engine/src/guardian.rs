//! Keeps a child from outliving this process, however this process ends: by exit, panic, signal or SIGKILL.
//!
//! A guardian is a small shell whose standard input is a pipe from this process. When the pipe closes without a word,
//! this process is gone, and the guardian kills the child with its process group. (The kernel's parent-death signal needs unsafe code, and
//! fires when the *thread* that spawned the child ends, as a test's thread does.)

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Reads the child's process id, then waits: a line means that the child is no longer its business, the end of input
/// that its parent has died.
const GUARDIAN: &str = r#"
read -r child
read -r _ && exit 0
kill -s KILL -- "-$child" 2>/dev/null
[ -z "$1" ] || rm -rf -- "$1"
"#;

/// Waits for the word before it becomes the program, so that no child runs which its guardian doesn't know.
pub(crate) const GATE: &str = r#"read -r _ || exit 125; exec "$@" </dev/null"#;

pub(crate) struct Guardian {
    shell: Child,
}

// === impl Guardian ===

impl Guardian {
    /// `remove`: a folder to remove when this process dies and can't do so itself.
    pub(crate) fn start(remove: Option<&Path>) -> std::io::Result<Guardian> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GUARDIAN, "guardian"]).arg(remove.unwrap_or_else(|| Path::new("")));
        // A group of its own, so that a terminal's Ctrl-C doesn't reach it before the parent has acted.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Guardian { shell: command.spawn()? })
    }

    pub(crate) fn watch(&mut self, pid: u32) -> std::io::Result<()> {
        self.say(&format!("{pid}\n"))
    }

    /// To be called before the child is reaped: from then on, its id may belong to another process.
    pub(crate) fn dismiss(mut self) {
        // Fails only if the guardian is dead already.
        let _ = self.say("\n");
        let _ = self.shell.wait();
    }

    fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.shell.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(line.as_bytes()))
    }
}
