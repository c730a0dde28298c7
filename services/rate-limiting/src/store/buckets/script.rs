use keyplane_valkey::script;

script!(
    /// Decides on buckets; `scripts/decide.lua` has its contract and what all of it shares, `scripts/decide/` the rest.
    pub DECIDE = "ratelimit.decide",
    ["../scripts/decide.lua", "../scripts/decide/others.lua", "../scripts/decide/charge.lua"]
);
