//! The reads of a rendering: everything it looked at, and nothing else.

use std::collections::BTreeSet;

use super::World;
use crate::model::{Folded, limits};
use crate::render::{Outcome, Read};

#[test]
fn every_function_leaves_its_read() {
    let mut world = World::new();
    world.put("a", "1");
    let source = r#"{{ key("a") }}{{ key_or("b", "") }}{{ ls("c") }}{{ tree("d/") }}{{
        service("Web") }}{{ services() }}"#;
    let expected = BTreeSet::from([
        Read::Key("a".to_owned()),
        Read::Key("b".to_owned()),
        Read::Prefix("c/".to_owned()),
        Read::Prefix("d/".to_owned()),
        Read::Service(Folded::new("web")),
        Read::Services,
    ]);
    assert_eq!(world.render(source).reads, expected);
}

#[test]
fn a_branch_not_taken_is_not_read() {
    let mut world = World::new();
    world.put("mode", "a");
    let source = r#"{% if key("mode") == "a" %}{{ key_or("x", 1) }}{% else %}{{ key("y") }}{%
        endif %}"#;
    let expected = BTreeSet::from([Read::Key("mode".to_owned()), Read::Key("x".to_owned())]);
    assert_eq!(world.render(source).reads, expected);
}

#[test]
fn a_failed_and_a_waiting_rendering_keep_their_reads() {
    let mut world = World::new();
    world.put("n", "abc");
    let failed = world.render(r#"{{ key("n")|int }}{{ key("later") }}"#);
    assert!(matches!(failed.outcome, Outcome::Failed(_)), "{failed:?}");
    assert_eq!(failed.reads, BTreeSet::from([Read::Key("n".to_owned())]));
    let waiting = world.render(r#"{{ key("none") }}"#);
    assert_eq!(waiting.reads, BTreeSet::from([Read::Key("none".to_owned())]));
}

#[test]
fn reads_are_bounded() {
    let world = World::new();
    let source = r#"{% for a in range(200) %}{% for b in range(100) %}
{{ key_or("k" ~ a ~ "/" ~ b, "") }}
{% endfor %}{% endfor %}"#;
    let rendering = world.render(source);
    assert_eq!(rendering.reads.len(), limits::TEMPLATE_READS);
    let Outcome::Failed(error) = rendering.outcome else { panic!("it was allowed") };
    assert!(error.to_string().contains("at most 16384 different"), "{error}");
}
