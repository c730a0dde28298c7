//! Compares what a limit admitted with its rule.
//!
//! Only the store knows the moment of a decision, between the beginning of a call and its answer. So for each span of
//! time that runs from the beginning of one call to the answer of another, what was surely admitted within it, and was not given
//! back, must be at most `burst + rate · span`. It is the same as a bucket that leaks, with each charge poured in when its call began, and
//! looked at when it was answered.

use std::time::{Duration, Instant};

/// Limit.
#[derive(Clone, Copy, Debug)]
pub(in crate::soak) struct Limit {
    /// Units a second.
    pub(in crate::soak) rate: f64,
    pub(in crate::soak) burst: f64,
}

/// Admissions of one bucket. Charges count once their settlement is known.
#[derive(Debug)]
pub(in crate::soak) struct Meter {
    limit: Limit,
    /// Uncounted charges, in the order of their beginning.
    waiting: Vec<Charge>,
    /// Water, and when it was that much.
    level: f64,
    at: Option<Instant>,
    /// Last moment of an empty bucket, and the latest answer since.
    since: Option<Instant>,
    answered: Option<Instant>,
    counted: u64,
}

/// Admitted charge of a call.
#[derive(Clone, Copy, Debug)]
pub(in crate::soak) struct Charge {
    pub(in crate::soak) begin: Instant,
    pub(in crate::soak) end: Instant,
    /// Amount that stays charged, at least.
    pub(in crate::soak) amount: f64,
}

/// Charge whose decision may lie anywhere in so much time says nothing; not to count it never makes a limit look broken.
const SLOW: Duration = Duration::from_millis(500);
/// Wait of a charge until it counts: an earlier one may be answered, or settled, later.
pub(in crate::soak) const WAIT: Duration = Duration::from_secs(12);
/// Largest drift between clocks, over any time.
const DRIFT: f64 = 0.001;

// === impl Meter ===

impl Meter {
    pub(in crate::soak) fn new(limit: Limit) -> Meter {
        let (waiting, level) = (Vec::new(), 0.0);
        Meter { limit, waiting, level, at: None, since: None, answered: None, counted: 0 }
    }

    pub(in crate::soak) fn add(&mut self, charge: Charge) {
        if charge.end - charge.begin <= SLOW && charge.amount > 0.0 {
            let at = self.waiting.partition_point(|other| other.begin <= charge.begin);
            self.waiting.insert(at, charge);
        }
    }

    /// Store lost what it had: nothing of before counts.
    pub(in crate::soak) fn forget(&mut self) {
        let counted = self.counted;
        *self = Meter { counted, ..Meter::new(self.limit) };
    }

    /// Counts what began before `until`. How many charges that was, and the first that was too much.
    pub(in crate::soak) fn count(&mut self, until: Instant) -> (u64, Result<(), String>) {
        let ready = self.waiting.partition_point(|charge| charge.begin < until);
        let charges: Vec<_> = self.waiting.drain(..ready).collect();
        let outcomes: Vec<_> = charges.iter().map(|charge| self.pour(charge)).collect();
        self.counted += outcomes.len() as u64;
        (outcomes.len() as u64, outcomes.into_iter().collect())
    }

    fn pour(&mut self, charge: &Charge) -> Result<(), String> {
        let leaked = self.at.map_or(0.0, |at| self.limit.rate * (charge.begin - at).as_secs_f64());
        self.level -= leaked;
        if self.at.is_none() || self.level <= 0.0 {
            self.level = 0.0;
            self.since = Some(charge.begin);
            self.answered = None;
        }
        self.at = Some(charge.begin);
        self.level += charge.amount;
        let answered = self.answered.map_or(charge.end, |answered| answered.max(charge.end));
        self.answered = Some(answered);
        let span = self.since.map_or(Duration::ZERO, |since| answered - since).as_secs_f64();
        let slack = self.limit.rate * ((answered - charge.begin).as_secs_f64() + span * DRIFT);
        let over = self.level - slack - self.limit.burst;
        if over <= 1e-6 {
            return Ok(());
        }
        let Limit { rate, burst } = self.limit;
        let most = burst + rate * span;
        // Reported once: later charges would be over for the same reason.
        self.level = burst;
        Err(format!(
            "within {span:.3} s {:.1} were admitted, and at most {burst} + {span:.3} · {rate} = {most:.1} may be",
            most + over
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { rate: 10.0, burst: 10.0 };

    /// Charges at milliseconds, each answered 5 ms later; whether the limit held.
    fn held(charges: &[(u64, f64)]) -> bool {
        let (mut meter, start) = (Meter::new(LIMIT), Instant::now());
        for (at, amount) in charges {
            let begin = start + Duration::from_millis(*at);
            meter.add(Charge { begin, end: begin + Duration::from_millis(5), amount: *amount });
        }
        meter.count(start + Duration::from_hours(1)).1.is_ok()
    }

    #[test]
    fn a_burst_and_what_leaks_may_pass() {
        assert!(held(&[(0, 10.0), (100, 1.0), (200, 1.0), (1_200, 10.0)]));
        let steady: Vec<_> = (0..1_000).map(|number| (number * 100, 1.0)).collect();
        assert!(held(&steady));
    }

    #[test]
    fn one_more_is_seen() {
        assert!(!held(&[(0, 11.0)]));
        assert!(!held(&[(0, 10.0), (0, 1.0)]));
        assert!(!held(&[(0, 10.0), (1_000, 10.0), (1_500, 6.0)]));
    }

    #[test]
    fn a_rate_that_is_slightly_too_high_is_seen_over_time() {
        let charges: Vec<_> = (0..1_200).map(|number| (number * 98, 1.0)).collect();
        assert!(!held(&charges));
    }

    #[test]
    fn return_after_the_leak_is_found() {
        // Reservations of 10 each second, cancelled after 25 of them, for 250 at once.
        let mut charges: Vec<_> = (0..25).map(|number| (number * 1_000, 0.0)).collect();
        charges.extend((0..26).map(|number| (25_000 + number, 10.0)));
        assert!(!held(&charges));
    }

    #[test]
    fn the_order_of_answers_does_not_matter_and_slow_ones_do_not_count() {
        let (mut meter, start) = (Meter::new(LIMIT), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        meter.add(Charge { begin: at(300), end: at(310), amount: 3.0 });
        meter.add(Charge { begin: at(0), end: at(10), amount: 10.0 });
        meter.add(Charge { begin: at(0), end: at(501), amount: 5.0 });
        assert_eq!(meter.count(at(100)), (1, Ok(())));
        assert_eq!(meter.count(at(400)), (1, Ok(())));
        meter.add(Charge { begin: at(401), end: at(410), amount: 5.0 });
        assert!(meter.count(at(500)).1.is_err());
    }

    #[test]
    fn a_loss_of_the_store_begins_anew() {
        let (mut meter, start) = (Meter::new(LIMIT), Instant::now());
        let charge = Charge { begin: start, end: start, amount: 10.0 };
        meter.add(charge);
        assert!(meter.count(start + WAIT).1.is_ok());
        meter.forget();
        meter.add(charge);
        assert!(meter.count(start + WAIT).1.is_ok());
        meter.add(charge);
        assert!(meter.count(start + WAIT).1.is_err());
    }
}
