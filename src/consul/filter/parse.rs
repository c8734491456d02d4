//! Turns the text of a filter into its tree, or says where it goes wrong and what was awaited.
//!
//! A parsing expression grammar: each rule tries its ways in order and remembers, for the farthest
//! place that any of them reached, what would have gone on from there.

use std::collections::BTreeSet;

use crate::model::limits;

use super::quoting::unquote;
use super::tree::{Expression, Match, Operator};

/// The tree of a filter that is not empty, or one line per thing that is wrong.
pub fn parse(text: &str) -> Result<Expression, String> {
    let mut parser = Parser::new(text);
    let tree = parser.input();
    match (parser.flaws.is_empty(), tree) {
        (true, Some(tree)) => Ok(tree),
        (true, None) => Err(parser.nothing_matched()),
        (false, _) => Err(parser.flaws.join("\n")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The farthest place where something else was awaited.
    farthest: usize,
    awaited: BTreeSet<String>,
    end_awaited: bool,
    /// Looking whether something is not there: what is missed then is not awaited.
    doubting: bool,
    /// What is wrong in itself, whatever else could have stood there.
    flaws: Vec<String>,
    depth: usize,
}

const SPACE: &str = " \t\r\n";
const WHITE: &str = r"[ \t\r\n]";

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser {
            text,
            at: 0,
            farthest: 0,
            awaited: BTreeSet::new(),
            end_awaited: false,
            doubting: false,
            flaws: Vec::new(),
            depth: 0,
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Line, column and offset, as error texts give them.
    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        let at_break = self.text.get(offset..).is_some_and(|rest| rest.starts_with('\n'));
        // A line break counts as column 0 of the line that it begins.
        let (line, column) = if at_break { (line + 1, 0) } else { (line, column) };
        format!("{line}:{column} ({offset})")
    }

    fn flaw(&mut self, offset: usize, rule: &str, what: &str) {
        let flaw = format!("{}: rule \"{rule}\": {what}", self.place(offset));
        if !self.flaws.contains(&flaw) {
            self.flaws.push(flaw);
        }
    }

    fn nothing_matched(&self) -> String {
        let mut awaited: Vec<&str> = self.awaited.iter().map(String::as_str).collect();
        awaited.extend(self.end_awaited.then_some("EOF"));
        let list = match awaited.split_last() {
            None => String::new(),
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
        };
        format!("{}: no match found, expected: {list}", self.place(self.farthest))
    }

    /// Notes what was missed here. False: that is already behind the farthest place.
    fn reaches(&mut self) -> bool {
        if self.doubting || self.at < self.farthest {
            return false;
        }
        if self.at > self.farthest {
            self.farthest = self.at;
            self.awaited.clear();
            self.end_awaited = false;
        }
        true
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        if self.rest().starts_with(word) {
            self.at += word.len();
            return Some(());
        }
        if self.reaches() {
            self.awaited.insert(format!("{word:?}"));
        }
        None
    }

    fn class(&mut self, class: &str, is_in: impl Fn(char) -> bool) -> Option<()> {
        if let Some(next) = self.peek().filter(|next| is_in(*next)) {
            self.at += next.len_utf8();
            return Some(());
        }
        if self.reaches() && !self.awaited.contains(class) {
            self.awaited.insert(class.to_owned());
        }
        None
    }

    fn end(&mut self) -> Option<()> {
        if self.rest().is_empty() {
            return Some(());
        }
        if self.reaches() {
            self.end_awaited = true;
        }
        None
    }

    fn space(&mut self) -> Option<()> {
        self.class(WHITE, |c| SPACE.contains(c))?;
        self.space_if_any();
        Some(())
    }

    fn space_if_any(&mut self) {
        while self.class(WHITE, |c| SPACE.contains(c)).is_some() {}
    }

    /// Tries a way; where it does not lead through, it is as if it had not been tried.
    fn attempt<T>(&mut self, way: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let from = self.at;
        let found = way(self);
        if found.is_none() {
            self.at = from;
        }
        found
    }

    /// Whether a way would not lead through here.
    fn lacks<T>(&mut self, way: impl FnOnce(&mut Self) -> Option<T>) -> bool {
        let (from, doubting) = (self.at, self.doubting);
        self.doubting = true;
        let found = way(self).is_some();
        (self.at, self.doubting) = (from, doubting);
        !found
    }

    fn input(&mut self) -> Option<Expression> {
        self.space_if_any();
        let tree = self.any()?;
        self.space_if_any();
        self.end()?;
        Some(tree)
    }

    fn any(&mut self) -> Option<Expression> {
        self.list("or", Self::all, Expression::Any)
    }

    fn all(&mut self) -> Option<Expression> {
        self.list("and", Self::negation, Expression::All)
    }

    /// One, or several with a word between them.
    fn list(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Option<Expression>,
        together: fn(Vec<Expression>) -> Expression,
    ) -> Option<Expression> {
        let first = part(self)?;
        let mut parts = vec![first];
        while let Some(next) = self.attempt(|parser| {
            parser.space()?;
            parser.literal(word)?;
            parser.space()?;
            part(parser)
        }) {
            parts.push(next);
        }
        if parts.len() == 1 { parts.pop() } else { Some(together(parts)) }
    }

    fn negation(&mut self) -> Option<Expression> {
        if self.depth >= limits::FILTER_DEPTH {
            self.flaw(self.at, "grouping", "Nested too deep");
            return None;
        }
        self.depth += 1;
        let negated = self.attempt(|parser| {
            parser.literal("not")?;
            parser.space()?;
            parser.negation()
        });
        let found = match negated {
            Some(of) => Some(Expression::Not(Box::new(of))),
            None => self.attempt(Self::grouping).or_else(|| self.attempt(Self::matching)),
        };
        self.depth -= 1;
        found
    }

    fn grouping(&mut self) -> Option<Expression> {
        self.literal("(")?;
        self.space_if_any();
        let inside = self.any()?;
        self.space_if_any();
        if self.literal(")").is_none() {
            self.flaw(self.at, "grouping", "Unmatched parentheses");
            return None;
        }
        Some(inside)
    }

    fn matching(&mut self) -> Option<Expression> {
        let found = self
            .attempt(Self::selector_with_value)
            .or_else(|| self.attempt(Self::selector_alone))
            .or_else(|| self.attempt(Self::value_in_selector))?;
        Some(Expression::Match(found))
    }

    fn selector_with_value(&mut self) -> Option<Match> {
        let selector = self.selector()?;
        let operator = self
            .comparison("==", Operator::Equal)
            .or_else(|| self.comparison("!=", Operator::NotEqual))
            .or_else(|| self.word(&["contains"], Operator::In))
            .or_else(|| self.word(&["not", "contains"], Operator::NotIn))
            .or_else(|| self.word(&["matches"], Operator::Matches))
            .or_else(|| self.word(&["not", "matches"], Operator::NotMatches))?;
        let value = self.value()?;
        Some(Match { selector, operator, value })
    }

    fn selector_alone(&mut self) -> Option<Match> {
        let selector = self.selector()?;
        let operator = self
            .ending(&["is", "empty"], Operator::IsEmpty)
            .or_else(|| self.ending(&["is", "not", "empty"], Operator::IsNotEmpty))?;
        Some(Match { selector, operator, value: String::new() })
    }

    fn value_in_selector(&mut self) -> Option<Match> {
        let value = self.value()?;
        let operator = self
            .word(&["in"], Operator::In)
            .or_else(|| self.word(&["not", "in"], Operator::NotIn))?;
        if self.lacks(Self::selector) {
            self.flaw(self.at, "match", "Invalid selector");
            return None;
        }
        let selector = self.selector()?;
        Some(Match { selector, operator, value })
    }

    fn comparison(&mut self, sign: &str, operator: Operator) -> Option<Operator> {
        self.attempt(|parser| {
            parser.space_if_any();
            parser.literal(sign)?;
            parser.space_if_any();
            Some(operator)
        })
    }

    /// Words with space around each.
    fn word(&mut self, words: &[&str], operator: Operator) -> Option<Operator> {
        self.attempt(|parser| {
            parser.ending(words, operator)?;
            parser.space()?;
            Some(operator)
        })
    }

    /// Words with space before each.
    fn ending(&mut self, words: &[&str], operator: Operator) -> Option<Operator> {
        self.attempt(|parser| {
            for word in words {
                parser.space()?;
                parser.literal(word)?;
            }
            Some(operator)
        })
    }

    fn selector(&mut self) -> Option<Vec<String>> {
        let mut names = vec![self.name()?];
        while let Some(next) = self
            .attempt(|parser| {
                parser.literal(".")?;
                parser.name()
            })
            .or_else(|| self.attempt(Self::index))
        {
            names.push(next);
        }
        Some(names)
    }

    fn name(&mut self) -> Option<String> {
        let from = self.at;
        self.class("[a-zA-Z]", |c| c.is_ascii_alphabetic())?;
        while self.class("[a-zA-Z0-9_]", |c| c.is_ascii_alphanumeric() || c == '_').is_some() {}
        self.text.get(from..self.at).map(str::to_owned)
    }

    /// A name in brackets, which may be any text.
    fn index(&mut self) -> Option<String> {
        self.literal("[")?;
        self.space_if_any();
        let Some(name) = self.attempt(Self::string) else {
            self.flaw(self.at, "index", "Invalid index");
            return None;
        };
        self.space_if_any();
        if self.literal("]").is_none() {
            self.flaw(self.at, "index", "Unclosed index expression");
            return None;
        }
        Some(name)
    }

    fn value(&mut self) -> Option<String> {
        // A bare word looks like a selector.
        let word = self.attempt(Self::selector).map(|names| names.join("."));
        word.or_else(|| self.attempt(Self::number)).or_else(|| self.attempt(Self::string))
    }

    fn number(&mut self) -> Option<String> {
        let from = self.at;
        _ = self.literal("-");
        let digit = |parser: &mut Self| parser.class("[0-9]", |c| c.is_ascii_digit());
        if self.literal("0").is_none() {
            self.class("[1-9]", |c| ('1'..='9').contains(&c))?;
            while digit(self).is_some() {}
        }
        _ = self.attempt(|parser| {
            parser.literal(".")?;
            digit(parser)?;
            while digit(parser).is_some() {}
            Some(())
        });
        let (number, ends) = (self.text.get(from..self.at), self.at);
        if self.space().or_else(|| self.end()).or_else(|| self.literal(")")).is_none() {
            self.flaw(self.at, "number", "Invalid number literal");
            return None;
        }
        self.at = ends;
        number.map(str::to_owned)
    }

    fn string(&mut self) -> Option<String> {
        let from = self.at;
        let quote = match self.literal("`") {
            Some(()) => '`',
            None => self.literal("\"").map(|()| '"')?,
        };
        match self.rest().find(quote) {
            Some(len) => self.at += len + 1,
            None => {
                self.at = self.text.len();
                self.flaw(self.at, "string", "Unterminated string literal");
                return None;
            }
        }
        let quoted = self.text.get(from..self.at).unwrap_or_default();
        let text = unquote(quoted);
        if text.is_none() {
            self.flaw(from, "string", "invalid syntax");
        }
        text
    }
}
