//! A place holds the old text or the new one, whole, at every moment.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::names_in;
use crate::files::place::{Way, overwrite, stage, sweep};

#[test]
fn until_the_commit_the_old_text_is_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("f");
    fs::write(&file, "old").expect("written");
    let staged = stage(&file, b"new text", None).expect("staged").expect("it differs");
    assert_eq!(fs::read_to_string(&file).expect("read"), "old");
    assert_eq!(fs::read_to_string(staged.path()).expect("read"), "new text");
    assert_eq!(staged.commit().expect("committed"), Way::Renamed);
    assert_eq!(fs::read_to_string(&file).expect("read"), "new text");
    assert_eq!(names_in(dir.path()), ["f"]);
}

#[test]
fn a_stage_that_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("f");
    drop(stage(&file, b"new", None).expect("staged"));
    assert!(names_in(dir.path()).is_empty());
}

#[test]
fn a_crash_before_the_rename_leaves_the_old_text_and_a_stage_that_is_swept() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("f");
    fs::write(&file, "old").expect("written");
    let staged = stage(&file, b"new", None).expect("staged").expect("it differs");
    // What a killed process does: no destructor runs.
    std::mem::forget(staged);
    assert_eq!(fs::read_to_string(&file).expect("read"), "old");
    assert_eq!(names_in(dir.path()).len(), 2);
    sweep(dir.path(), Some(Path::new("f")));
    assert_eq!(names_in(dir.path()), ["f"]);
}

#[test]
fn the_same_text_is_not_staged() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("f");
    fs::write(&file, "same").expect("written");
    assert!(stage(&file, b"same", None).expect("looked at").is_none());
    assert!(stage(&file, b"sama", None).expect("looked at").is_some());
    assert!(stage(&file, b"", None).expect("looked at").is_some());
}

#[test]
fn overwriting_keeps_the_file_and_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("f");
    fs::write(&file, "some old text").expect("written");
    let inode = fs::metadata(&file).expect("a file").ino();
    for text in ["short", "a text that is much longer than the one before", ""] {
        overwrite(&file, text.as_bytes()).expect("written");
        assert_eq!(fs::read_to_string(&file).expect("read"), text);
    }
    assert_eq!(fs::metadata(&file).expect("a file").ino(), inode);
}

#[test]
fn a_very_long_name_has_room_for_its_stage() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["x".repeat(255), "ß".repeat(127)] {
        let file = dir.path().join(name);
        let staged = stage(&file, b"new", None).expect("staged").expect("it differs");
        staged.commit().expect("committed");
        assert_eq!(fs::read_to_string(&file).expect("read"), "new");
    }
}

#[test]
fn an_error_names_the_path() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("f"), "a file").expect("written");
    let error = stage(&dir.path().join("f/below"), b"x", None).expect_err("no directory");
    assert!(error.to_string().contains("/f"), "{error}");
}
