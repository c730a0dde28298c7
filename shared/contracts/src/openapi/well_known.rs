use serde_json::{Value, json};

/// Schema of a message that JSON does not print as an object of its fields.
pub(super) fn well_known(full_name: &str) -> Option<Value> {
    let scalar = |kind: &str, format: &str| json!({"type": kind, "format": format, "nullable": true});
    Some(match full_name {
        "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
        // Not the format `duration`, which is ISO 8601's.
        "google.protobuf.Duration" => json!({"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"}),
        "google.protobuf.FieldMask" => json!({"type": "string"}),
        "google.protobuf.Empty" | "google.protobuf.Any" | "google.protobuf.Struct" => json!({"type": "object"}),
        "google.protobuf.StringValue" => json!({"type": "string", "nullable": true}),
        "google.protobuf.BoolValue" => json!({"type": "boolean", "nullable": true}),
        "google.protobuf.BytesValue" => scalar("string", "byte"),
        "google.protobuf.Int32Value" => scalar("integer", "int32"),
        "google.protobuf.UInt32Value" => scalar("integer", "int64"),
        "google.protobuf.Int64Value" => scalar("string", "int64"),
        "google.protobuf.UInt64Value" => scalar("string", "uint64"),
        "google.protobuf.FloatValue" => scalar("number", "float"),
        "google.protobuf.DoubleValue" => scalar("number", "double"),
        _ => return None,
    })
}
