//! A directory follows the keys below a prefix and loses nothing that is not ours.

use std::fs;
use std::os::unix::fs::symlink;

use super::{World, until};
use crate::lifecycle::Level;

#[tokio::test]
async fn files_come_change_and_go_with_their_keys() {
    let world = World::new();
    world.put("conf/a", "1").await;
    world.put("conf/sub/dir/b", "2").await;
    world.put("config", "not below").await;
    let mut prefix = world.prefix("conf", "d");
    prefix.reload = Some(world.logs_into("log"));
    world.start(vec![], vec![prefix]);
    world.rendered().await;
    assert_eq!((world.read("d/a"), world.read("d/sub/dir/b")), ("1".to_owned(), "2".to_owned()));
    until("one reload for both", || world.lines_of("log") == 1).await;
    until("nothing is owed", || world.names_in("d") == [".remora-files", "a", "sub"]).await;
    world.put("conf/a", "changed").await;
    until("it changes", || world.read("d/a") == "changed").await;
    until("it is reloaded", || world.lines_of("log") == 2).await;
    world.put("conf/c", "").await;
    until("an empty value is an empty file", || world.path("d/c").exists()).await;
    world.delete("conf/sub/dir/b").await;
    until("it goes, with its directories", || !world.path("d/sub").exists()).await;
    until("a removal is reloaded", || world.lines_of("log") == 4).await;
    assert_eq!(world.board("d"), (Level::Ok, "up to date".to_owned()));
}

#[tokio::test]
async fn keys_that_went_during_a_stop_take_their_files_along() {
    let mut world = World::new();
    world.put("conf/a", "1").await;
    world.put("conf/b", "2").await;
    world.start(vec![], vec![world.prefix("conf/", "d")]);
    world.rendered().await;
    world.stop().await;
    world.delete("conf/a").await;
    world.write("d/mine", "foreign");
    world.start(vec![], vec![world.prefix("conf/", "d")]);
    world.rendered().await;
    assert_eq!(world.names_in("d"), [".remora-files", "b", "mine"]);
}

#[tokio::test]
async fn a_foreign_file_is_never_touched() {
    let world = World::new();
    fs::create_dir(world.path("d")).expect("a directory");
    world.write("d/a", "foreign");
    world.write("d/same", "same");
    world.put("conf/a", "ours").await;
    world.put("conf/same", "same").await;
    world.put("conf/b", "ours").await;
    world.start(vec![], vec![world.prefix("conf/", "d")]);
    world.rendered().await;
    assert_eq!(world.read("d/a"), "foreign");
    assert_eq!(world.read("d/b"), "ours");
    let (level, text) = world.board("d");
    assert_eq!(level, Level::Warning);
    assert!(text.contains("\"a\"") && text.contains("Remora did not write"), "{text}");
    for key in ["conf/a", "conf/same", "conf/b"] {
        world.delete(key).await;
    }
    until("ours is gone", || !world.path("d/b").exists()).await;
    assert_eq!((world.read("d/a"), world.read("d/same")), ("foreign".into(), "same".into()));
}

#[tokio::test]
async fn no_key_leaves_the_directory() {
    let world = World::new();
    fs::create_dir_all(world.path("d")).expect("a directory");
    fs::create_dir_all(world.path("elsewhere")).expect("a directory");
    symlink(world.path("elsewhere"), world.path("d/link")).expect("a link");
    world.write("outside", "safe");
    symlink(world.path("outside"), world.path("d/file")).expect("a link");
    world.put("conf/../outside", "evil").await;
    world.put("conf/link/evil", "evil").await;
    world.put("conf/file", "evil").await;
    world.put("conf/good", "good").await;
    world.start(vec![], vec![world.prefix("conf", "d")]);
    world.rendered().await;
    assert_eq!(world.read("outside"), "safe");
    assert!(world.names_in("elsewhere").is_empty());
    assert_eq!(world.read("d/good"), "good");
    let (level, text) = world.board("d");
    assert_eq!(level, Level::Warning);
    assert!(text.ends_with("(and 2 more)"), "{text}");
}

#[tokio::test]
async fn a_check_holds_back_one_file_and_not_the_others() {
    let world = World::new();
    world.put("conf/a", "good").await;
    world.put("conf/b", "bad").await;
    let mut prefix = world.prefix("conf/", "d");
    prefix.check = Some(["grep", "-q", "good", "{staged}"].map(str::to_owned).to_vec());
    world.start(vec![], vec![prefix]);
    until("it is said", || world.board("d").0 == Level::Failed).await;
    assert!(world.board("d").1.contains("the check refused \"b\""));
    assert_eq!(world.names_in("d"), [".remora-files", "a"]);
    world.put("conf/b", "good too").await;
    until("it comes", || world.read("d/b") == "good too").await;
    world.rendered().await;
}

#[tokio::test]
async fn a_file_becomes_a_directory_and_a_file_again() {
    let world = World::new();
    world.put("conf/a", "file").await;
    world.start(vec![], vec![world.prefix("conf/", "d")]);
    world.rendered().await;
    world.delete("conf/a").await;
    world.put("conf/a/b", "below").await;
    until("a directory", || world.read("d/a/b") == "below").await;
    world.delete("conf/a/b").await;
    world.put("conf/a", "file again").await;
    until("a file", || world.read("d/a") == "file again").await;
}

#[tokio::test]
async fn a_manifest_that_is_damaged_stops_the_work_and_keeps_the_files() {
    let mut world = World::new();
    world.put("conf/a", "1").await;
    world.start(vec![], vec![world.prefix("conf/", "d")]);
    world.rendered().await;
    world.stop().await;
    world.write("d/.remora-files", "{ no json");
    world.start(vec![], vec![world.prefix("conf/", "d")]);
    until("it is said", || world.board("d").0 == Level::Failed).await;
    assert!(world.board("d").1.contains(".remora-files"), "{}", world.board("d").1);
    assert_eq!(world.read("d/a"), "1");
}

#[tokio::test]
async fn a_manifest_cannot_reach_outside() {
    let world = World::new();
    fs::create_dir(world.path("d")).expect("a directory");
    world.write("outside", "safe");
    let evil = format!(r#"{{"version":1,"files":["../outside","{}"]}}"#, world.path("x").display());
    world.write("d/.remora-files", &evil);
    world.start(vec![], vec![world.prefix("conf/", "d")]);
    world.rendered().await;
    assert_eq!(world.read("outside"), "safe");
}
