//! Part of the store that answers.

use std::fmt;

/// Part of the store that answers. A single server is whole or unavailable; a cluster may answer in part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// Known primaries of the cluster; 1 for a single server.
    pub nodes: usize,
    /// Primaries that answer.
    pub well: usize,
    /// Share of the keys on answering primaries, 0 to 1.
    pub share: f64,
}

// === impl Reach ===

impl Reach {
    pub(crate) fn single(well: bool) -> Reach {
        Reach { nodes: 1, well: usize::from(well), share: f64::from(u8::from(well)) }
    }

    /// Reports whether every key is on an answering primary.
    pub fn is_whole(&self) -> bool {
        self.nodes > 0 && self.well == self.nodes && self.share >= 1.0
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (self.share * 100.0).floor();
        write!(f, "{} of {} primaries of the store answer, which have {percent} % of the keys", self.well, self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_reach_never_rounds_up_to_whole() {
        let part = Reach { nodes: 3, well: 2, share: 0.6667 };
        assert!(!part.is_whole());
        assert_eq!(part.to_string(), "2 of 3 primaries of the store answer, which have 66 % of the keys");
        assert!(!Reach { nodes: 3, well: 3, share: 0.9999 }.is_whole(), "a slot without a node");
        assert!(!Reach { nodes: 0, well: 0, share: 0.0 }.is_whole());
        assert!(Reach::single(true).is_whole() && !Reach::single(false).is_whole());
    }
}
