//! Dates in questions, and how close a memory's event is to them.

use jiff::civil::Date;

use super::super::calendar::{MONTHS, date, days_between};

/// Date, month or year that a question names. A part that it leaves out fits any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DateCue {
    /// Year, 1900 to 2099.
    pub year: Option<i16>,
    /// Month, 1 to 12.
    pub month: Option<i8>,
    /// Day of the month; only with a month.
    pub day: Option<i8>,
}

/// Month's name at a place of the question.
struct Month {
    number: i8,
    /// True if it is a month only beside a number: `may`, `march`, an abbreviation.
    ambiguous: bool,
}

/// Closeness of an event's day or the day after it.
const ON_DAY: f32 = 1.0;
/// Closeness within a week of the day, or within the month.
const NEAR: f32 = 0.8;
/// Closeness 8 to 16 days after the day, or in the first half of the next month.
const SOON_AFTER: f32 = 0.5;
/// Closeness within a year that is named without a month.
const IN_YEAR: f32 = 0.2;

/// Closeness of an event to the nearest of `cues`, 0 to 1: events are often told of days after they happened.
#[must_use]
pub fn closeness(cues: &[DateCue], event_time: i64) -> f32 {
    if cues.is_empty() {
        return 0.0;
    }
    let Some(event) = date(event_time) else { return 0.0 };
    cues.iter().map(|cue| cue.closeness(event)).fold(0.0, f32::max)
}

/// Dates in the words of a question, in order.
pub(super) fn read(words: &[&str]) -> Vec<DateCue> {
    let mut cues = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let (cue, used) = iso(words, at).or_else(|| month_at(words, at)).or_else(|| year_at(words, at)).unzip();
        cues.extend(cue);
        at += used.unwrap_or(1);
    }
    cues
}

/// Date such as `2023-05-07`, and its number of words.
fn iso(words: &[&str], at: usize) -> Option<(DateCue, usize)> {
    let [year, month, day] = words.get(at..at + 3)? else { return None };
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let month = month.parse().ok().filter(|month| (1..=12).contains(month))?;
    Some((DateCue { year: Some(read_year(year)?), month: Some(month), day: Some(read_day(day)?) }, 3))
}

/// Month at a place with the day before or after it and the year after them, and the number of words from there on.
fn month_at(words: &[&str], at: usize) -> Option<(DateCue, usize)> {
    let month = read_month(words, at)?;
    let before = at.checked_sub(1).and_then(|at| match words[at] {
        "of" => read_day(words.get(at.checked_sub(1)?)?),
        word => read_day(word),
    });
    let after = words.get(at + 1).and_then(|word| read_day(word)).filter(|_| before.is_none());
    let behind = at + 1 + usize::from(after.is_some());
    let year = words.get(behind).and_then(|word| read_year(word));
    let day = before.or(after);
    if month.ambiguous && day.is_none() && year.is_none() {
        return None;
    }
    Some((DateCue { year, month: Some(month.number), day }, behind + usize::from(year.is_some()) - at))
}

/// Year that stands alone.
fn year_at(words: &[&str], at: usize) -> Option<(DateCue, usize)> {
    Some((DateCue { year: Some(read_year(words[at])?), month: None, day: None }, 1))
}

/// Month's name or abbreviation. `May` and `March` are months with a capital inside the question.
fn read_month(words: &[&str], at: usize) -> Option<Month> {
    let word = words[at].trim_end_matches('.');
    let word = word.strip_suffix("'s").or_else(|| word.strip_suffix("\u{2019}s")).unwrap_or(word);
    let is_full = |name: &str| name.eq_ignore_ascii_case(word);
    let is_short = |name: &&str| {
        (name[..3].eq_ignore_ascii_case(word)) || (word.eq_ignore_ascii_case("sept") && **name == *"September")
    };
    let position = MONTHS.iter().position(|name| is_full(name) || is_short(name))?;
    let full = is_full(MONTHS[position]);
    let is_verb = matches!(position, 2 | 4) && (at == 0 || !word.starts_with(char::is_uppercase));
    Some(Month { number: i8::try_from(position + 1).ok()?, ambiguous: !full || is_verb })
}

/// Day of a month: `7`, `07`, `7th`.
fn read_day(word: &str) -> Option<i8> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
    (digits.len() <= 2).then(|| digits.parse().ok()).flatten().filter(|day| (1..=31).contains(day))
}

/// Year of four digits.
fn read_year(word: &str) -> Option<i16> {
    let digits = word.strip_suffix("'s").unwrap_or(word);
    (digits.len() == 4).then(|| digits.parse().ok()).flatten().filter(|year| (1900..2100).contains(year))
}

// === impl DateCue ===

impl DateCue {
    /// Closeness of an event's day, 0 to 1. Without a year, the nearest year counts.
    fn closeness(self, event: Date) -> f32 {
        let Some(month) = self.month else {
            return if self.year == Some(event.year()) { IN_YEAR } else { 0.0 };
        };
        let years = match self.year {
            Some(year) => year..=year,
            None => event.year() - 1..=event.year() + 1,
        };
        years.map(|year| by_month(year, month, self.day, event)).fold(0.0, f32::max)
    }
}

/// Closeness to a day, or to a month without one. A day that the month lacks counts as none.
fn by_month(year: i16, month: i8, day: Option<i8>, event: Date) -> f32 {
    match day.and_then(|day| Date::new(year, month, day).ok()) {
        Some(day) => match days_between(day, event) {
            0..=1 => ON_DAY,
            -7..=7 => NEAR,
            8..=16 => SOON_AFTER,
            _ => 0.0,
        },
        None if (event.year(), event.month()) == (year, month) => NEAR,
        None if event.day() <= 15 && is_next_month((year, month), event) => SOON_AFTER,
        None => 0.0,
    }
}

fn is_next_month((year, month): (i16, i8), event: Date) -> bool {
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    (event.year(), event.month()) == next
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;

    fn cues(question: &str) -> Vec<(Option<i16>, Option<i8>, Option<i8>)> {
        let words: Vec<&str> = question.unicode_words().collect();
        read(&words).into_iter().map(|cue| (cue.year, cue.month, cue.day)).collect()
    }

    /// Moment of a day's noon.
    fn noon(year: i16, month: i8, day: i8) -> i64 {
        let day = Date::new(year, month, day).expect("a date");
        days_between(Date::constant(1970, 1, 1), day) * 86_400_000 + 43_200_000
    }

    #[test]
    fn dates_are_read_in_the_usual_forms() {
        let day = (Some(2023), Some(5), Some(7));
        for form in
            ["on 7 May 2023", "May 7, 2023", "the 7th of May 2023", "2023-05-07", "on May 7th, 2023?", "7 may 2023"]
        {
            assert_eq!(cues(form), [day], "{form}");
        }
        assert_eq!(cues("in June 2023"), [(Some(2023), Some(6), None)]);
        assert_eq!(cues("in August?"), [(None, Some(8), None)]);
        assert_eq!(cues("Sept. 3"), [(None, Some(9), Some(3))]);
        assert_eq!(cues("in 2022 or May 2023"), [(Some(2022), None, None), (Some(2023), Some(5), None)]);
    }

    #[test]
    fn verbs_and_numbers_are_no_dates() {
        for text in ["May I march on?", "what may it cost", "Did Jan call 12 people?", "1500 metres", "3 or 4", ""] {
            assert_eq!(cues(text), [], "{text}");
        }
        assert_eq!(cues("What happened in May?"), [(None, Some(5), None)]);
    }

    #[test]
    fn closeness_falls_with_the_days() {
        let cue = [DateCue { year: Some(2023), month: Some(5), day: Some(7) }];
        let at = |month, day| closeness(&cue, noon(2023, month, day));
        assert_eq!([at(5, 7), at(5, 8), at(5, 9), at(4, 30), at(5, 14)], [1.0, 1.0, 0.8, 0.8, 0.8]);
        assert_eq!([at(5, 15), at(5, 23), at(5, 24), at(4, 29)], [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn months_and_years_are_wider() {
        let month = [DateCue { year: Some(2022), month: Some(12), day: None }];
        assert_eq!(closeness(&month, noon(2022, 12, 31)), 0.8);
        assert_eq!(closeness(&month, noon(2023, 1, 15)), 0.5);
        assert_eq!(closeness(&month, noon(2023, 1, 16)), 0.0);
        let year = [DateCue { year: Some(2022), month: None, day: None }];
        assert_eq!(closeness(&year, noon(2022, 1, 1)), 0.2);
        assert_eq!(closeness(&year, noon(2023, 1, 1)), 0.0);
    }

    #[test]
    fn year_left_out_fits_the_nearest() {
        let day = [DateCue { year: None, month: Some(1), day: Some(2) }];
        assert_eq!(closeness(&day, noon(2022, 12, 30)), 0.8);
        assert_eq!(closeness(&day, noon(2024, 1, 2)), 1.0);
    }

    proptest! {
        #[test]
        fn any_text_is_read(question in "\\PC{0,80}") {
            let _ = cues(&question);
        }

        #[test]
        fn closeness_is_0_to_1(year in proptest::option::of(1900_i16..2100), month in proptest::option::of(1_i8..=12), day in proptest::option::of(1_i8..=31), time: i64) {
            let cue = DateCue { year, month, day: day.filter(|_| month.is_some()) };
            prop_assert!((0.0..=1.0).contains(&closeness(&[cue], time)));
        }
    }
}
