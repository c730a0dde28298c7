use keyplane_valkey::Script;

/// Decides on buckets; `scripts/decide.lua` has its contract and what all of it shares, `scripts/decide/` the rest.
pub static DECIDE: Script = Script::new(
    "ratelimit.decide",
    concat!(
        include_str!("scripts/decide.lua"),
        include_str!("scripts/decide/others.lua"),
        include_str!("scripts/decide/charge.lua"),
    ),
);
