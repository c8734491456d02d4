//! What each function and filter answers.

use super::World;
use crate::model::{Health, Weights};

fn three_webs() -> World {
    let mut world = World::new();
    world.node("n2", "10.0.0.2");
    world.node("n1", "10.0.0.1");
    world.instance("n2", "web-b", Health::Passing, |def| def.tags = vec!["v2".into()]);
    world.instance("n1", "web-z", Health::Critical, |def| def.port = 81);
    world.instance("n1", "web-a", Health::Warning, |def| {
        def.tags = vec!["V1".into(), "edge".into()];
        def.address = "192.168.0.9".into();
        def.port = 8080;
        def.meta.insert("zone".to_owned(), "eu".to_owned());
        def.weights = Weights { passing: 10, warning: 3 };
    });
    world
}

const IDS: &str = "{% for i in LIST %}{{ i.id }} {% endfor %}";

fn ids(world: &World, list: &str) -> String {
    world.text(&IDS.replace("LIST", list)).trim_end().to_owned()
}

#[test]
fn service_gives_the_healthy_ones_ordered_by_node_and_id() {
    let world = three_webs();
    assert_eq!(ids(&world, r#"service("web")"#), "web-a web-b");
    assert_eq!(ids(&world, r#"service("WEB")"#), "web-a web-b", "names compare without case");
    assert_eq!(ids(&world, r#"service("nobody")"#), "");
}

#[test]
fn service_takes_a_tag_and_a_health() {
    let world = three_webs();
    assert_eq!(ids(&world, r#"service("web", tag="v1")"#), "web-a");
    assert_eq!(ids(&world, r#"service("web", health="any")"#), "web-a web-z web-b");
    assert_eq!(ids(&world, r#"service("web", health="passing")"#), "web-b");
    assert_eq!(ids(&world, r#"service("web", health="critical")"#), "web-z");
    assert_eq!(ids(&world, r#"service("web", tag="v2", health="warning")"#), "");
}

#[test]
fn an_instance_has_the_nine_fields_of_the_design() {
    let world = three_webs();
    let source = r#"{% for i in service("web", tag="v1") %}
{{ i.id }}|{{ i.name }}|{{ i.address }}|{{ i.port }}|{{ i.tags|join(",") }}|{{ i.meta.zone }}|{{
i.weight }}|{{ i.node }}|{{ i.health }}
{% endfor %}"#;
    assert_eq!(world.text(source), "web-a|web|192.168.0.9|8080|V1,edge|eu|3|n1|warning\n");
    let source = r#"{% for i in service("web", tag="v2") %}{{ i.address }}{% endfor %}"#;
    assert_eq!(world.text(source), "10.0.0.2", "without an address of its own it has the node's");
}

#[test]
fn a_whole_instance_can_be_written_as_json() {
    let world = three_webs();
    let json = world.text(r#"{{ service("web", tag="v2")|first|to_json }}"#);
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["id"], "web-b");
    assert_eq!(value["port"], 80);
    assert_eq!(value["tags"][0], "v2");
    assert_eq!(value.as_object().map(|fields| fields.len()), Some(9));
}

#[test]
fn services_gives_names_and_tags_in_order() {
    let mut world = three_webs();
    world.instance("n1", "api-1", Health::Critical, |def| def.name = "api".into());
    let source = r#"{% for s in services() %}
{{ s.name }}: {{ s.tags|join(" ") }}
{% endfor %}"#;
    assert_eq!(world.text(source), "api: \nweb: V1 edge v2\n");
}

#[test]
fn key_and_key_or_give_text() {
    let mut world = World::new();
    world.put("app/limit", "10");
    assert_eq!(world.text(r#"{{ key("app/limit") }}"#), "10");
    assert_eq!(world.text(r#"{{ key_or("app/limit", 3) }}"#), "10");
    assert_eq!(world.text(r#"{{ key_or("app/none", 3) + 1 }}"#), "4");
}

#[test]
fn ls_gives_direct_children_and_tree_everything_below() {
    let mut world = World::new();
    for key in ["app/b", "app/a", "app/sub/deep", "app/", "app/folder/", "application", "app"] {
        world.put(key, format!("<{key}>"));
    }
    let list = |call: &str| {
        let source = format!("{{% for k, v in {call} %}}{{{{ k }}}}={{{{ v }}}} {{% endfor %}}");
        world.text(&source)
    };
    assert_eq!(list(r#"ls("app")"#), "a=<app/a> b=<app/b> ");
    assert_eq!(list(r#"ls("app/")"#), "a=<app/a> b=<app/b> ");
    assert_eq!(list(r#"tree("app")"#), "a=<app/a> b=<app/b> sub/deep=<app/sub/deep> ");
    assert_eq!(list(r#"ls("")"#), "app=<app> application=<application> ");
    assert_eq!(list(r#"tree("nothing")"#), "");
    let source = r#"{% for p in ls("app") %}{{ p.key }} {{ p.path }} {{ p.value }};{% endfor %}"#;
    assert_eq!(world.text(source), "a app/a <app/a>;b app/b <app/b>;");
}

#[test]
fn env_answers_from_the_map_it_is_given() {
    let mut world = World::new();
    world.environment.insert("HOME_DIR".to_owned(), "/srv".to_owned());
    assert_eq!(world.text(r#"{{ env("HOME_DIR") }} {{ env("NONE", "x") }}"#), "/srv x");
}

#[test]
fn text_is_taken_as_it_stands() {
    let mut world = World::new();
    world.put("k", "<a href=\"x\">&'</a>");
    assert_eq!(world.text("{{ key(\"k\") }}\n\n"), "<a href=\"x\">&'</a>\n\n");
    let source = "a\n  {% if true %}\n  b\n  {% endif %}\nc\n";
    assert_eq!(world.text(source), "a\n  b\nc\n", "a line with only a block leaves no line");
}

#[test]
fn filters_go_there_and_back() {
    let mut world = World::new();
    world.put("json", r#"{"hosts": ["a", "b"], "n": 1.5, "deep": {"x": null}}"#);
    assert_eq!(world.text(r#"{{ (key("json")|from_json).hosts|join(",") }}"#), "a,b");
    assert_eq!(world.text(r#"{{ "a<b"|to_json }}"#), r#""a<b""#);
    assert_eq!(world.text(r#"{{ "hello"|b64encode }}"#), "aGVsbG8=");
    assert_eq!(world.text("{{ \"aGVsbG8=\n\"|b64decode }}"), "hello");
}
