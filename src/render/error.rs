//! Why a template gave no text, and on which line.

use std::error::Error as _;
use std::fmt;

use minijinja::ErrorKind;

use crate::model::limits;

/// A line of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The template's name: its file.
    pub template: String,
    /// From 1; none where the engine knows of no line.
    pub line: Option<usize>,
    /// The text of that line.
    pub source: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The template can never be rendered.
    #[error("{place}: {what}{}", quoted(.place))]
    Syntax { place: Place, what: String },
    /// This state, or this environment, cannot be rendered with it.
    #[error("{place}: {what}{}", quoted(.place))]
    Evaluation { place: Place, what: String },
    #[error("{template}: the text grew beyond {max} bytes")]
    TooLarge { template: String, max: usize },
    #[error("{place}: stopped after {fuel} steps: is there an endless loop?{}", quoted(.place))]
    Endless { place: Place, fuel: u64 },
}

impl Error {
    /// `source` is the template's whole text.
    pub(super) fn from_engine(name: &str, source: &str, error: &minijinja::Error) -> Error {
        // An error inside a macro or a block is wrapped by the place that called it: the innermost
        // one is where a person has to look.
        let mut innermost = error;
        while let Some(inner) = innermost.source().and_then(|e| e.downcast_ref()) {
            innermost = inner;
        }
        let line = innermost.line().or(error.line());
        let text = line.and_then(|line| source.lines().nth(line.saturating_sub(1)));
        let source = text.map(|text| text.trim().to_owned());
        let place = Place { template: name.to_owned(), line, source };
        match innermost.kind() {
            ErrorKind::OutOfFuel => Error::Endless { place, fuel: limits::TEMPLATE_FUEL },
            ErrorKind::WriteFailure => {
                let max = limits::RENDERED_FILE;
                Error::TooLarge { template: place.template, max }
            }
            ErrorKind::SyntaxError | ErrorKind::BadEscape | ErrorKind::InvalidDelimiter => {
                Error::Syntax { place, what: said(innermost) }
            }
            _ => Error::Evaluation { place, what: said(innermost) },
        }
    }
}

/// What the engine said, with the causes it was given.
fn said(error: &minijinja::Error) -> String {
    let mut said = match (error.kind(), error.detail()) {
        // Our own functions give the whole sentence.
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (ErrorKind::TemplateNotFound, _) => {
            "include, import and extends are not available: a template is one file".to_owned()
        }
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    let mut cause = error.source();
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}

fn quoted(place: &Place) -> String {
    place.source.as_ref().map_or_else(String::new, |line| format!(" in `{line}`"))
}
