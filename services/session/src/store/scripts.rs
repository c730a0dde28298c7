//! Lua scripts, each with its contract in its header.

use keyplane_valkey::script;

script!(pub(super) CREATE = "session.create", ["scripts/common.lua", "scripts/create.lua"]);
script!(pub(super) PATCH = "session.patch", ["scripts/common.lua", "scripts/patch.lua"]);
script!(pub(super) TOUCH = "session.touch", ["scripts/common.lua", "scripts/touch.lua"]);
script!(pub(super) ROTATE = "session.rotate", ["scripts/common.lua", "scripts/rotate.lua"]);
script!(pub(super) DELETE = "session.delete", ["scripts/common.lua", "scripts/delete.lua"]);
script!(pub(super) REVOKE_ALL = "session.revoke_all", ["scripts/common.lua", "scripts/revoke_all.lua"]);
script!(pub(super) LIST = "session.list", ["scripts/common.lua", "scripts/list.lua"]);
script!(pub(super) SNAPSHOT = "session.snapshot", ["scripts/common.lua", "scripts/snapshot.lua"]);
script!(pub(super) SWEEP = "session.sweep", ["scripts/common.lua", "scripts/sweep.lua"]);
