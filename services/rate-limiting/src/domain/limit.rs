use std::time::Duration;

use keyplane_contracts::Violations;
use keyplane_contracts::rules::ratelimit as stated;

use super::Meter;

/// How much there may be in what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whether it counts.
    pub mode: Mode,
    /// So many per `period`; 0 where the mode needs none.
    pub amount: u64,
    /// The period; zero where the mode needs none.
    pub period: Duration,
    /// So many at once; 0: as many as `amount`.
    pub burst: u64,
}

/// Whether a limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It refuses what is over it.
    #[default]
    Enforce,
    /// It tells what it would refuse, and refuses nothing.
    Shadow,
    /// It admits everything.
    Unlimited,
    /// It admits nothing.
    Block,
}

// === impl Limit ===

impl Limit {
    /// The largest amount, burst and cost.
    pub const MOST: u64 = stated::MOST.cast_unsigned();
    /// The shortest period.
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// The longest period.
    pub const LONGEST: Duration = Duration::from_secs(stated::LONGEST_PERIOD);
    /// The longest time that a full burst may take to leak away.
    pub const DRAIN: Duration = Duration::from_hours(366 * 24);

    /// Admits everything.
    pub const UNLIMITED: Limit = Limit { mode: Mode::Unlimited, amount: 0, period: Duration::ZERO, burst: 0 };
    /// Admits nothing.
    pub const BLOCK: Limit = Limit { mode: Mode::Block, amount: 0, period: Duration::ZERO, burst: 0 };

    /// `amount` for each `period`, with a burst of as many.
    #[must_use]
    pub fn per(amount: u64, period: Duration) -> Limit {
        Limit { mode: Mode::Enforce, amount, period, burst: 0 }
    }

    /// The meter, where there is something to be counted.
    #[must_use]
    pub fn meter(&self) -> Option<Meter> {
        match self.mode {
            Mode::Unlimited | Mode::Block => None,
            Mode::Enforce | Mode::Shadow => Some(Meter::new(self.amount, micros(self.period), self.full_burst())),
        }
    }

    /// How much there may be at once.
    #[must_use]
    pub fn full_burst(&self) -> u64 {
        if self.burst == 0 { self.amount } else { self.burst }
    }

    /// Notes each rule that it breaks; `field` is where it was given.
    pub fn check(&self, field: &str, violations: &mut Violations) {
        if self.mode.meters() { self.check_numbers(field, violations) } else { self.check_none(field, violations) }
    }

    fn check_numbers(&self, field: &str, violations: &mut Violations) {
        let before = violations.as_slice().len();
        if self.amount == 0 {
            violations.add(
                format!("{field}.amount"),
                "must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block)",
            );
        } else if self.amount > Limit::MOST {
            violations
                .add(format!("{field}.amount"), format!("must be at most {}; {} was sent", Limit::MOST, self.amount));
        }
        if !(Limit::SHORTEST..=Limit::LONGEST).contains(&self.period) {
            let sent = plain(self.period);
            violations.add(format!("{field}.period"), format!("must be 1 second to 31 days; {sent} was sent"));
        } else if !self.period.subsec_nanos().is_multiple_of(1000) {
            violations.add(format!("{field}.period"), "must be whole microseconds");
        }
        if self.burst > Limit::MOST {
            violations
                .add(format!("{field}.burst"), format!("must be at most {}; {} was sent", Limit::MOST, self.burst));
        }
        if violations.as_slice().len() == before
            && self.meter().is_some_and(|meter| meter.capacity().duration() > Limit::DRAIN)
        {
            violations
                .add(format!("{field}.burst"), "must leak away within 366 days: make it smaller, or the amount larger");
        }
    }

    fn check_none(&self, field: &str, violations: &mut Violations) {
        if self.amount != 0 || self.burst != 0 || !self.period.is_zero() {
            violations.add(field, format!("takes no amount, period or burst in the mode {}", self.mode.name()));
        }
    }
}

// === impl Mode ===

impl Mode {
    /// Whether something is counted.
    #[must_use]
    pub fn meters(self) -> bool {
        matches!(self, Mode::Enforce | Mode::Shadow)
    }

    /// As it stands in files and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
            Mode::Unlimited => "unlimited",
            Mode::Block => "block",
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A time in the units that files and settings take: `99d`, `1h 30m`, `250ms`. (humantime's months are 30.44 days.)
fn plain(duration: Duration) -> String {
    const UNITS: [(u128, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let mut left = duration.as_nanos();
    let parts = UNITS.iter().filter_map(|(nanos, unit)| {
        let count = left / nanos;
        left %= nanos;
        (count > 0).then(|| format!("{count}{unit}"))
    });
    let text = parts.collect::<Vec<_>>().join(" ");
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(limit: Limit) -> Vec<String> {
        let mut violations = Violations::new();
        limit.check("limit", &mut violations);
        violations.into_iter().map(|violation| violation.to_string()).collect()
    }

    #[test]
    fn a_time_is_told_as_it_may_be_written() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let odd = days(1) + Duration::from_nanos(5_400_250_003_002);
        for (time, expected) in [
            (Duration::ZERO, "0s"),
            (days(99), "99d"),
            (Duration::from_millis(999), "999ms"),
            (Duration::from_mins(90), "1h 30m"),
            (odd, "1d 1h 30m 250ms 3us 2ns"),
            (Duration::MAX, "213503982334601d 7h 15s 999ms 999us 999ns"),
        ] {
            assert_eq!(plain(time), expected);
            // The largest that humantime reads back is smaller.
            assert!(time == Duration::MAX || humantime::parse_duration(expected) == Ok(time), "{expected}");
        }
    }

    #[test]
    fn every_rule_that_a_limit_breaks_is_told() {
        let good = Limit::per(10, Duration::from_secs(1));
        assert!(broken(good).is_empty() && broken(Limit::UNLIMITED).is_empty() && broken(Limit::BLOCK).is_empty());
        assert_eq!(
            broken(Limit { amount: 0, period: Duration::ZERO, burst: u64::MAX, ..good }),
            [
                "limit.amount: must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block)",
                "limit.period: must be 1 second to 31 days; 0s was sent",
                "limit.burst: must be at most 1000000000000; 18446744073709551615 was sent",
            ]
        );
        assert_eq!(
            broken(Limit { period: Duration::from_nanos(1_000_000_001), ..good }),
            ["limit.period: must be whole microseconds"]
        );
        assert_eq!(
            broken(Limit { amount: 1, period: Limit::LONGEST, burst: 12, ..good }),
            ["limit.burst: must leak away within 366 days: make it smaller, or the amount larger"]
        );
        assert_eq!(
            broken(Limit { amount: 1, ..Limit::BLOCK }),
            ["limit: takes no amount, period or burst in the mode block"]
        );
    }
}
