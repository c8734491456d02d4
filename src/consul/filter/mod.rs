//! `?filter=`: an expression that says which rows of an answer are wanted.

mod evaluate;
mod parse;
mod quoting;
pub mod rows;
pub mod schema;
mod select;
#[cfg(test)]
mod tests;
mod tree;

use http::StatusCode;

use crate::model::limits;

use super::error::Failure;
use super::params::Params;

pub use evaluate::{Datum, Row};

const UNABLE: &str = "Failed to create boolean expression evaluator: ";

/// Which rows are wanted; without a filter all are.
#[derive(Debug, Default)]
pub struct Filter(Option<select::Question>);

impl Filter {
    /// The first `filter` of a request, for rows of these fields.
    pub fn of(params: &Params<'_>, fields: schema::Fields) -> Result<Filter, Failure> {
        let text = params.get("filter").unwrap_or_default();
        Filter::new(text, fields).map_err(|flaw| match flaw {
            Flaw::TooLong(why) => Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why),
            Flaw::Unread(why) | Flaw::Wrong(why) => Failure::internal(format!("{UNABLE}{why}")),
        })
    }

    /// The same with no words in front of what is wrong with a filter that could be read.
    pub fn bare(params: &Params<'_>, fields: schema::Fields) -> Result<Filter, Failure> {
        let text = params.get("filter").unwrap_or_default();
        Filter::new(text, fields).map_err(|flaw| match flaw {
            Flaw::TooLong(why) => Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why),
            Flaw::Unread(why) => Failure::internal(format!("{UNABLE}{why}")),
            Flaw::Wrong(why) => Failure::internal(why),
        })
    }

    fn new(text: &str, fields: schema::Fields) -> Result<Filter, Flaw> {
        if text.is_empty() {
            return Ok(Filter(None));
        }
        if text.len() > limits::FILTER {
            let (len, max) = (text.len(), limits::FILTER);
            return Err(Flaw::TooLong(format!(
                "filter has {len} bytes, at most {max} are allowed"
            )));
        }
        let tree = parse::parse(text).map_err(Flaw::Unread)?;
        select::select(&tree, fields).map(Some).map(Filter).map_err(Flaw::Wrong)
    }

    pub fn keeps(&self, row: &dyn Row) -> bool {
        self.0.as_ref().is_none_or(|question| question.holds(row))
    }

    /// Whether there is any: then rows have to be looked at.
    pub fn is_any(&self) -> bool {
        self.0.is_some()
    }
}

enum Flaw {
    TooLong(String),
    /// Its text is none of the grammar.
    Unread(String),
    /// It asks for what rows do not have.
    Wrong(String),
}
