//! Order of hits, as text.

use keyplane_contracts::rules::search as stated;
use keyplane_contracts::{Violation, Violations};

use crate::domain::FieldName;
use crate::domain::request::OrderBy;

/// Fields of `amount desc, name`; none for an empty text.
pub(super) fn order_by(text: &str, violations: &mut Violations) -> Vec<OrderBy> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    if text.len() > stated::ORDER {
        let (most, sent) = (stated::ORDER, text.len());
        violations.add("order_by", format!("must be at most {most} bytes; {sent} were sent"));
        return Vec::new();
    }
    let parts: Vec<_> = text.split(',').collect();
    if parts.len() > stated::ORDER_FIELDS {
        let (most, sent) = (stated::ORDER_FIELDS, parts.len());
        violations.add("order_by", format!("must name at most {most} fields; {sent} were sent"));
        return Vec::new();
    }
    let mut order: Vec<OrderBy> = Vec::new();
    for (index, text) in parts.into_iter().enumerate() {
        let number = index + 1;
        let rule = || Violation::new("order_by", format!("part {number} must be a field, then ` desc` or nothing"));
        let Some(part) = violations.keep(part(text).ok_or_else(rule)) else { continue };
        if order.iter().any(|earlier| earlier.field == part.field) {
            violations.add("order_by", format!("part {number} names {} again", part.field.as_str()));
        }
        order.push(part);
    }
    order
}

fn part(text: &str) -> Option<OrderBy> {
    let mut words = text.split_ascii_whitespace();
    let field = FieldName::new(words.next()?)?;
    let descending = match words.next() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return None,
    };
    words.next().is_none().then_some(OrderBy { field, descending })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let mut violations = Violations::new();
        let order = order_by(text, &mut violations);
        let form = |order: &OrderBy| format!("{}{}", order.field.as_str(), if order.descending { "-" } else { "+" });
        if violations.is_empty() { Ok(order.iter().map(form).collect()) } else { Err(violations.to_string()) }
    }

    #[test]
    fn fields_have_a_direction_each() {
        assert_eq!(read(""), Ok(String::new()));
        assert_eq!(read(" amount  desc ,name, a1 asc"), Ok("amount-name+a1+".to_owned()));
    }

    #[test]
    fn another_text_names_the_part() {
        for (text, message) in [
            ("amount down", "order_by: part 1 must be a field, then ` desc` or nothing"),
            ("a,,b", "order_by: part 2 must be a field, then ` desc` or nothing"),
            ("a, B", "order_by: part 2 must be a field, then ` desc` or nothing"),
            ("a, a desc", "order_by: part 2 names a again"),
            ("a,b,c,d", "order_by: must name at most 3 fields; 4 were sent"),
            (&"a".repeat(257), "order_by: must be at most 256 bytes; 257 were sent"),
        ] {
            assert_eq!(read(text), Err(message.to_owned()), "{text}");
        }
    }
}
