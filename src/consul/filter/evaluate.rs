//! Answers a filter's question about one row.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::TaggedAddress;

use super::select::{Ask, Question, Test};

/// What a field of a row holds.
pub enum Datum<'a> {
    Text(&'a str),
    Number(i64),
    Truth(bool),
    Texts(&'a [Arc<str>]),
    Words(&'a BTreeMap<String, String>),
    Addresses(&'a BTreeMap<String, TaggedAddress>),
    Part(Box<dyn Row + 'a>),
    Parts(Vec<Box<dyn Row + 'a>>),
    /// A field that nothing here ever sets, or a name that a map does not have.
    Nothing,
}

/// A row, or a part of one, by the names of its fields.
pub trait Row {
    fn field(&self, name: &str) -> Datum<'_>;
}

impl Question {
    pub fn holds(&self, row: &dyn Row) -> bool {
        match self {
            Question::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Question::All(parts) => parts.iter().all(|part| part.holds(row)),
            Question::Not(of) => !of.holds(row),
            Question::Ask(ask) => match ask.path.split_first() {
                Some((first, rest)) => ask.of(row.field(first), rest),
                None => false,
            },
        }
    }
}

impl Ask {
    /// Of what `path` leads to in the datum.
    fn of(&self, datum: Datum<'_>, path: &[String]) -> bool {
        let Some((name, rest)) = path.split_first() else { return self.of_value(&datum) };
        match datum {
            Datum::Part(part) => self.of(part.field(name), rest),
            // Any of them, also of what is asked the other way round; of none nothing is true.
            Datum::Parts(parts) => parts.iter().any(|part| self.of(part.field(name), rest)),
            Datum::Words(words) => match words.get(name) {
                Some(word) => self.of(Datum::Text(word), rest),
                None => self.of_absent(),
            },
            Datum::Addresses(addresses) => match addresses.get(name) {
                Some(to) => self.of(Datum::Part(Box::new(to)), rest),
                None => self.of_absent(),
            },
            // Of the mesh: what is not set has the least value of its type.
            _ => self.of_value(&Datum::Nothing),
        }
    }

    /// Of a name that a map does not have.
    fn of_absent(&self) -> bool {
        match self.test {
            // Consul lets both pass.
            Test::Matches(_) => true,
            Test::Empty => !self.negated,
            _ => self.negated,
        }
    }

    fn of_value(&self, datum: &Datum<'_>) -> bool {
        let holds = match (&self.test, datum) {
            (Test::Text(text), Datum::Text(value)) => text == value,
            (Test::Text(text), _) => text.is_empty(),
            (Test::Number(number), Datum::Number(value)) => number == value,
            (Test::Number(number), _) => *number == 0,
            (Test::Truth(truth), Datum::Truth(value)) => truth == value,
            (Test::Truth(truth), _) => !truth,
            (Test::Contains(text), Datum::Text(value)) => value.contains(text),
            (Test::Contains(text), Datum::Texts(texts)) => texts.iter().any(|t| **t == **text),
            (Test::Contains(text), Datum::Words(words)) => words.contains_key(text),
            (Test::Contains(text), Datum::Addresses(names)) => names.contains_key(text),
            (Test::Contains(text), _) => text.is_empty(),
            (Test::Empty, Datum::Texts(texts)) => texts.is_empty(),
            (Test::Empty, Datum::Words(words)) => words.is_empty(),
            (Test::Empty, Datum::Addresses(addresses)) => addresses.is_empty(),
            (Test::Empty, Datum::Parts(parts)) => parts.is_empty(),
            (Test::Empty, _) => true,
            (Test::Matches(pattern), Datum::Text(value)) => pattern.matches(value),
            (Test::Matches(pattern), _) => pattern.matches(""),
        };
        holds != self.negated
    }
}

impl Row for &TaggedAddress {
    fn field(&self, name: &str) -> Datum<'_> {
        match name {
            "Address" => Datum::Text(&self.address),
            "Port" => Datum::Number(self.port.into()),
            _ => Datum::Nothing,
        }
    }
}
