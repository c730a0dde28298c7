//! Values of the filter language: numbers, times, booleans.

use keyplane_contracts::rules::search::WHOLE;
use keyplane_contracts::timestamp;

use super::super::schema::FieldKind;
use super::parser::Literal;

/// Form of a date.
const DATE: &str = "YYYY-MM-DD";
/// Rule of a boolean's value.
pub(super) const BOOLEAN: &str = "a boolean must be true or false, without quotes";
const INTEGER: &str = "an integer must be a whole number, without quotes";
const BEYOND: &str = "an integer must lie between -9007199254740991 and 9007199254740991 (2^53 - 1)";
const DECIMAL: &str = "a decimal must be a finite number such as -1.5 or 2e10, without quotes";
const TIME: &str = "a timestamp must be a time such as 2026-01-31T08:00:00Z, or a date such as 2026-01-31";

/// Number of a value in the index's unit, or the rule that it breaks.
pub(super) fn number(kind: FieldKind, literal: &Literal<'_>) -> Result<f64, &'static str> {
    match kind {
        FieldKind::Timestamp => time(&literal.text),
        FieldKind::Integer if literal.quoted => Err(INTEGER),
        FieldKind::Integer => integer(&literal.text),
        FieldKind::Decimal if literal.quoted => Err(DECIMAL),
        FieldKind::Decimal => decimal(&literal.text),
        FieldKind::Text { .. } | FieldKind::Tag | FieldKind::Tags | FieldKind::Boolean | FieldKind::Stored => {
            Err(DECIMAL)
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "integers are within 2^53")]
fn integer(text: &str) -> Result<f64, &'static str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(INTEGER);
    }
    // Digits that 64 bits can't hold are beyond 2^53, too.
    let size = digits.parse::<u64>().ok().filter(|size| *size <= WHOLE.unsigned_abs()).ok_or(BEYOND)?;
    Ok(if text.starts_with('-') && size > 0 { -(size as f64) } else { size as f64 })
}

fn decimal(text: &str) -> Result<f64, &'static str> {
    // Words such as `inf` and `nan` are numbers to the parser of floats.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return Err(DECIMAL);
    }
    // Adding zero turns -0 into 0.
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number + 0.0).ok_or(DECIMAL)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of the years 1 to 9999 are below 2^53")]
fn time(text: &str) -> Result<f64, &'static str> {
    let midnight = |date: &str| timestamp::parse_millis(&format!("{date}T00:00:00Z"));
    let millis = if text.len() == DATE.len() { midnight(text) } else { timestamp::parse_millis(text) };
    millis.map(|millis| millis as f64).ok_or(TIME)
}
