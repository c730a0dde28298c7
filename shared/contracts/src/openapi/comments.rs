//! Comments of the protos, which the document repeats.

use prost_reflect::{EnumDescriptor, EnumValueDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor};
use prost_reflect::{MethodDescriptor, ServiceDescriptor};

/// Items that can carry a comment in a proto file.
pub(super) trait Commented {
    /// File, and the place in it.
    fn place(&self) -> (FileDescriptor, &[i32]);
}

/// Leading comment of `item`, without the indent of its lines; empty if there is none.
pub(super) fn comment(item: &impl Commented) -> String {
    let (file, path) = item.place();
    let Some(info) = file.file_descriptor_proto().source_code_info.as_ref() else { return String::new() };
    let Some(location) = info.location.iter().find(|location| location.path == path) else { return String::new() };
    let lines: Vec<_> =
        location.leading_comments().lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}

// === Commented ===

impl Commented for MessageDescriptor {
    fn place(&self) -> (FileDescriptor, &[i32]) {
        (self.parent_file(), self.path())
    }
}

impl Commented for FieldDescriptor {
    fn place(&self) -> (FileDescriptor, &[i32]) {
        (self.parent_file(), self.path())
    }
}

impl Commented for EnumDescriptor {
    fn place(&self) -> (FileDescriptor, &[i32]) {
        (self.parent_file(), self.path())
    }
}

impl Commented for EnumValueDescriptor {
    fn place(&self) -> (FileDescriptor, &[i32]) {
        (self.parent_enum().parent_file(), self.path())
    }
}

impl Commented for ServiceDescriptor {
    fn place(&self) -> (FileDescriptor, &[i32]) {
        (self.parent_file(), self.path())
    }
}

impl Commented for MethodDescriptor {
    fn place(&self) -> (FileDescriptor, &[i32]) {
        (self.parent_service().parent_file(), self.path())
    }
}
