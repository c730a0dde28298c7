//! Settings: the documented ones are those that the program reads.

use keyplane_agent_memory::{Config, SERVICE};
use keyplane_server::config::{self, Env};

const BEGIN: &str = "<!-- settings agent-memory:begin -->";
const END: &str = "<!-- settings agent-memory:end -->";

#[test]
fn documented_settings_match_the_program() {
    let (server, _) = config::read(Env::default(), &SERVICE, Config::read).expect("the defaults are right");
    let table = server.settings.markdown();
    // Settings of every service stand in session's table.
    let own: Vec<_> = table.lines().filter(|line| !line.starts_with('|') || is_own(line)).collect();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let text = std::fs::read_to_string(docs).expect("docs/operations.md");
    let documented = text.split(BEGIN).nth(1).and_then(|rest| rest.split(END).next());
    let documented = documented.unwrap_or_else(|| panic!("docs/operations.md has the markers {BEGIN} and {END}"));
    let own = own.join("\n");
    assert_eq!(documented.trim(), own.trim(), "put this table between the markers in docs/operations.md:\n{own}\n");
}

fn is_own(line: &str) -> bool {
    [
        "| variable |",
        "|---|",
        "| `KEYPLANE_MEMORY_",
        "| `KEYPLANE_SEARCH_URL`",
        "| `KEYPLANE_GRPC_ADDR`",
        "| `KEYPLANE_ADMIN_ADDR`",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

#[test]
fn wrong_settings_are_reported_at_once() {
    let given = [
        ("KEYPLANE_SEARCH_URL", "http://store"),
        ("KEYPLANE_MEMORY_TOKENIZER", "o200k*9"),
        ("KEYPLANE_MEMORY_MAX_MEMORIES", "0"),
        ("KEYPLANE_MEMORY_WHOLE_ITEMS", "10001"),
        ("KEYPLANE_MEMORY_TTL", "800d"),
        ("KEYPLANE_MEMORY_SWEEP_INTERVAL", "0s"),
        ("KEYPLANE_MEMORY_RECONCILE_INTERVAL", "1"),
        ("KEYPLANE_MEMORY_EMBED_THREADS", "0"),
        ("KEYPLANE_MEMORY_EMBED_TIMEOUT", "2m"),
        ("KEYPLANE_MEMORY_EMBED_CACHE_TTL", "31d"),
        ("KEYPLANE_MEMORY_EMBED_CACHE_ENTRIES", "0"),
    ];
    let read = config::read(Env::from_map(given), &SERVICE, Config::read);
    let errors = read.map(drop).expect_err("all of them are wrong").to_string();
    for (name, _) in given {
        assert!(errors.contains(name), "{name} is not in:\n{errors}");
    }
}

#[test]
fn spaces_come_from_a_file_or_from_the_built_in_model() {
    let given = [("KEYPLANE_MEMORY_SPACES_FILE", "spaces.yaml"), ("KEYPLANE_MEMORY_MODEL_DIR", "minilm")];
    let read = config::read(Env::from_map(given), &SERVICE, Config::read);
    let errors = read.map(drop).expect_err("both are set").to_string();
    assert!(errors.contains("KEYPLANE_MEMORY_MODEL_DIR") && errors.contains("must not be set beside"), "{errors}");
}
