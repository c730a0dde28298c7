use keyplane_contracts::Violations;
use keyplane_contracts::rules::ratelimit as stated;

use super::PolicyId;

/// Limits of a call by the ids of their policies: 1 to [`LimitIds::MOST`], each once.
#[derive(Clone, Copy, Debug)]
pub struct LimitIds<'a>(&'a [String]);

// === impl LimitIds ===

impl<'a> LimitIds<'a> {
    /// Most limits of one call.
    pub const MOST: usize = stated::LIMITS;

    /// Checks a list of ids; `field` names it in violations.
    pub fn parse(ids: &'a [String], field: &str, violations: &mut Violations) -> LimitIds<'a> {
        if !(1..=LimitIds::MOST).contains(&ids.len()) {
            violations.add(field, format!("must be 1 to {}; {} were sent", LimitIds::MOST, ids.len()));
        }
        for (index, id) in ids.iter().enumerate() {
            if !PolicyId::is_valid(id) {
                violations.keep(PolicyId::parse(id, &format!("{field}[{index}]")));
            }
            if ids[..index].contains(id) {
                violations.add(format!("{field}[{index}]"), "must not be named twice");
            }
        }
        LimitIds(ids)
    }

    /// Ids, in their order.
    #[must_use]
    pub fn as_slice(self) -> &'a [String] {
        self.0
    }
}
