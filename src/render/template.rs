//! A compiled template, and what comes of rendering it against one state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use crate::model::limits;
use crate::state::State;

use super::reads::{Read, Session};
use super::{Error, filters, functions};

/// Compiled once, rendered as often as what it reads changes.
///
/// Text is taken as it stands: nothing is escaped, the last newline stays, and a line that holds
/// only a `{% … %}` leaves no line behind. A name that is not defined is an error. There is one
/// file to a template: no include, no import.
#[derive(Clone)]
pub struct Template {
    name: String,
    source: String,
    engine: Environment<'static>,
}

/// What one rendering gave, and what it looked at on the way. The reads are complete in every
/// outcome: while none of them changes, rendering again gives the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    pub outcome: Outcome,
    pub reads: BTreeSet<Read>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Text(String),
    /// These keys must be written first.
    Waiting(BTreeSet<String>),
    Failed(Error),
}

impl Template {
    /// `name` is what errors call it: its file.
    pub fn compile(name: &str, source: &str) -> Result<Template, Error> {
        let fail = |error| Error::from_engine(name, source, &error);
        let mut engine = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build()
            .map_err(fail)?;
        engine.set_syntax(syntax);
        engine.set_auto_escape_callback(|_| AutoEscape::None);
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_fuel(Some(limits::TEMPLATE_FUEL));
        engine.set_recursion_limit(limits::TEMPLATE_DEPTH);
        filters::install(&mut engine);
        engine.add_template_owned(name.to_owned(), source.to_owned()).map_err(fail)?;
        Ok(Template { name: name.to_owned(), source: source.to_owned(), engine })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// `environment` is what `env` answers from.
    pub fn render(
        &self,
        state: &Arc<State>,
        environment: &Arc<BTreeMap<String, String>>,
    ) -> Rendering {
        let session = Session::new(state, environment);
        // A clone shares the compiled template; only the table of globals is copied.
        let mut engine = self.engine.clone();
        functions::install(&mut engine, &session);
        let mut text = Bounded::default();
        let result = engine
            .get_template(&self.name)
            .and_then(|template| template.render_captured_to((), &mut text).map(|_| ()));
        let seen = session.take();
        let outcome = match (result, String::from_utf8(text.bytes)) {
            // A key that is missing reads as empty so that one rendering finds all of them; what
            // came of it, an error too, means nothing.
            _ if !seen.missing.is_empty() => Outcome::Waiting(seen.missing),
            (Ok(()), Ok(text)) => Outcome::Text(text),
            (Err(error), _) => {
                Outcome::Failed(Error::from_engine(&self.name, &self.source, &error))
            }
            (Ok(()), Err(_)) => Outcome::Failed(Error::TooLarge {
                template: self.name.clone(),
                max: limits::RENDERED_FILE,
            }),
        };
        Rendering { outcome, reads: seen.reads }
    }
}

/// Takes text up to `limits::RENDERED_FILE`.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > limits::RENDERED_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
