use std::time::Duration;

use keyplane_contracts::rules::ratelimit as stated;

use super::{LimitPart, Meter};

/// Hits that may be charged in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Mode of the limit.
    pub mode: Mode,
    /// Hits per `period`; 0 where the mode counts nothing.
    pub amount: u64,
    /// Period; zero where the mode counts nothing.
    pub period: Duration,
    /// Burst size; 0 means `amount`.
    pub burst: u64,
}

/// Mode of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Denies calls over the limit.
    #[default]
    Enforce,
    /// Reports calls over the limit, and admits them.
    Shadow,
    /// Admits everything.
    Unlimited,
    /// Admits nothing.
    Block,
}

// === impl Limit ===

impl Limit {
    /// Largest amount, burst and cost.
    pub const MOST: u64 = stated::MOST.cast_unsigned();
    /// Shortest period.
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// Longest period.
    pub const LONGEST: Duration = Duration::from_secs(stated::LONGEST_PERIOD);
    /// Longest time for a full burst to leak away.
    pub const DRAIN: Duration = Duration::from_hours(366 * 24);

    /// Limit that admits everything.
    pub const UNLIMITED: Limit = Limit { mode: Mode::Unlimited, amount: 0, period: Duration::ZERO, burst: 0 };
    /// Limit that admits nothing.
    pub const BLOCK: Limit = Limit { mode: Mode::Block, amount: 0, period: Duration::ZERO, burst: 0 };

    /// Limit of `amount` hits per `period`, with a burst of the same size.
    #[must_use]
    pub fn per(amount: u64, period: Duration) -> Limit {
        Limit { mode: Mode::Enforce, amount, period, burst: 0 }
    }

    /// Meter of the limit; none where the mode counts nothing.
    #[must_use]
    pub fn meter(&self) -> Option<Meter> {
        match self.mode {
            Mode::Unlimited | Mode::Block => None,
            Mode::Enforce | Mode::Shadow => Some(Meter::new(self.amount, micros(self.period), self.full_burst())),
        }
    }

    /// Burst size in hits.
    #[must_use]
    pub fn full_burst(&self) -> u64 {
        if self.burst == 0 { self.amount } else { self.burst }
    }

    /// Rules that the limit breaks, each with the part that breaks it.
    #[must_use]
    pub fn check(&self) -> Vec<(LimitPart, String)> {
        if self.mode.meters() { self.check_numbers() } else { self.check_none() }
    }

    fn check_numbers(&self) -> Vec<(LimitPart, String)> {
        let mut broken = Vec::new();
        if self.amount == 0 {
            let rule = "must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block)";
            broken.push((LimitPart::Amount, rule.to_owned()));
        } else if self.amount > Limit::MOST {
            broken.push((LimitPart::Amount, format!("must be at most {}; {} was sent", Limit::MOST, self.amount)));
        }
        if !(Limit::SHORTEST..=Limit::LONGEST).contains(&self.period) {
            let sent = plain(self.period);
            broken.push((LimitPart::Period, format!("must be 1 second to 31 days; {sent} was sent")));
        } else if !self.period.subsec_nanos().is_multiple_of(1000) {
            broken.push((LimitPart::Period, "must be whole microseconds".to_owned()));
        }
        if self.burst > Limit::MOST {
            broken.push((LimitPart::Burst, format!("must be at most {}; {} was sent", Limit::MOST, self.burst)));
        }
        if broken.is_empty() && self.meter().is_some_and(|meter| meter.capacity().duration() > Limit::DRAIN) {
            let rule = "must leak away within 366 days: make it smaller, or the amount larger";
            broken.push((LimitPart::Burst, rule.to_owned()));
        }
        broken
    }

    fn check_none(&self) -> Vec<(LimitPart, String)> {
        let is_set = self.amount != 0 || self.burst != 0 || !self.period.is_zero();
        let rule = || format!("takes no amount, period or burst in the mode {}", self.mode.name());
        is_set.then(|| (LimitPart::Whole, rule())).into_iter().collect()
    }
}

// === impl Mode ===

impl Mode {
    /// Returns whether the mode counts hits.
    #[must_use]
    pub fn meters(self) -> bool {
        matches!(self, Mode::Enforce | Mode::Shadow)
    }

    /// Name in files and messages.
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

/// Formats a time in the units of files and settings: `99d`, `1h 30m`, `250ms`. (Months of humantime have 30.44 days.)
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
        limit.check().into_iter().map(|(part, rule)| format!("{part:?}: {rule}")).collect()
    }

    #[test]
    fn times_are_formatted_as_files_take_them() {
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
    fn every_broken_rule_of_a_limit_is_reported() {
        let good = Limit::per(10, Duration::from_secs(1));
        assert!(broken(good).is_empty() && broken(Limit::UNLIMITED).is_empty() && broken(Limit::BLOCK).is_empty());
        assert_eq!(
            broken(Limit { amount: 0, period: Duration::ZERO, burst: u64::MAX, ..good }),
            [
                "Amount: must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block)",
                "Period: must be 1 second to 31 days; 0s was sent",
                "Burst: must be at most 1000000000000; 18446744073709551615 was sent",
            ]
        );
        assert_eq!(
            broken(Limit { period: Duration::from_nanos(1_000_000_001), ..good }),
            ["Period: must be whole microseconds"]
        );
        assert_eq!(
            broken(Limit { amount: 1, period: Limit::LONGEST, burst: 12, ..good }),
            ["Burst: must leak away within 366 days: make it smaller, or the amount larger"]
        );
        assert_eq!(
            broken(Limit { amount: 1, ..Limit::BLOCK }),
            ["Whole: takes no amount, period or burst in the mode block"]
        );
    }
}
