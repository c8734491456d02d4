//! Which keys can be files: nothing a key is named may leave the directory.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::files::layout::{Layout, Refused, lay_out};
use crate::model::limits;

fn laid(prefix: &str, keys: &[&str]) -> Layout {
    let rows: BTreeMap<Vec<u8>, Bytes> =
        keys.iter().map(|key| (key.as_bytes().to_vec(), Bytes::from_static(b"v"))).collect();
    lay_out(prefix, rows.iter().map(|(key, value)| (key.as_slice(), value)))
}

fn refused(key: &str) -> Option<Refused> {
    let layout = laid("p/", &[key]);
    assert_eq!(layout.files.len() + layout.refused.len(), 1, "{key:?}");
    layout.refused.into_values().next()
}

#[test]
fn the_part_after_the_prefix_is_the_path() {
    let layout = laid("p/", &["p/a", "p/dir/b", "p/.hidden", "p/with space"]);
    let paths: Vec<&str> = layout.files.keys().map(String::as_str).collect();
    assert_eq!(paths, [".hidden", "a", "dir/b", "with space"]);
    assert!(layout.refused.is_empty());
}

#[test]
fn folders_are_passed_over() {
    assert_eq!(laid("p/", &["p/", "p/dir/", "p/dir//"]), Layout::default());
}

#[test]
fn a_key_that_leaves_the_directory_is_refused() {
    for key in ["p/../etc/passwd", "p/a/../../b", "p/.."] {
        assert_eq!(refused(key), Some(Refused::Dots("..".to_owned())), "{key}");
    }
    assert_eq!(refused("p/./a"), Some(Refused::Dots(".".to_owned())));
    assert_eq!(refused("p//etc/passwd"), Some(Refused::EmptyPart));
    assert_eq!(refused("p/a//b"), Some(Refused::EmptyPart));
    assert_eq!(refused("p/a\0b"), Some(Refused::Nul));
}

#[test]
fn names_of_our_own_and_names_too_long_are_refused() {
    for key in ["p/.remora-files", "p/dir/.x.remora-stage-1", "p/.remora-reload"] {
        assert_eq!(refused(key), Some(Refused::Reserved), "{key}");
    }
    assert_eq!(refused(&format!("p/{}", "x".repeat(201))), Some(Refused::TooLong(201)));
    assert_eq!(refused(&format!("p/{}", "x".repeat(200))), None);
}

#[test]
fn a_name_that_is_no_text_is_refused() {
    let value = Bytes::new();
    let rows = [(b"p/\xff".as_slice(), &value)];
    let layout = lay_out("p/", rows.into_iter());
    assert_eq!(layout.refused.into_values().collect::<Vec<_>>(), [Refused::NotText]);
}

#[test]
fn a_file_is_not_a_directory_too() {
    let layout = laid("p/", &["p/a", "p/a/b", "p/a/b/c", "p/ab"]);
    let paths: Vec<&str> = layout.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["a", "ab"]);
    assert_eq!(layout.refused.get("p/a/b"), Some(&Refused::UnderAFile("a".to_owned())));
    assert_eq!(layout.refused.get("p/a/b/c"), Some(&Refused::UnderAFile("a".to_owned())));
}

#[test]
fn a_prefix_has_a_largest_number_of_files() {
    let keys: Vec<String> = (0..limits::PREFIX_FILES + 2).map(|n| format!("p/{n:06}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let layout = laid("p/", &keys);
    assert_eq!(layout.files.len(), limits::PREFIX_FILES);
    assert_eq!(layout.refused.len(), 2);
}
