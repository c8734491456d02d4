//! What a filter says, as a tree, and the same as text again.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// More than one, any of which is enough.
    Any(Vec<Expression>),
    /// More than one, all of which are needed.
    All(Vec<Expression>),
    Not(Box<Expression>),
    Match(Match),
}

/// One thing that is asked of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// At least one name.
    pub selector: Vec<String>,
    pub operator: Operator,
    /// As it was written, without its quotes; empty for the operators that take none.
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    Equal,
    NotEqual,
    In,
    NotIn,
    IsEmpty,
    IsNotEmpty,
    Matches,
    NotMatches,
}

impl Operator {
    /// As error texts call it.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Equal => "Equal",
            Operator::NotEqual => "Not Equal",
            Operator::In => "In",
            Operator::NotIn => "Not In",
            Operator::IsEmpty => "Is Empty",
            Operator::IsNotEmpty => "Is Not Empty",
            Operator::Matches => "Matches",
            Operator::NotMatches => "Not Matches",
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Expression], word: &str| {
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Expression::Any(_) | Expression::All(_) => write!(f, "({part})")?,
                    part => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Expression::Any(parts) => list(f, parts, "or"),
            Expression::All(parts) => list(f, parts, "and"),
            Expression::Not(of) => match &**of {
                Expression::Any(_) | Expression::All(_) => write!(f, "not ({of})"),
                of => write!(f, "not {of}"),
            },
            Expression::Match(of) => of.fmt(f),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = Quoted(&self.value);
        match self.operator {
            Operator::In => write!(f, "{value} in ")?,
            Operator::NotIn => write!(f, "{value} not in ")?,
            _ => {}
        }
        for (at, name) in self.selector.iter().enumerate() {
            match (at, is_name(name)) {
                (0, _) => f.write_str(name)?,
                (_, true) => write!(f, ".{name}")?,
                (_, false) => write!(f, "[{}]", Quoted(name))?,
            }
        }
        match self.operator {
            Operator::In | Operator::NotIn => Ok(()),
            Operator::Equal => write!(f, " == {value}"),
            Operator::NotEqual => write!(f, " != {value}"),
            Operator::IsEmpty => f.write_str(" is empty"),
            Operator::IsNotEmpty => f.write_str(" is not empty"),
            Operator::Matches => write!(f, " matches {value}"),
            Operator::NotMatches => write!(f, " not matches {value}"),
        }
    }
}

pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A text in quotes of which nothing ends it early.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\x22")?,
                '\\' => f.write_str("\\\\")?,
                c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}
