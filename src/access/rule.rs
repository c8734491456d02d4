//! What the rules of one policy say about one thing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a rule can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resource {
    Acl,
    Agent,
    Event,
    Key,
    Keyring,
    Mesh,
    Node,
    Operator,
    Peering,
    Query,
    Service,
    Session,
}

use Resource as R;

impl Resource {
    pub const ALL: [Resource; 12] = [
        R::Acl,
        R::Agent,
        R::Event,
        R::Key,
        R::Keyring,
        R::Mesh,
        R::Node,
        R::Operator,
        R::Peering,
        R::Query,
        R::Service,
        R::Session,
    ];

    pub fn name(self) -> &'static str {
        match self {
            R::Acl => "acl",
            R::Agent => "agent",
            R::Event => "event",
            R::Key => "key",
            R::Keyring => "keyring",
            R::Mesh => "mesh",
            R::Node => "node",
            R::Operator => "operator",
            R::Peering => "peering",
            R::Query => "query",
            R::Service => "service",
            R::Session => "session",
        }
    }

    /// There is one of it, which has no name.
    pub fn is_whole(self) -> bool {
        matches!(self, R::Acl | R::Keyring | R::Mesh | R::Operator | R::Peering)
    }

    /// Names that differ in case alone are the same, as in the catalog: a rule for one that did
    /// not count for the other would be no rule.
    fn folds(self) -> bool {
        matches!(self, R::Agent | R::Node | R::Service | R::Session)
    }

    /// The name in the form in which rules are looked up.
    fn folded(self, name: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(name) {
            Ok(text) if self.folds() => text.to_lowercase().into_bytes(),
            _ => name.to_vec(),
        }
    }
}

/// How much a rule allows; each but the first includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    Deny,
    Read,
    /// To read all that is under a prefix; of keys alone.
    List,
    Write,
}

impl Level {
    pub fn parse(word: &str) -> Option<Level> {
        match word {
            "deny" => Some(Level::Deny),
            "read" => Some(Level::Read),
            "list" => Some(Level::List),
            "write" => Some(Level::Write),
            _ => None,
        }
    }

    /// What counts where two rules are equally exact: who denies, then who allows more.
    fn over(self, other: Level) -> Level {
        if self == Level::Deny || other == Level::Deny { Level::Deny } else { self.max(other) }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Deny => "deny",
            Level::Read => "read",
            Level::List => "list",
            Level::Write => "write",
        })
    }
}

/// How closely a rule fits a name. The closest one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// By so many bytes that the name begins with.
    Prefix(usize),
    Exact,
}

type Names = BTreeMap<Vec<u8>, Level>;

/// The rules about one kind of thing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Named {
    exact: Names,
    prefix: Names,
}

/// The rules of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules(BTreeMap<Resource, Named>);

impl Rules {
    /// That name alone.
    pub fn with(mut self, resource: Resource, name: &str, level: Level) -> Rules {
        self.add(resource, name, level);
        self
    }

    /// Every name that begins so; the empty one is for all.
    pub fn with_prefix(mut self, resource: Resource, prefix: &str, level: Level) -> Rules {
        self.add_prefix(resource, prefix, level);
        self
    }

    pub fn add(&mut self, resource: Resource, name: &str, level: Level) {
        let names = &mut self.0.entry(resource).or_default().exact;
        put(names, resource.folded(name.as_bytes()), level);
    }

    pub fn add_prefix(&mut self, resource: Resource, prefix: &str, level: Level) {
        let names = &mut self.0.entry(resource).or_default().prefix;
        put(names, resource.folded(prefix.as_bytes()), level);
    }

    /// The rule that fits the name most closely.
    pub fn find(&self, resource: Resource, name: &[u8]) -> Option<(Fit, Level)> {
        let named = self.0.get(&resource)?;
        let folded;
        let name = if resource.folds() {
            folded = resource.folded(name);
            folded.as_slice()
        } else {
            name
        };
        if let Some(level) = named.exact.get(name) {
            return Some((Fit::Exact, *level));
        }
        let (len, level) = longest(&named.prefix, name)?;
        Some((Fit::Prefix(len), level))
    }

    /// Where what rules say of keys may change, in no order: a key between two that follow each
    /// other is treated as the first of them.
    pub fn key_edges(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let named = self.0.get(&Resource::Key).into_iter();
        named.flat_map(|named| {
            let exact =
                named.exact.keys().flat_map(|key| [key.clone(), [key, &b"\0"[..]].concat()]);
            let prefix = named.prefix.keys().flat_map(|prefix| [Some(prefix.clone()), end(prefix)]);
            exact.chain(prefix.flatten())
        })
    }
}

fn put(names: &mut Names, name: Vec<u8>, level: Level) {
    names.entry(name).and_modify(|known| *known = known.over(level)).or_insert(level);
}

/// The longest prefix of the name that there is. What sorts right before the name either is one,
/// or no longer one than what the two have in common can be.
fn longest(prefixes: &Names, name: &[u8]) -> Option<(usize, Level)> {
    let mut upto = name;
    loop {
        let (prefix, level) = prefixes
            .range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(upto)))
            .next_back()?;
        let same = prefix.iter().zip(upto).take_while(|(a, b)| a == b).count();
        if same == prefix.len() {
            return Some((same, *level));
        }
        upto = upto.get(..same)?;
    }
}

/// The first byte string behind everything that begins so.
fn end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// Which of two that fit counts.
pub fn closer(one: Option<(Fit, Level)>, other: Option<(Fit, Level)>) -> Option<(Fit, Level)> {
    match (one, other) {
        (Some((fit, level)), Some((also, other))) if fit == also => Some((fit, level.over(other))),
        (Some((fit, _)), Some((closer, level))) if closer > fit => Some((closer, level)),
        (None, other) => other,
        (one, _) => one,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_exact_name_counts_before_the_longest_prefix_and_that_before_shorter_ones() {
        let rules = Rules::default()
            .with_prefix(R::Key, "", Level::Read)
            .with_prefix(R::Key, "a", Level::Write)
            .with_prefix(R::Key, "ab", Level::Deny)
            .with(R::Key, "abc", Level::List);
        let level = |name: &str| rules.find(R::Key, name.as_bytes()).map(|(_, level)| level);
        for (name, expected) in [
            ("", Level::Read),
            ("b", Level::Read),
            ("a", Level::Write),
            ("aa", Level::Write),
            ("ab", Level::Deny),
            ("abd", Level::Deny),
            ("abc", Level::List),
            ("abcd", Level::Deny),
        ] {
            assert_eq!(level(name), Some(expected), "{name:?}");
        }
        assert_eq!(rules.find(R::Service, b"a"), None);
        let read = Rules::default().with(R::Key, "a", Level::Read);
        assert_eq!(read.find(R::Key, b"ab"), None);
    }

    #[test]
    fn names_of_the_catalog_differ_in_case_alone_for_nobody() {
        let rules = Rules::default().with(R::Service, "Web", Level::Deny).with_prefix(
            R::Node,
            "DB-",
            Level::Write,
        );
        assert_eq!(rules.find(R::Service, b"wEB"), Some((Fit::Exact, Level::Deny)));
        assert_eq!(rules.find(R::Node, b"db-1"), Some((Fit::Prefix(3), Level::Write)));
        let keys = Rules::default().with(R::Key, "Web", Level::Deny);
        assert_eq!(keys.find(R::Key, b"web"), None);
    }

    #[test]
    fn between_policies_the_closer_rule_counts_and_of_two_as_close_the_one_that_denies() {
        let (exact, prefix) = (Fit::Exact, Fit::Prefix(3));
        let write = Some((prefix, Level::Write));
        assert_eq!(closer(write, Some((exact, Level::Read))), Some((exact, Level::Read)));
        assert_eq!(closer(Some((exact, Level::Read)), write), Some((exact, Level::Read)));
        assert_eq!(closer(write, Some((prefix, Level::Deny))), Some((prefix, Level::Deny)));
        assert_eq!(closer(write, Some((prefix, Level::Read))), write);
        assert_eq!(closer(write, Some((Fit::Prefix(2), Level::Deny))), write);
        assert_eq!(closer(write, None), write);
        assert_eq!(closer(None, write), write);
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xff)], 0..4)
    }

    proptest! {
        #[test]
        fn the_longest_prefix_is_the_longest_of_all(
            prefixes in vec(name(), 0..8),
            asked in name(),
        ) {
            let mut names = Names::new();
            prefixes.iter().for_each(|prefix| put(&mut names, prefix.clone(), Level::Read));
            let expected =
                prefixes.iter().filter(|prefix| asked.starts_with(prefix)).map(Vec::len).max();
            prop_assert_eq!(longest(&names, &asked).map(|(len, _)| len), expected);
        }
    }
}
