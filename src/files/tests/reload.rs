//! A reload runs after a change, once for what changed together, and until it has succeeded.

use std::time::Duration;

use super::{World, shell, until};
use crate::files::Wait;
use crate::lifecycle::Level;

#[tokio::test]
async fn a_burst_gives_one_more_reload() {
    let world = World::new();
    world.put("k", "0").await;
    let mut template = world.template("{{ key(\"k\") }}", "out");
    template.reload = Some(world.logs_into("log"));
    let (min, max) = (Duration::from_millis(400), Duration::from_secs(30));
    template.wait = Wait { min, max };
    world.start(vec![template], vec![]);
    world.rendered().await;
    until("the first reload", || world.lines_of("log") == 1).await;
    for value in 1..=200 {
        world.put("k", value.to_string()).await;
        tokio::task::yield_now().await;
    }
    until("the last value is on disk", || world.read("out") == "200").await;
    until("it is reloaded", || world.lines_of("log") >= 2).await;
    // At most one for a first change that came after quiet, and one for all the rest.
    assert!(world.lines_of("log") <= 3, "{} reloads", world.lines_of("log"));
}

#[tokio::test]
async fn files_that_change_together_are_reloaded_once() {
    let world = World::new();
    world.put("k", "0").await;
    let templates = ["a", "b", "c", "d"].map(|name| {
        let mut template = world.template("{{ key(\"k\") }}", name);
        template.reload = Some(world.logs_into("log"));
        template
    });
    world.start(templates.to_vec(), vec![]);
    world.rendered().await;
    until("the first reload", || world.lines_of("log") == 1).await;
    world.put("k", "1").await;
    until("the second reload", || world.lines_of("log") == 2).await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(world.read(name), "1", "a reload comes after all files of its moment");
    }
}

fn reload_if(world: &World, flag: &str) -> Vec<String> {
    let (flag, log) = (world.path(flag), world.path("log"));
    shell(&format!("test -e {} && echo reloaded >> {}", flag.display(), log.display()))
}

#[tokio::test]
async fn a_reload_that_failed_runs_again_until_it_succeeds() {
    let world = World::new();
    let mut template = world.template("text", "out");
    let reload = reload_if(&world, "flag");
    let subject = format!("files/reload/{}", reload.join(" "));
    template.reload = Some(reload);
    world.start(vec![template], vec![]);
    world.rendered().await;
    until("it fails", || world.board_at(&subject).0 == Level::Failed).await;
    assert!(world.board_at(&subject).1.contains("exit status: 1"));
    world.write("flag", "");
    until("it succeeds", || world.lines_of("log") == 1).await;
    until("the board is well", || world.board_at(&subject).0 == Level::Ok).await;
}

#[tokio::test]
async fn a_reload_that_is_owed_survives_a_restart() {
    let mut world = World::new();
    let mut template = world.template("text", "out");
    let reload = reload_if(&world, "flag");
    let subject = format!("files/reload/{}", reload.join(" "));
    template.reload = Some(reload);
    world.start(vec![template.clone()], vec![]);
    world.rendered().await;
    until("it fails", || world.board_at(&subject).0 == Level::Failed).await;
    world.stop().await;
    assert!(world.path(".out.remora-reload").exists());
    world.write("flag", "");
    world.start(vec![template], vec![]);
    until("it succeeds", || world.lines_of("log") == 1).await;
    until("nothing is owed", || !world.path(".out.remora-reload").exists()).await;
}
