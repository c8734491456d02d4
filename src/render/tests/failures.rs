//! What goes wrong, and whether a person can find the place.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::World;
use crate::model::limits;
use crate::render::{Error, Outcome, Template};

fn syntax(source: &str) -> String {
    match Template::compile("app.conf.j2", source) {
        Err(error @ Error::Syntax { .. }) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("it compiled"),
    }
}

#[test]
fn a_syntax_error_names_file_line_and_text() {
    let said = syntax("one\n{% for x in %}\n");
    assert!(said.starts_with("app.conf.j2:2: syntax error"), "{said}");
    assert!(said.ends_with("in `{% for x in %}`"), "{said}");
}

#[test]
fn an_undefined_name_is_an_error_with_its_line() {
    let world = World::new();
    let said = world.error("one\ntwo\n{{ nobody }}\n");
    assert!(said.starts_with("app.conf.j2:3: undefined value"), "{said}");
    assert!(said.ends_with("in `{{ nobody }}`"), "{said}");
}

#[test]
fn a_misspelt_field_is_an_error() {
    let mut world = World::new();
    world.put("a/b", "1");
    let said = world.error(r#"{% for p in ls("a") %}{{ p.valu }}{% endfor %}"#);
    assert!(said.contains("undefined value"), "{said}");
}

#[test]
fn all_missing_keys_are_named_at_once() {
    let mut world = World::new();
    world.put("there", "1");
    let rendering = world.render(r#"{{ key("b")|int }} {{ key("there") }} {{ key("a") }}"#);
    // `b` reads as empty, which is no integer: that error means nothing while the key is missing.
    let Outcome::Waiting(missing) = rendering.outcome else { panic!("{rendering:?}") };
    assert_eq!(missing, BTreeSet::from(["b".to_owned()]));
    let rendering = world.render(r#"{{ key("b") }} {{ key("there") }} {{ key("a") }}"#);
    let missing = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(rendering.outcome, Outcome::Waiting(missing));
}

#[test]
fn a_value_that_is_no_text_is_named() {
    let mut world = World::new();
    world.put("bin/ary", [0xff, 0xfe]);
    let said = world.error(r#"{{ key("bin/ary") }}"#);
    let expected = "app.conf.j2:1: the value of key \"bin/ary\" (2 bytes) is not UTF-8";
    assert!(said.starts_with(expected), "{said}");
    assert!(world.error(r#"{{ tree("bin") }}"#).contains("\"bin/ary\""));
    assert!(world.error(r#"{{ key_or("bin/ary", "") }}"#).contains("not UTF-8"));
}

#[test]
fn bad_arguments_say_what_would_be_good() {
    let world = World::new();
    let said = world.error(r#"{{ service("web", health="good") }}"#);
    assert!(said.contains("use \"healthy\", \"any\", \"passing\""), "{said}");
    assert!(world.error(r#"{{ service("web", tagg="x") }}"#).contains("tagg"));
    let said = world.error(r#"{{ env("REMORA_NONE") }}"#);
    assert!(said.contains("REMORA_NONE is not set"), "{said}");
    assert!(world.error(r#"{{ "{"|from_json }}"#).contains("from_json: "));
    assert!(world.error(r#"{{ "/w=="|b64decode }}"#).contains("not UTF-8"));
}

#[test]
fn other_files_cannot_be_included() {
    let world = World::new();
    for tag in ["include", "extends"] {
        let said = world.error(&format!("{{% {tag} \"/etc/passwd\" %}}"));
        assert!(said.contains("a template is one file"), "{said}");
    }
}

#[test]
fn an_endless_template_is_stopped() {
    let world = World::new();
    let source = "{% for a in range(9000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}";
    let said = world.error(source);
    assert!(said.contains("stopped after 8000000 steps"), "{said}");
}

#[test]
fn an_endless_recursion_is_stopped() {
    let world = World::new();
    let said = world.error("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
    assert!(said.contains("recursion"), "{said}");
}

#[test]
fn text_has_a_largest_size() {
    let mut world = World::new();
    world.put("k", "x".repeat(limits::KV_VALUE));
    let fits = limits::RENDERED_FILE / limits::KV_VALUE;
    let source = |n| format!("{{% for i in range({n}) %}}{{{{ key(\"k\") }}}}{{% endfor %}}");
    assert_eq!(world.text(&source(fits)).len(), limits::RENDERED_FILE);
    let said = world.error(&source(fits + 1));
    assert!(said.contains("grew beyond 16777216 bytes"), "{said}");
}

#[test]
fn an_error_inside_a_macro_points_into_the_macro() {
    let world = World::new();
    let said = world.error("{% macro m(x) %}\n{{ x.y.z }}\n{% endmacro %}\n\n{{ m({}) }}");
    assert!(said.starts_with("app.conf.j2:2: "), "{said}");
}

#[test]
fn rendering_leaves_the_template_as_it_was() {
    let mut world = World::new();
    let template = Template::compile("t", r#"{{ key("k") }}"#).expect("it compiles");
    let environment = Arc::default();
    let first = template.render(&Arc::new(world.state.clone()), &environment);
    assert_eq!(first.outcome, Outcome::Waiting(BTreeSet::from(["k".to_owned()])));
    world.put("k", "v");
    let second = template.render(&Arc::new(world.state.clone()), &environment);
    assert_eq!(second.outcome, Outcome::Text("v".to_owned()));
}
