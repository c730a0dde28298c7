use keyplane_valkey::Script;

macro_rules! script {
    ($constant:ident, $name:literal, $file:literal) => {
        pub(super) static $constant: Script = Script::new(
            concat!("session.", $name),
            concat!(include_str!("scripts/common.lua"), include_str!(concat!("scripts/", $file))),
        );
    };
}

script!(CREATE, "create", "create.lua");
script!(PATCH, "patch", "patch.lua");
script!(TOUCH, "touch", "touch.lua");
script!(ROTATE, "rotate", "rotate.lua");
script!(DELETE, "delete", "delete.lua");
script!(REVOKE_ALL, "revoke_all", "revoke_all.lua");
script!(LIST, "list", "list.lua");
script!(SNAPSHOT, "snapshot", "snapshot.lua");
script!(SWEEP, "sweep", "sweep.lua");
