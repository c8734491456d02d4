//! Reads the rules of a policy: HCL of its first version, or the same as JSON.
//!
//! Rules in the wild are HCL 1, whose blocks may follow each other on one line and whose labels and
//! values may be written with and without `=`; libraries read HCL 2, which has neither.

use super::rule::{Level, Resource, Rules};

/// Why a text is no rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    #[error("Failed to parse ACL rules: At {line}:{column}: {what}")]
    Syntax { line: usize, column: usize, what: String },
    #[error("Invalid {resource} policy: {name:?} is given {word:?}, not one of {known}")]
    Level { resource: String, name: String, word: String, known: &'static str },
    #[error("Failed to parse ACL rules: {0}")]
    Shape(String),
}

/// How deep objects and lists may nest.
const DEPTH: usize = 16;

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    /// A number or a truth value, which no rule has.
    Other(String),
    List(Vec<Value>),
    Object(Vec<Item>),
}

/// `a "b" "c" { … }` has three names; `a = …` has one.
#[derive(Debug, Clone, PartialEq)]
struct Item {
    names: Vec<String>,
    value: Value,
}

/// The rules in a text. Resources that are not known mean nothing, as in Consul: they may be of a
/// later version.
pub fn parse(text: &str) -> Result<Rules, RulesError> {
    let mut rules = Rules::default();
    for Item { names, value } in Parser::new(text).document()? {
        let Some((first, rest)) = names.split_first() else { continue };
        let first = first.to_ascii_lowercase();
        let (word, prefix) = match first.strip_suffix("_prefix") {
            Some(word) => (word, true),
            None => (first.as_str(), false),
        };
        let Some(resource) = Resource::ALL.into_iter().find(|known| known.name() == word) else {
            continue;
        };
        match resource.is_whole() {
            true if prefix => {}
            true => whole(&mut rules, resource, rest, &value)?,
            false => named(rest, &value, &mut |name, body| {
                rule(&mut rules, resource, prefix, name, body)
            })?,
        }
    }
    Ok(rules)
}

/// `operator = "read"`.
fn whole(
    rules: &mut Rules,
    resource: Resource,
    names: &[String],
    value: &Value,
) -> Result<(), RulesError> {
    match value {
        Value::Text(word) if names.is_empty() => {
            let level = level(resource, "", word)?;
            rules.add_prefix(resource, "", level);
            Ok(())
        }
        _ => {
            let name = resource.name();
            Err(RulesError::Shape(format!("{name} is given by one word: {name} = \"read\"")))
        }
    }
}

/// Finds each name with what is said of it, however the two are nested.
fn named(
    names: &[String],
    value: &Value,
    take: &mut impl FnMut(&str, &[Item]) -> Result<(), RulesError>,
) -> Result<(), RulesError> {
    match (names, value) {
        (_, Value::List(values)) => values.iter().try_for_each(|value| named(names, value, take)),
        ([name], Value::Object(body)) => take(name, body),
        ([], Value::Object(items)) => {
            items.iter().try_for_each(|item| named(&item.names, &item.value, take))
        }
        // A rule with more names than one: those behind the first lead to what is said.
        ([name, rest @ ..], value) if !rest.is_empty() => {
            let item = Item { names: rest.to_vec(), value: value.clone() };
            take(name, &[item])
        }
        ([name, ..], _) => Err(RulesError::Shape(format!(
            "{name:?} takes an object, for example {{ policy = \"read\" }}"
        ))),
        ([], _) => Err(RulesError::Shape("a rule needs a name".to_owned())),
    }
}

/// `{ policy = "read" }`. Other fields, as `intentions` of the service mesh, mean nothing here.
fn rule(
    rules: &mut Rules,
    resource: Resource,
    prefix: bool,
    name: &str,
    body: &[Item],
) -> Result<(), RulesError> {
    let policy = body.iter().find(|item| item.names.iter().eq(["policy"]));
    let word = match policy.map(|item| &item.value) {
        Some(Value::Text(word) | Value::Other(word)) => word.as_str(),
        _ => "",
    };
    let level = level(resource, name, word)?;
    match prefix {
        true => rules.add_prefix(resource, name, level),
        false => rules.add(resource, name, level),
    }
    Ok(())
}

fn level(resource: Resource, name: &str, word: &str) -> Result<Level, RulesError> {
    match (Level::parse(word), resource) {
        (Some(level), Resource::Key) => Ok(level),
        (Some(level @ (Level::Deny | Level::Read | Level::Write)), _) => Ok(level),
        (Some(Level::List) | None, _) => Err(RulesError::Level {
            resource: resource.name().to_owned(),
            name: name.to_owned(),
            word: word.to_owned(),
            known: match resource {
                Resource::Key => "deny, read, list, write",
                _ => "deny, read, write",
            },
        }),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { text, at: 0, depth: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, RulesError> {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        // The end of the text stands one place behind the last character's.
        let ended = usize::from(self.rest().is_empty());
        let column = last.chars().count() + 1 + ended;
        Err(RulesError::Syntax { line, column, what: what.into() })
    }

    /// White space and comments.
    fn skip(&mut self) -> Result<(), RulesError> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.at += blank;
            let rest = self.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                match rest.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return self.wrong("comment not terminated"),
                }
            } else if blank == 0 {
                return Ok(());
            }
        }
    }

    /// All of the text. JSON is one object.
    fn document(&mut self) -> Result<Vec<Item>, RulesError> {
        self.skip()?;
        if self.take('{') {
            let items = self.items(true)?;
            self.skip()?;
            return match self.peek() {
                None => Ok(items),
                Some(found) => self.wrong(format!("unexpected {found:?} behind the object")),
            };
        }
        self.items(false)
    }

    /// Up to the closing brace, or to the end of the text.
    fn items(&mut self, inner: bool) -> Result<Vec<Item>, RulesError> {
        let mut items = Vec::new();
        loop {
            self.skip()?;
            if self.take(',') {
                continue;
            }
            match self.peek() {
                None if inner => return self.wrong("object expected closing RBRACE got: EOF"),
                None => return Ok(items),
                Some('}') if inner => {
                    self.take('}');
                    return Ok(items);
                }
                Some(_) => items.push(self.item()?),
            }
        }
    }

    fn item(&mut self) -> Result<Item, RulesError> {
        let mut names = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some('"') => names.push(self.string()?),
                Some('=' | ':') if !names.is_empty() => {
                    self.at += 1;
                    self.skip()?;
                    let value = self.value()?;
                    return Ok(Item { names, value });
                }
                Some('{') if !names.is_empty() => {
                    let value = self.value()?;
                    return Ok(Item { names, value });
                }
                Some(c) if c.is_alphabetic() || c == '_' => names.push(self.word()),
                Some(c) => return self.wrong(format!("expected a name, `=` or `{{`, got {c:?}")),
                None => return self.wrong("key was not followed by a value, got: EOF"),
            }
        }
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let ends = |c: char| !(c.is_alphanumeric() || "_-.".contains(c));
        let word = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or_default();
        self.at += word.len();
        word.to_owned()
    }

    fn value(&mut self) -> Result<Value, RulesError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return self.wrong(format!("nested deeper than {DEPTH} levels"));
        }
        let value = match self.peek() {
            Some('"') => Value::Text(self.string()?),
            Some('{') => {
                self.take('{');
                Value::Object(self.items(true)?)
            }
            Some('[') => {
                self.take('[');
                Value::List(self.list()?)
            }
            Some(c) if c.is_alphanumeric() || c == '-' => {
                self.take('-');
                Value::Other(self.word())
            }
            Some(c) => return self.wrong(format!("expected a value, got {c:?}")),
            None => return self.wrong("expected a value, got: EOF"),
        };
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self) -> Result<Vec<Value>, RulesError> {
        let mut values = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some(']') => {
                    self.take(']');
                    return Ok(values);
                }
                Some(',') => _ = self.take(','),
                None => return self.wrong("list expected closing RBRACK got: EOF"),
                Some(_) => values.push(self.value()?),
            }
        }
    }

    fn string(&mut self) -> Result<String, RulesError> {
        self.take('"');
        let mut text = String::new();
        loop {
            let Some(c) = self.peek().filter(|c| *c != '\n') else {
                return self.wrong("literal not terminated");
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, RulesError> {
        let Some(c) = self.peek() else { return self.wrong("literal not terminated") };
        let plain = match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '"' | '\\' | '/' => c,
            'u' => {
                let digits = self.rest().get(1..5).unwrap_or_default();
                let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                let Some(code) = code.filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))
                else {
                    return self.wrong("illegal char escape");
                };
                self.at += 5;
                return Ok(code);
            }
            _ => return self.wrong("illegal char escape"),
        };
        self.at += 1;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(text: &str, resource: Resource, name: &str) -> Option<Level> {
        let rules = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        rules.find(resource, name.as_bytes()).map(|(_, level)| level)
    }

    #[test]
    fn rules_are_read_however_they_are_written() {
        use Level::{Deny, List, Read, Write};
        use Resource as R;
        let lines = "# one\nkey_prefix \"a\" {\n  policy = \"read\" // why\n}\nkey \"ab\" { policy \
                     = \"write\" } /* so */ key_prefix \"x\" { policy = \"list\" }";
        let table: [(&str, Resource, &str, Option<Level>); 21] = [
            (lines, R::Key, "aa", Some(Read)),
            (lines, R::Key, "ab", Some(Write)),
            (lines, R::Key, "abc", Some(Read)),
            (lines, R::Key, "xyz", Some(List)),
            (lines, R::Key, "b", None),
            ("operator = \"write\"", R::Operator, "", Some(Write)),
            ("acl=\"deny\"", R::Acl, "", Some(Deny)),
            ("keyring = \"read\" mesh = \"read\"", R::Mesh, "", Some(Read)),
            (
                "service \"web\" { policy = \"write\" intentions = \"read\" }",
                R::Service,
                "web",
                Some(Write),
            ),
            ("service_prefix \"\" { policy = \"read\" }", R::Service, "any", Some(Read)),
            ("service = { web = { policy = \"read\" } }", R::Service, "web", Some(Read)),
            (r#"{"key":{"a":{"policy":"read"}}}"#, R::Key, "a", Some(Read)),
            (
                r#"{"key_prefix":[{"a":{"policy":"read"}},{"b":{"policy":"deny"}}]}"#,
                R::Key,
                "bc",
                Some(Deny),
            ),
            (
                r#"{"key_prefix":{"a":[{"policy":"write"}]}, "operator": "read"}"#,
                R::Operator,
                "",
                Some(Read),
            ),
            (r#"{"key":{"a":{"policy":"read"}}}"#, R::Key, "b", None),
            ("key \"q\\\"\\u00e9\" { policy = \"read\" }", R::Key, "q\"é", Some(Read)),
            ("bogus \"a\" { policy = \"read\" }", R::Key, "a", None),
            ("session_prefix \"\" { policy = \"read\" }", R::Session, "n1", Some(Read)),
            ("", R::Key, "a", None),
            ("  # nothing\n", R::Key, "a", None),
            (
                "key \"a\" { policy = \"deny\" } key \"a\" { policy = \"write\" }",
                R::Key,
                "a",
                Some(Deny),
            ),
        ];
        for (text, resource, name, expected) in table {
            assert_eq!(level(text, resource, name), expected, "{text} {name}");
        }
    }

    #[test]
    fn what_is_no_rules_is_said_with_its_place() {
        for (text, expected) in [
            ("nonsense {", "At 1:12: object expected closing RBRACE got: EOF"),
            ("key \"a {", "At 1:10: literal not terminated"),
            ("key \"a\"\n", "At 2:2: key was not followed by a value, got: EOF"),
            ("key \"a\" { policy = }", "At 1:20: expected a value, got '}'"),
            ("\n  }", "At 2:3: expected a name, `=` or `{`, got '}'"),
            ("key \"\\x\" {}", "At 1:7: illegal char escape"),
            ("/* a", "At 1:1: comment not terminated"),
            ("{} x", "At 1:4: unexpected 'x' behind the object"),
            ("key \"a\" = \"read\"", "takes an object"),
            ("operator \"x\" { policy = \"read\" }", "operator is given by one word"),
            ("key \"a\" { policy = \"bad\" }", "Invalid key policy: \"a\" is given \"bad\""),
            ("key \"a\" { }", "Invalid key policy: \"a\" is given \"\""),
            ("node \"a\" { policy = \"list\" }", "not one of deny, read, write"),
            ("acl = \"list\"", "Invalid acl policy"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let deep = format!("a = {}{}", "[".repeat(DEPTH + 1), "]".repeat(DEPTH + 1));
        assert!(parse(&deep).expect_err("deep").to_string().contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_read_or_refused(text in "[a-z_{}\\[\\]=:,\"\\\\ \n#/*é0-9-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
