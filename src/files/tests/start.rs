//! What a configuration must be to be started with.

use super::World;
use crate::cluster::Cluster;
use crate::files::{Config, TemplateSource, start};
use crate::lifecycle::{Gate, Life};
use crate::model::NodeName;
use crate::telemetry::Metrics;

fn error(config: Config) -> String {
    let cluster = Cluster::solo(NodeName::new("n1").expect("a name"));
    let started = start(config, &cluster, &Life::default(), &Metrics::default());
    started.expect_err("it must not start").to_string()
}

#[tokio::test]
async fn a_bad_template_names_its_file_and_line() {
    let world = World::new();
    world.write("t.j2", "fine\n{{ broken\n");
    let mut spec = world.template("", "out");
    spec.source = TemplateSource::Path(world.path("t.j2"));
    let said = error(Config { templates: vec![spec], files: vec![] });
    assert!(said.starts_with("templates: ") && said.contains("t.j2:2: syntax error"), "{said}");
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_named() {
    let world = World::new();
    let mut spec = world.template("", "out");
    spec.source = TemplateSource::Path(world.path("none.j2"));
    let said = error(Config { templates: vec![spec], files: vec![] });
    assert!(said.contains("none.j2: No such file"), "{said}");
}

#[tokio::test]
async fn one_file_has_one_writer() {
    let world = World::new();
    let templates = vec![world.template("a", "out"), world.template("b", "./out")];
    let said = error(Config { templates, files: vec![] });
    assert!(said.ends_with("out: two entries of templates or files write it"), "{said}");
    let files = vec![world.prefix("a", "d"), world.prefix("b", "d")];
    assert!(error(Config { templates: vec![], files }).contains("two entries"));
}

#[tokio::test]
async fn without_files_there_is_nothing_to_wait_for() {
    let world = World::new();
    world.start(vec![], vec![]);
    assert!(world.life.gates.is_open(Gate::Rendered));
}
