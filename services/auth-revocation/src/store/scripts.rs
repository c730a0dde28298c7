//! Scripts of the store.

use keyplane_valkey::script;

script!(pub(super) REVOKE = "revocation.revoke", ["scripts/common.lua", "scripts/revoke.lua"]);
script!(pub(super) UNDO = "revocation.undo", ["scripts/common.lua", "scripts/undo.lua"]);
script!(pub(super) MERGE = "revocation.merge", ["scripts/common.lua", "scripts/merge.lua"]);
script!(pub(super) LOST_PART = "revocation.lost_part", ["scripts/lost_part.lua"]);
script!(pub(super) LOST = "revocation.lost", ["scripts/lost.lua"]);
script!(pub(super) CHECK = "revocation.check", ["scripts/check.lua"]);
script!(pub(super) KEYS = "revocation.keys", ["scripts/keys.lua"]);
script!(pub(super) REPORT = "revocation.report", ["scripts/report.lua"]);
script!(pub(super) INSTANCES = "revocation.instances", ["scripts/instances.lua"]);
