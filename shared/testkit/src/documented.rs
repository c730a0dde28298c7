//! Documentation of settings.

use std::path::Path;

/// Holds the settings of a service in docs/operations.md against those that its program reads.
///
/// The document has them between `<!-- settings SERVICE:begin -->` and `<!-- settings SERVICE:end -->`: the rows of `table`
/// whose variable starts with `prefix`, and the service's addresses. The whole table has an empty prefix.
///
/// # Panics
///
/// Missing markers, or another table; the message holds the right one.
pub fn assert_settings_documented(service: &str, prefix: &str, table: &str) {
    let row = format!("| `{prefix}");
    let starts = ["| variable |", "|---|", &row, "| `KEYPLANE_GRPC_ADDR`", "| `KEYPLANE_ADMIN_ADDR`"];
    let is_own = |line: &&str| !line.starts_with('|') || starts.iter().any(|start| line.starts_with(start));
    let own = table.lines().filter(is_own).collect::<Vec<_>>().join("\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let text = std::fs::read_to_string(path).expect("docs/operations.md");
    let (begin, end) = (format!("<!-- settings {service}:begin -->"), format!("<!-- settings {service}:end -->"));
    let documented = text.split(&begin).nth(1).and_then(|rest| rest.split(&end).next());
    let documented = documented.unwrap_or_else(|| panic!("docs/operations.md lacks the markers {begin} and {end}"));
    assert_eq!(documented.trim(), own.trim(), "put this table between the markers in docs/operations.md:\n{own}\n");
}
