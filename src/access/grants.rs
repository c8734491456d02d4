//! What the rules of somebody's policies come to, taken together.

use std::sync::Arc;

use crate::model::{AclId, KeyRange};

use super::demand::Area;
use super::rule::{Level, Resource, Rules, closer};

/// Somebody's rules, and what counts where none of them fits.
#[derive(Debug, Clone)]
pub struct Grants {
    pub(super) rules: Vec<Arc<Rules>>,
    /// Without a rule it is allowed.
    pub(super) by_default: bool,
    /// Users count too: what these close no default opens.
    pub(super) beside_users: bool,
    /// Whose token it is; none: of who shows none.
    pub(super) holder: Option<AclId>,
}

impl Grants {
    pub fn allows(&self, resource: Resource, name: &[u8], level: Level) -> bool {
        let found = self.rules.iter().map(|rules| rules.find(resource, name));
        match found.reduce(closer).flatten() {
            Some((_, known)) => known != Level::Deny && known >= level,
            None => self.allows_unnamed(resource, level),
        }
    }

    /// Who may make tokens may do everything: no default is meant to give that away.
    fn allows_unnamed(&self, resource: Resource, level: Level) -> bool {
        let closed = self.beside_users && Area::of(resource, level) != Area::Catalog;
        self.by_default && !closed && resource != Resource::Acl
    }

    /// Every key of the range, those that are not there yet too. One in which no key can lie counts
    /// as its first.
    pub fn allows_range(&self, range: &KeyRange, level: Level) -> bool {
        let allows = |key: &[u8]| self.allows(Resource::Key, key, level);
        let edges = || self.rules.iter().flat_map(|rules| rules.key_edges());
        let one = range.end.is_empty() || range.is_empty();
        allows(&range.key) && (one || edges().filter(|key| range.contains(key)).all(|k| allows(&k)))
    }

    /// Whether it is for who shows no token.
    pub fn is_anonymous(&self) -> bool {
        self.holder.is_none()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::access::tests::all_keys;

    fn grants(rules: Rules, by_default: bool) -> Grants {
        Grants { rules: vec![Arc::new(rules)], by_default, beside_users: false, holder: None }
    }

    #[test]
    fn a_range_is_allowed_where_every_key_of_it_is() {
        let rules = || Rules::default().with_prefix(Resource::Key, "app/", Level::Write);
        let range =
            |key: &'static str, end: &'static str| KeyRange { key: key.into(), end: end.into() };
        let own = grants(rules(), false);
        let hole = grants(rules().with(Resource::Key, "app/secret", Level::Deny), false);
        let table: [(&Grants, KeyRange, bool); 9] = [
            (&own, range("app/", "app0"), true),
            (&own, range("app/1", ""), true),
            (&own, range("app/", "app1"), false),
            (&own, range("app", "app0"), false),
            (&own, range("app/", "\0"), false),
            (&hole, range("app/", "app0"), false),
            (&hole, range("app/", "app/s"), true),
            (&hole, range("app/secret\0", "app0"), true),
            // No key can lie in it.
            (&hole, range("app/z", "app/a"), true),
        ];
        for (grants, range, expected) in table {
            assert_eq!(grants.allows_range(&range, Level::Write), expected, "{range:?}");
        }
        assert!(!own.allows_range(&range("\0", "\0"), Level::Read));
        assert!(grants(Rules::default(), true).allows_range(&range("\0", "\0"), Level::Write));
    }

    #[test]
    fn a_default_gives_no_tokens_away_and_opens_nothing_that_users_close() {
        let mut grants = grants(Rules::default(), true);
        let allows = |grants: &Grants, resource| grants.allows(resource, b"x", Level::Write);
        assert!(allows(&grants, Resource::Service) && allows(&grants, Resource::Key));
        assert!(allows(&grants, Resource::Operator) && !allows(&grants, Resource::Acl));
        grants.beside_users = true;
        assert!(allows(&grants, Resource::Service));
        assert!(!allows(&grants, Resource::Key) && !allows(&grants, Resource::Session));
        assert!(!allows(&grants, Resource::Operator) && !allows(&grants, Resource::Agent));
    }

    fn text() -> impl Strategy<Value = String> {
        vec(prop_oneof![Just('\0'), Just('a'), Just('b')], 0..3)
            .prop_map(|letters| letters.into_iter().collect())
    }

    fn any_rules() -> impl Strategy<Value = Rules> {
        let level = prop_oneof![Just(Level::Deny), Just(Level::Read), Just(Level::Write)];
        vec((any::<bool>(), text(), level), 0..5).prop_map(|rules| {
            let mut all = Rules::default();
            for (prefix, name, level) in rules {
                match prefix {
                    true => all.add_prefix(Resource::Key, &name, level),
                    false => all.add(Resource::Key, &name, level),
                }
            }
            all
        })
    }

    proptest! {
        #[test]
        fn what_a_range_is_allowed_is_what_each_key_says(
            rules in any_rules(),
            by_default in any::<bool>(),
            key in text().prop_filter("a key", |key| !key.is_empty()),
            end in text(),
        ) {
            let end = Bytes::from(end);
            let range = KeyRange { key: key.into(), end };
            let grants = grants(rules, by_default);
            let allows = |key: &[u8]| grants.allows(Resource::Key, key, Level::Write);
            let expected = if range.is_empty() {
                allows(&range.key)
            } else {
                let keys = all_keys(&[0, 1, b'a', b'b', b'c']);
                keys.iter().filter(|key| range.contains(key)).all(|key| allows(key))
            };
            prop_assert_eq!(grants.allows_range(&range, Level::Write), expected);
        }
    }
}
