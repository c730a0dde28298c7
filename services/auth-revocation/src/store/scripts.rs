use keyplane_valkey::Script;

macro_rules! script {
    ($constant:ident, $name:literal, $($file:literal),+) => {
        pub(super) static $constant: Script =
            Script::new(concat!("revocation.", $name), concat!($(include_str!(concat!("scripts/", $file))),+));
    };
}

script!(REVOKE, "revoke", "common.lua", "revoke.lua");
script!(UNDO, "undo", "common.lua", "undo.lua");
script!(MERGE, "merge", "common.lua", "merge.lua");
script!(LOST_PART, "lost_part", "lost_part.lua");
script!(LOST, "lost", "lost.lua");
script!(CHECK, "check", "check.lua");
script!(KEYS, "keys", "keys.lua");
script!(REPORT, "report", "report.lua");
script!(REPLICAS, "replicas", "replicas.lua");
