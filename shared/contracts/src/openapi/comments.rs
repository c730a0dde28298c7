//! Comments of the protos, which the document repeats.

use prost_reflect::FileDescriptor;

/// Leading comment of the item at `path` in `file`, without the indent of its lines; empty if there is none.
pub(super) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let Some(info) = file.file_descriptor_proto().source_code_info.as_ref() else { return String::new() };
    let Some(location) = info.location.iter().find(|location| location.path == path) else { return String::new() };
    let lines: Vec<_> =
        location.leading_comments().lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}
