//! Holds a filter's tree against the fields of a kind of row: what it then asks cannot be wrong.

use crate::state::{BadPattern, Pattern};

use crate::consul::params::truth;

use super::schema::{Fields, Kind};
use super::tree::{Expression, Match, Operator};

/// A filter that fits its rows.
#[derive(Debug)]
pub enum Question {
    Any(Vec<Question>),
    All(Vec<Question>),
    Not(Box<Question>),
    Ask(Ask),
}

/// One thing that is asked of one field.
#[derive(Debug)]
pub struct Ask {
    pub path: Vec<String>,
    pub test: Test,
    /// The answer is turned round, for each of those that are asked.
    pub negated: bool,
}

#[derive(Debug)]
pub enum Test {
    Text(String),
    Number(i64),
    Truth(bool),
    /// A text has it in itself, a list as one of its texts, a map as a name.
    Contains(String),
    Empty,
    Matches(Pattern),
}

/// Fits a tree to rows of these fields; the text says what does not.
pub fn select(tree: &Expression, fields: Fields) -> Result<Question, String> {
    let all = |parts: &[Expression]| -> Result<Vec<Question>, String> {
        parts.iter().map(|part| select(part, fields)).collect()
    };
    Ok(match tree {
        Expression::Any(parts) => Question::Any(all(parts)?),
        Expression::All(parts) => Question::All(all(parts)?),
        Expression::Not(of) => Question::Not(Box::new(select(of, fields)?)),
        Expression::Match(of) => Question::Ask(ask(of, fields)?),
    })
}

fn ask(of: &Match, fields: Fields) -> Result<Ask, String> {
    let kind = kind_of(&of.selector, fields)?;
    let selector = of.selector.join(".");
    if !kind.takes(of.operator) {
        let operator = of.operator.name();
        return Err(format!("Invalid match operator {operator:?} for selector {selector:?}"));
    }
    let uncoerced = |why: String| {
        let value = &of.value;
        format!("Failed to coerce value {value:?} for selector {selector:?}: {why}")
    };
    let test = match of.operator {
        Operator::Equal | Operator::NotEqual => match kind {
            Kind::Number => Test::Number(number(&of.value).map_err(uncoerced)?),
            Kind::Truth => Test::Truth(truth(&of.value).map_err(uncoerced)?),
            _ => Test::Text(of.value.clone()),
        },
        Operator::In | Operator::NotIn => Test::Contains(of.value.clone()),
        Operator::IsEmpty | Operator::IsNotEmpty => Test::Empty,
        Operator::Matches | Operator::NotMatches => {
            let uncompiled = |error: BadPattern| {
                format!("Failed to compile regular expression {:?}: {error}", of.value)
            };
            Test::Matches(Pattern::new(&of.value).map_err(uncompiled)?)
        }
    };
    let negated = matches!(
        of.operator,
        Operator::NotEqual | Operator::NotIn | Operator::IsNotEmpty | Operator::NotMatches
    );
    Ok(Ask { path: of.selector.clone(), test, negated })
}

fn kind_of(selector: &[String], fields: Fields) -> Result<&'static Kind, String> {
    let invalid = |upto: usize| {
        let selector = selector.get(..=upto).unwrap_or(selector).join(".");
        format!("Selector {selector:?} is not valid")
    };
    let field = |fields: Fields, name: &str| {
        fields.iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    };
    let mut found: Option<&'static Kind> = None;
    for (at, name) in selector.iter().enumerate() {
        found = match found {
            None => field(fields, name),
            Some(Kind::Part(fields) | Kind::Parts(fields)) => field(fields, name),
            Some(Kind::Map(kind)) => Some(kind),
            Some(Kind::Text | Kind::Number | Kind::Truth | Kind::Texts) => None,
        };
        if found.is_none() {
            return Err(invalid(at));
        }
    }
    found.ok_or_else(|| invalid(0))
}

/// As Go reads an integer whose base its beginning tells.
fn number(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", text.get(1..)),
        Some(b'+') => ("", text.get(1..)),
        _ => ("", Some(text)),
    };
    let digits = digits.unwrap_or_default();
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..)),
        Some("0b") => (2, lower.get(2..)),
        Some("0o") => (8, lower.get(2..)),
        Some(other) if other.starts_with('0') => (8, lower.get(1..)),
        _ => (10, Some(&*lower)),
    };
    let digits = digits.unwrap_or_default();
    let well_formed = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    let why = if well_formed { "value out of range" } else { "invalid syntax" };
    match i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        Ok(number) if well_formed => Ok(number),
        _ => Err(format!("strconv.ParseInt: parsing {text:?}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_gos() {
        for (text, expected) in
            [("80", 80), ("-8", -8), ("+8", 8), ("0x50", 80), ("010", 8), ("0", 0), ("0b11", 3)]
        {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        for bad in ["", "abc", "8.5", "0x", "- 8", "08", "--8", "é"] {
            let expected = format!("strconv.ParseInt: parsing {bad:?}: invalid syntax");
            assert_eq!(number(bad), Err(expected));
        }
        let far = "9223372036854775808";
        assert!(number(far).is_err_and(|why| why.ends_with("value out of range")));
    }
}
