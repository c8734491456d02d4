//! A template's file follows the state, and no error ever touches it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::{World, until};
use crate::lifecycle::{Gate, Level};
use crate::model::{Folded, ServiceDef, Source};
use crate::state::{CatalogOp, Command, NodeDef};

#[tokio::test]
async fn the_file_follows_a_key() {
    let world = World::new();
    world.put("limit", "1").await;
    world.start(vec![world.template("limit={{ key(\"limit\") }}\n", "deep/er/app.conf")], vec![]);
    world.rendered().await;
    assert_eq!(world.read("deep/er/app.conf"), "limit=1\n");
    for value in ["2", "3", "4"] {
        world.put("limit", value).await;
        let expected = format!("limit={value}\n");
        until("the file follows", || world.read("deep/er/app.conf") == expected).await;
    }
    assert_eq!(world.names_in("deep/er"), ["app.conf"], "nothing is left beside it");
    assert_eq!(world.board("deep/er/app.conf"), (Level::Ok, "up to date".to_owned()));
}

#[tokio::test]
async fn the_file_follows_the_instances_of_a_service() {
    let world = World::new();
    let source = "{% for i in service(\"web\") %}\n{{ i.address }}:{{ i.port }}\n{% endfor %}";
    world.start(vec![world.template(source, "ups")], vec![]);
    world.rendered().await;
    assert_eq!(world.read("ups"), "");
    let node = Folded::new("n9");
    let mut def = ServiceDef::new("web-1", "web");
    def.port = 8080;
    let put_node = CatalogOp::PutNode(NodeDef {
        name: "n9".into(),
        agent: None,
        uuid: String::new(),
        address: "10.0.0.9".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: std::time::Duration::from_secs(10),
    });
    let put = CatalogOp::PutInstance { node: node.clone(), def, source: Source::Catalog };
    world.cluster.propose(Command::Catalog(vec![put_node, put])).await.expect("applied");
    until("the instance is in", || world.read("ups") == "10.0.0.9:8080\n").await;
    let remove = CatalogOp::RemoveInstance { node, id: "web-1".into() };
    world.cluster.propose(Command::Catalog(vec![remove])).await.expect("applied");
    until("the instance is out", || world.read("ups").is_empty()).await;
}

#[tokio::test]
async fn reads_that_appear_later_are_followed_too() {
    let world = World::new();
    world.put("which", "a").await;
    world.put("a", "1").await;
    world.start(vec![world.template("{{ key(key(\"which\")) }}", "out")], vec![]);
    world.rendered().await;
    world.put("b", "2").await;
    world.put("which", "b").await;
    until("the other key is read", || world.read("out") == "2").await;
    world.put("b", "3").await;
    until("the other key is followed", || world.read("out") == "3").await;
}

#[tokio::test]
async fn a_missing_key_waits_and_says_which() {
    let world = World::new();
    let template = world.template("{{ key(\"a/b\") }}{{ key(\"c\") }}", "out");
    world.start(vec![template], vec![]);
    let (level, text) = (Level::Warning, "waiting for the keys \"a/b\", \"c\"".to_owned());
    until("the board says so", || world.board("out") == (level, text.clone())).await;
    assert!(!world.path("out").exists());
    world.put("a/b", "1").await;
    until("one is left", || world.board("out").1 == "waiting for the key \"c\"").await;
    assert!(!world.life.gates.is_open(Gate::Rendered));
    world.put("c", "2").await;
    world.rendered().await;
    assert_eq!(world.read("out"), "12");
}

#[tokio::test]
async fn no_error_touches_a_good_file() {
    let world = World::new();
    world.put("k", "good").await;
    world.start(vec![world.template("{{ key(\"k\") }}", "out")], vec![]);
    world.rendered().await;
    world.put("k", [0xff, 0xfe]).await;
    until("it fails", || world.board("out").0 == Level::Failed).await;
    assert!(world.board("out").1.contains("\"k\" (2 bytes) is not UTF-8"));
    assert_eq!(world.read("out"), "good");
    world.delete("k").await;
    until("it waits", || world.board("out").0 == Level::Warning).await;
    assert_eq!(world.read("out"), "good");
    world.put("k", "better").await;
    until("it is well again", || world.read("out") == "better").await;
}

#[tokio::test]
async fn a_check_that_fails_keeps_the_old_file() {
    let world = World::new();
    world.put("k", "good 1").await;
    let mut template = world.template("{{ key(\"k\") }}", "out");
    let check = ["grep", "-q", "good", "{staged}"];
    template.check = Some(check.map(str::to_owned).to_vec());
    template.reload = Some(world.logs_into("log"));
    world.start(vec![template], vec![]);
    world.rendered().await;
    until("the first reload", || world.lines_of("log") == 1).await;
    world.put("k", "bad").await;
    until("it is refused", || world.board("out").0 == Level::Failed).await;
    let said = world.board("out").1;
    assert!(said.starts_with("the check refused the new text: grep -q good "), "{said}");
    assert!(said.contains("exit status: 1"), "{said}");
    assert_eq!(world.read("out"), "good 1");
    until("the staged file is gone", || world.names_in(".") == ["log", "out"]).await;
    world.put("k", "good 2").await;
    until("it is taken", || world.read("out") == "good 2").await;
    until("the second reload", || world.lines_of("log") == 2).await;
}

#[tokio::test]
async fn a_check_that_failed_is_asked_again_without_a_change() {
    let world = World::new();
    let mut template = world.template("text", "out");
    let flag = world.path("flag");
    template.check = Some(vec!["test".to_owned(), "-e".to_owned(), flag.display().to_string()]);
    world.start(vec![template], vec![]);
    until("it is refused", || world.board("out").0 == Level::Failed).await;
    world.write("flag", "");
    until("it is taken", || world.read("out") == "text").await;
}

#[tokio::test]
async fn the_mode_is_kept_or_set() {
    let world = World::new();
    world.put("k", "1").await;
    world.write("kept", "old");
    fs::set_permissions(world.path("kept"), fs::Permissions::from_mode(0o600)).expect("mode");
    let kept = world.template("{{ key(\"k\") }}", "kept");
    let mut set = world.template("{{ key(\"k\") }}", "set");
    set.mode = Some(0o640);
    let plain = world.template("{{ key(\"k\") }}", "plain");
    world.start(vec![kept, set, plain], vec![]);
    world.rendered().await;
    let mode = |name: &str| fs::metadata(world.path(name)).expect("a file").mode() & 0o7777;
    assert_eq!((mode("kept"), mode("set"), mode("plain")), (0o600, 0o640, 0o644));
    assert_eq!(world.read("kept"), "1");
}

#[tokio::test]
async fn what_is_true_already_is_not_written_again() {
    let mut world = World::new();
    world.put("k", "1").await;
    world.start(vec![world.template("{{ key(\"k\") }}", "out")], vec![]);
    world.rendered().await;
    let inode = || fs::metadata(world.path("out")).expect("a file").ino();
    let before = inode();
    world.put("k", "1").await;
    world.put("other", "1").await;
    let mut again = world.template("{{ key(\"k\") }}", "out");
    again.reload = Some(world.logs_into("log"));
    assert_eq!(inode(), before);
    world.stop().await;
    world.start(vec![again], vec![]);
    world.rendered().await;
    assert_eq!(fs::metadata(world.path("out")).expect("a file").ino(), before);
    assert!(!world.path("log").exists(), "nothing changed, nothing is reloaded");
}

#[tokio::test]
async fn a_link_stays_and_its_file_is_written() {
    let world = World::new();
    world.write("real", "old");
    std::os::unix::fs::symlink(world.path("real"), world.path("link")).expect("a link");
    world.start(vec![world.template("new", "link")], vec![]);
    world.rendered().await;
    assert!(world.path("link").is_symlink());
    assert_eq!(world.read("real"), "new");
}

#[tokio::test]
async fn what_a_crash_left_is_swept_and_nothing_else() {
    let world = World::new();
    for name in [".out.remora-stage-00aa", ".other.remora-stage-1", ".out.swp", "out"] {
        world.write(name, "left");
    }
    world.start(vec![world.template("new", "out")], vec![]);
    world.rendered().await;
    assert_eq!(world.names_in("."), [".other.remora-stage-1", ".out.swp", "out"]);
}

#[tokio::test]
async fn a_destination_that_cannot_be_written_is_said_and_tried_again() {
    let world = World::new();
    fs::create_dir(world.path("out")).expect("a directory");
    world.start(vec![world.template("text", "out")], vec![]);
    until("it fails", || world.board("out").0 == Level::Failed).await;
    assert!(world.board("out").1.ends_with("out is no regular file"));
    fs::remove_dir(world.path("out")).expect("removed");
    until("it is written", || world.read("out") == "text").await;
    world.rendered().await;
}
