use keyplane_valkey::Script;

pub(super) static DECIDE: Script = Script::new("ratelimit.decide", include_str!("scripts/decide.lua"));
