//! `google.api.field_behavior` of fields.

use prost_reflect::{FieldDescriptor, Kind, Value};

use crate::http::pool;

/// Returns whether callers must set the field.
pub(super) fn is_required(field: &FieldDescriptor) -> bool {
    has(field, "REQUIRED")
}

/// Returns whether the service sets the field, and ignores it in requests.
pub(super) fn is_output_only(field: &FieldDescriptor) -> bool {
    has(field, "OUTPUT_ONLY")
}

/// Returns whether the field is set at creation and never changes.
pub(super) fn is_immutable(field: &FieldDescriptor) -> bool {
    has(field, "IMMUTABLE")
}

fn has(field: &FieldDescriptor, name: &str) -> bool {
    let Some(extension) = pool().get_extension_by_name("google.api.field_behavior") else { return false };
    let options = field.options();
    let Value::List(values) = options.get_extension(&extension).into_owned() else { return false };
    let Kind::Enum(behaviors) = extension.kind() else { return false };
    values
        .iter()
        .filter_map(Value::as_enum_number)
        .filter_map(|number| behaviors.get_value(number))
        .any(|value| value.name() == name)
}
