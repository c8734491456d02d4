//! Go's regular expressions: what they match, and what Go says of what is none.

use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

use crate::model::limits;

/// A pattern that was compiled. It takes time linear in what it looks at, whatever it says.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// Why a text is no pattern, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {what}: `{at}`")]
pub struct BadPattern {
    what: &'static str,
    at: String,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, BadPattern> {
        let bad = |what| BadPattern { what, at: text.to_owned() };
        if text.len() > limits::PATTERN {
            return Err(bad("expression too large"));
        }
        let translated = Translation::of(text)?;
        let mut builder = RegexBuilder::new(&translated);
        builder.size_limit(limits::PATTERN_PROGRAM).dfa_size_limit(limits::PATTERN_PROGRAM);
        builder.nest_limit(limits::PATTERN_DEPTH);
        match builder.build() {
            Ok(regex) => Ok(Pattern(regex)),
            Err(regex::Error::CompiledTooBig(_)) => Err(bad("expression too large")),
            Err(_) => Err(bad("invalid or unsupported Perl syntax")),
        }
    }

    /// Anywhere in the text.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// What the whole and each group matched, where it matches at all; empty for a group that did
    /// not take part.
    pub fn groups<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        let found = self.0.captures(text)?;
        Some(found.iter().map(|group| group.map_or("", |group| group.as_str())).collect())
    }
}

/// Go's `\d`, `\s`, `\w` and `\b` are of ASCII alone, a bracket inside a class is only a bracket,
/// and a repetition cannot be repeated.
struct Translation<'a> {
    text: &'a str,
    at: usize,
    out: String,
    /// Where the groups that are open begin.
    open: usize,
    /// What a repetition would repeat is there.
    repeatable: bool,
    /// Where the repetition that was just read begins.
    repeated: Option<usize>,
}

impl<'a> Translation<'a> {
    fn of(text: &'a str) -> Result<String, BadPattern> {
        let out = String::with_capacity(text.len() + 16);
        let mut translation =
            Translation { text, at: 0, out, open: 0, repeatable: false, repeated: None };
        while let Some(next) = translation.peek() {
            translation.step(next)?;
        }
        match translation.open {
            0 => Ok(translation.out),
            _ => Err(translation.whole("missing closing )")),
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn whole(&self, what: &'static str) -> BadPattern {
        BadPattern { what, at: self.text.to_owned() }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let taken = self.rest().get(..len).unwrap_or_default();
        self.at += len;
        taken
    }

    fn step(&mut self, next: char) -> Result<(), BadPattern> {
        match next {
            '*' | '+' | '?' => return self.repetition(1),
            '{' => {
                if let Some(len) = counted(self.rest()) {
                    return self.repetition(len);
                }
                self.at += 1;
                self.out.push_str("\\{");
            }
            '}' | ']' => {
                self.at += 1;
                _ = write!(self.out, "\\{next}");
            }
            '\\' => {
                let escaped = self.escape(false)?;
                self.out.push_str(&escaped);
            }
            '[' => self.class()?,
            '(' => return self.group(),
            ')' => {
                self.open = self.open.checked_sub(1).ok_or(self.whole("unexpected )"))?;
                self.at += 1;
                self.out.push(')');
            }
            '|' => {
                self.at += 1;
                self.out.push('|');
                (self.repeatable, self.repeated) = (false, None);
                return Ok(());
            }
            other => {
                self.at += other.len_utf8();
                self.out.push(other);
            }
        }
        (self.repeatable, self.repeated) = (true, None);
        Ok(())
    }

    fn repetition(&mut self, len: usize) -> Result<(), BadPattern> {
        let from = self.at;
        let operator = self.take(len);
        let bad = |what, at: &str| Err(BadPattern { what, at: at.to_owned() });
        if !self.repeatable {
            return bad("missing argument to repetition operator", operator);
        }
        if let Some(first) = self.repeated {
            let both = self.text.get(first..self.at).unwrap_or_default();
            return bad("invalid nested repetition operator", both);
        }
        if repeats(operator).is_some_and(|(least, most)| least > 1000 || most > 1000) {
            return bad("invalid repeat count", operator);
        }
        self.out.push_str(operator);
        if self.peek() == Some('?') {
            self.at += 1;
            self.out.push('?');
        }
        self.repeated = Some(from);
        Ok(())
    }

    fn group(&mut self) -> Result<(), BadPattern> {
        self.at += 1;
        self.out.push('(');
        self.open += 1;
        (self.repeatable, self.repeated) = (false, None);
        if self.peek() != Some('?') {
            return Ok(());
        }
        let rest = self.rest();
        let flags = rest.len() - rest.trim_start_matches(|c| "?imsU-".contains(c)).len();
        let named = rest.starts_with("?P<") || rest.starts_with("?<");
        let after = rest.get(flags..).and_then(|rest| rest.chars().next());
        match after {
            _ if named && !rest.starts_with("?<=") && !rest.starts_with("?<!") => Ok(()),
            Some(':') if flags > 0 => {
                let taken = self.take(flags + 1);
                self.out.push_str(taken);
                Ok(())
            }
            Some(')') if flags > 1 => {
                let taken = self.take(flags);
                self.out.push_str(taken);
                Ok(())
            }
            _ => {
                let odd = rest.chars().take(flags + 1).collect::<String>();
                Err(BadPattern {
                    what: "invalid or unsupported Perl syntax",
                    at: format!("({odd}"),
                })
            }
        }
    }

    /// What stands behind a backslash, with it.
    fn escape(&mut self, in_class: bool) -> Result<String, BadPattern> {
        let from = self.at;
        self.at += 1;
        let Some(kind) = self.peek() else {
            let at = String::new();
            return Err(BadPattern { what: "trailing backslash at end of expression", at });
        };
        self.at += kind.len_utf8();
        let ascii = |inside: &str, negated: bool| match negated {
            true => format!("[^{inside}]"),
            false if in_class => inside.to_owned(),
            false => format!("[{inside}]"),
        };
        Ok(match kind {
            'd' | 'D' => ascii("0-9", kind == 'D'),
            's' | 'S' => ascii("\\t\\n\\f\\r ", kind == 'S'),
            'w' | 'W' => ascii("0-9A-Za-z_", kind == 'W'),
            'b' if !in_class => "(?-u:\\b)".to_owned(),
            'B' if !in_class => "(?-u:\\B)".to_owned(),
            'A' | 'z' if !in_class => format!("\\{kind}"),
            'Q' => {
                let rest = self.rest();
                let literal = rest.split("\\E").next().unwrap_or_default();
                self.at += rest.len().min(literal.len() + 2);
                regex::escape(literal)
            }
            'a' | 'f' | 't' | 'n' | 'r' | 'v' => format!("\\{kind}"),
            'x' | 'p' | 'P' => {
                let len = braced(self.rest(), if kind == 'x' { 2 } else { 1 });
                format!("\\{kind}{}", self.take(len))
            }
            '0'..='7' => self.octal(kind),
            odd if odd.is_ascii_punctuation() => format!("\\{odd}"),
            _ => {
                let at = self.text.get(from..self.at).unwrap_or_default().to_owned();
                return Err(BadPattern { what: "invalid escape sequence", at });
            }
        })
    }

    fn octal(&mut self, first: char) -> String {
        let mut code = first.to_digit(8).unwrap_or_default();
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|next| next.to_digit(8)) else { break };
            code = code * 8 + digit;
            self.at += 1;
        }
        format!("\\x{{{code:x}}}")
    }

    fn class(&mut self) -> Result<(), BadPattern> {
        let from = self.at;
        let unclosed = || BadPattern {
            what: "missing closing ]",
            at: self.text.get(from..).unwrap_or_default().to_owned(),
        };
        let unclosed = unclosed();
        self.at += 1;
        self.out.push('[');
        if self.peek() == Some('^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let next = self.peek().ok_or(unclosed.clone())?;
            match next {
                ']' if !first => {
                    self.at += 1;
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => {
                    let escaped = self.escape(true)?;
                    self.out.push_str(&escaped);
                }
                '[' if self.rest().starts_with("[:") && self.rest().contains(":]") => {
                    let len = self.rest().find(":]").unwrap_or_default() + 2;
                    let named = self.take(len);
                    self.out.push_str(named);
                }
                '[' | ']' | '&' | '~' => {
                    self.at += 1;
                    _ = write!(self.out, "\\{next}");
                }
                other => {
                    self.at += other.len_utf8();
                    self.out.push(other);
                }
            }
            first = false;
        }
    }
}

/// How long `{n}`, `{n,}` or `{n,m}` is, where it stands at the beginning.
fn counted(text: &str) -> Option<usize> {
    let end = text.find('}')?;
    repeats(text.get(..=end)?).map(|_| end + 1)
}

fn repeats(operator: &str) -> Option<(u64, u64)> {
    let inside = operator.strip_prefix('{')?.strip_suffix('}')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match inside.split_once(',') {
        None => number(inside).map(|count| (count, count)),
        Some((least, "")) => number(least).map(|least| (least, least)),
        Some((least, most)) => Some((number(least)?, number(most)?)),
    }
}

/// How long what stands in braces is, or else so many characters.
fn braced(text: &str, plain: usize) -> usize {
    match text.starts_with('{') {
        true => text.find('}').map_or(text.len(), |end| end + 1),
        false => text.chars().take(plain).map(char::len_utf8).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_matches_what_go_matches() {
        let yes = [
            ("f.", "xfa"),
            ("^p", "prod"),
            (r"^\d+$", "123"),
            (r"[[]a]", "[a]"),
            (r"[\d-]+x", "1-2x"),
            ("a{,3}", "a{,3}"),
            (r"\Qa.b\E+", "xa.bb"),
            ("(?i)ABC", "xabc"),
            (r"\bweb\b", "a web b"),
            ("a|", ""),
            (r"\101", "A"),
            ("[[:alpha:]]", "q"),
            ("x*?y", "y"),
        ];
        for (pattern, text) in yes {
            assert!(Pattern::new(pattern).unwrap().matches(text), "{pattern} on {text}");
        }
        let no = [("^a", "ba"), (r"\d", "\u{0663}"), (r"\w", "é"), (r"[^\W]", "é"), ("[&&a]", "b")];
        for (pattern, text) in no {
            assert!(!Pattern::new(pattern).unwrap().matches(text), "{pattern} on {text}");
        }
        let groups = Pattern::new("^geo-db-(.*?)-([^-]+?)(x)?$").unwrap();
        assert_eq!(groups.groups("geo-db-a-b").unwrap(), ["geo-db-a-b", "a", "b", ""]);
        assert_eq!(groups.groups("nope"), None);
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_gos_words() {
        let bad = [
            ("(", "missing closing ): `(`"),
            ("a(b", "missing closing ): `a(b`"),
            (")", "unexpected ): `)`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a|*", "missing argument to repetition operator: `*`"),
            ("x[a-", "missing closing ]: `[a-`"),
            (r"\y", r"invalid escape sequence: `\y`"),
            ("\\", "trailing backslash at end of expression: ``"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ];
        for (pattern, text) in bad {
            let error = Pattern::new(pattern).unwrap_err();
            assert_eq!(error.to_string(), format!("error parsing regexp: {text}"), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in r"[\[\](){}|*+?\\^$.a-c0-3dDwWsSQExp&~:é-]{0,24}") {
            let _ = Pattern::new(&text).map(|pattern| pattern.groups("abc-é[1]"));
        }
    }
}
