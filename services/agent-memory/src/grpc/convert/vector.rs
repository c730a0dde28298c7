//! Vectors of callers.

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::rules::memory as stated;
use keyplane_contracts::{Violation, Violations};

/// Values of a vector whose path is `at`; none if it is unset or breaks a rule.
pub(super) fn vector(sent: Option<pb::Vector>, at: &str, violations: &mut Violations) -> Option<Vec<f32>> {
    let values = sent?.values;
    let (most, count) = (stated::DIMENSIONS, values.len());
    let field = || format!("{at}.values");
    if !(1..=most).contains(&count) {
        violations.add(field(), format!("must be 1 to {most} numbers; {count} were sent"));
        return None;
    }
    let is_direction = values.iter().all(|value| value.is_finite()) && values.iter().any(|value| *value != 0.0);
    let rule = || Violation::new(field(), "must be finite numbers, not all of them 0");
    violations.keep(is_direction.then_some(values).ok_or_else(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: Vec<f32>) -> Result<Option<Vec<f32>>, String> {
        let mut violations = Violations::new();
        let vector = vector(Some(pb::Vector { values }), "v", &mut violations);
        if violations.is_empty() { Ok(vector) } else { Err(violations.to_string()) }
    }

    #[test]
    fn vectors_have_a_direction() {
        assert_eq!(read(vec![0.0, -3.0]), Ok(Some(vec![0.0, -3.0])));
        for bad in [vec![0.0, 0.0], vec![1.0, f32::NAN], vec![f32::INFINITY]] {
            assert_eq!(read(bad), Err("v.values: must be finite numbers, not all of them 0".to_owned()));
        }
        assert_eq!(read(Vec::new()), Err("v.values: must be 1 to 4096 numbers; 0 were sent".to_owned()));
        assert!(read(vec![1.0; 4097]).is_err());
    }
}
