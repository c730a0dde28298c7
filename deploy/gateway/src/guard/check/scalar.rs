//! Scalar values in canonical JSON.

use std::io::Write as _;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use prost_types::{Duration, Timestamp};

use super::super::schema::{Integer, Kind};

/// Scalar in the JSON text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'v> {
    Bool(bool),
    Whole(i128),
    /// Number with a fraction or an exponent, or beyond 64 bits.
    Number(f64),
    Text(&'v str),
}

/// Phrase for a value of the wrong kind.
type Got = &'static str;

/// Longest duration, in seconds: about 10,000 years.
const LONGEST: i64 = 315_576_000_000;
/// Seconds of 0001-01-01 and 9999-12-31.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

// === impl Scalar ===

impl Scalar<'_> {
    /// Phrase for the value's kind.
    pub(super) fn kind(self) -> Got {
        match self {
            Scalar::Bool(_) => "a boolean",
            Scalar::Whole(_) | Scalar::Number(_) => "a number",
            Scalar::Text(_) => "a string",
        }
    }

    /// Appends the value to `out` as a `kind`.
    ///
    /// # Errors
    ///
    /// Phrase for the value, if it is not a `kind`.
    pub(super) fn write(self, kind: &Kind, out: &mut Vec<u8>) -> Result<(), Got> {
        match (kind, self) {
            (Kind::Bool, Scalar::Bool(value)) => append(out, value),
            (Kind::Integer(range), _) => {
                let value = self.integer(*range)?;
                if range.quoted { append(out, format_args!("\"{value}\"")) } else { append(out, value) }
            }
            (Kind::Float(single), _) => return self.float(*single, out),
            (Kind::Text, Scalar::Text(text)) => string(out, text),
            (Kind::Bytes, Scalar::Text(text)) => string(out, &BASE64_STANDARD.encode(bytes(text)?)),
            (Kind::Enum(values), Scalar::Text(text)) => {
                let known = values.iter().any(|(name, _)| name == text);
                string(out, if known { text } else { return Err("another string") });
            }
            (Kind::Enum(_), _) => append(out, self.integer(INT32).map_err(|_| self.kind())?),
            (Kind::Duration, Scalar::Text(text)) => string(out, &duration(text).ok_or("another string")?.to_string()),
            (Kind::Timestamp, Scalar::Text(text)) => string(out, &timestamp(text).ok_or("another string")?.to_string()),
            (Kind::FieldMask, Scalar::Text(text)) => string(out, field_mask(text).ok_or("another string")?),
            (
                Kind::Bool
                | Kind::Text
                | Kind::Bytes
                | Kind::Duration
                | Kind::Timestamp
                | Kind::FieldMask
                | Kind::Struct
                | Kind::Message(_),
                _,
            ) => return Err(self.kind()),
        }
        Ok(())
    }

    /// Appends the value to `out` as it is.
    ///
    /// # Errors
    ///
    /// Rule of a whole number that a 64-bit floating point can't keep: the transcoder would round it.
    pub(super) fn write_any(self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Scalar::Bool(value) => append(out, value),
            Scalar::Whole(value) if value.abs() > LARGEST => return Err(ROUNDED),
            Scalar::Whole(value) => append(out, value),
            // Writing to memory can't fail.
            Scalar::Number(value) => drop(serde_json::to_writer(out, &value)),
            Scalar::Text(text) => string(out, text),
        }
        Ok(())
    }

    fn integer(self, range: Integer) -> Result<i128, Got> {
        let value = match self {
            Scalar::Whole(value) => value,
            // Exact up to 2^53; beyond that, the value read is the value written.
            #[allow(clippy::cast_possible_truncation)]
            Scalar::Number(value) if value.fract() == 0.0 => value as i128,
            Scalar::Number(value) if value.is_finite() => return Err("a number with a fraction"),
            Scalar::Text(text) if is_whole(text) => text.parse().map_err(|_| "a number out of this range")?,
            Scalar::Text(_) => return Err("a string that is not a whole number"),
            Scalar::Number(_) | Scalar::Bool(_) => return Err(self.kind()),
        };
        if (range.min..=range.max).contains(&value) { Ok(value) } else { Err("a number out of this range") }
    }

    #[allow(clippy::cast_precision_loss)]
    fn float(self, single: bool, out: &mut Vec<u8>) -> Result<(), Got> {
        let value = match self {
            Scalar::Whole(value) => value as f64,
            Scalar::Number(value) => value,
            Scalar::Text(text) if matches!(text, "NaN" | "Infinity" | "-Infinity") => {
                string(out, text);
                return Ok(());
            }
            Scalar::Text(text) => text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or("another string")?,
            Scalar::Bool(_) => return Err(self.kind()),
        };
        if single && value.abs() > f64::from(f32::MAX) {
            return Err("a number out of this range");
        }
        // Writing to memory can't fail.
        let _ = serde_json::to_writer(&mut *out, &value);
        Ok(())
    }
}

/// Largest whole number whose neighbours are numbers too: 2^53 - 1.
const LARGEST: i128 = (1 << 53) - 1;
const ROUNDED: &str =
    "must be a whole number between -2^53 and 2^53, both excluded, since JSON rounds others; send it as a string";

const INT32: Integer = Integer { min: i32::MIN as i128, max: i32::MAX as i128, quoted: false };

fn append(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to memory can't fail.
    let _ = write!(out, "{value}");
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory can't fail.
    let _ = serde_json::to_writer(out, text);
}

/// Returns whether a text is an optional minus sign and digits.
fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads base64 in either alphabet, with or without padding.
fn bytes(text: &str) -> Result<Vec<u8>, Got> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, config).decode(text).map_err(|_| "another string")
}

/// Reads `3s` or `-1.5s`, with up to nine digits of a fraction.
fn duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let nanos = fraction_nanos(fraction)?;
    if !is_whole(whole) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    if seconds.abs() > LONGEST || (seconds.abs() == LONGEST && nanos > 0) {
        return None;
    }
    Some(Duration { seconds, nanos: if whole.starts_with('-') { -nanos } else { nanos } })
}

fn fraction_nanos(digits: &str) -> Option<i32> {
    let is_fraction = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_fraction {
        return None;
    }
    format!("{digits:0<9}").parse().ok()
}

/// Reads RFC 3339, with a time and an offset.
fn timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    let mark = |index: usize, marks: &[u8]| bytes.get(index).is_some_and(|byte| marks.contains(byte));
    // prost reads more forms than RFC 3339 has.
    let dated = (0..4).all(digit) && mark(4, b"-") && digit(5) && digit(6) && mark(7, b"-") && digit(8) && digit(9);
    let timed = mark(10, b"Tt")
        && digit(11)
        && digit(12)
        && mark(13, b":")
        && digit(14)
        && digit(15)
        && mark(16, b":")
        && digit(17)
        && digit(18);
    if !dated || !timed || !text.is_ascii() {
        return None;
    }
    let rest = match text[19..].strip_prefix('.') {
        None => &text[19..],
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            fraction_nanos(&fraction[..digits])?;
            &fraction[digits..]
        }
    };
    let offset = rest.as_bytes();
    let is_offset = matches!(offset, b"Z" | b"z")
        || (offset.len() == 6
            && matches!(offset[0], b'+' | b'-')
            && offset[3] == b':'
            && [1, 2, 4, 5].iter().all(|index| offset[*index].is_ascii_digit()));
    let time: Timestamp = if is_offset { text.to_ascii_uppercase().parse().ok()? } else { return None };
    TIMES.contains(&time.seconds).then_some(time)
}

/// Reads paths in lowerCamelCase, with commas between them.
fn field_mask(text: &str) -> Option<&str> {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let is_mask = text.is_empty() || text.split(',').all(|path| path.split('.').all(is_name));
    is_mask.then_some(text)
}
