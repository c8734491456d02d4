//! What is generated and committed is what its source says today.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set to write what differs instead of failing over it.
const WRITE: &str = "REMORA_GENERATE";

#[test]
fn the_code_of_etcds_messages_is_that_of_their_definitions() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/etcd/proto");
    let packages = ["etcdserverpb", "mvccpb", "authpb", "v3lockpb", "v3electionpb"];
    let out = tempfile::TempDir::new().unwrap();
    let files = [
        "kv",
        "lease",
        "watch",
        "cluster",
        "maintenance",
        "authpb",
        "auth",
        "lock",
        "election",
        "health",
    ];
    let definitions = protox::compile(files.map(|file| format!("{file}.proto")), [&proto]).unwrap();
    let mut json = pbjson_build::Builder::new();
    definitions.file.iter().for_each(|file| {
        json.register_file_descriptor(file.clone());
    });
    json.preserve_proto_field_names()
        .ignore_unknown_fields()
        .exclude([".mvccpb.Event"])
        .out_dir(out.path())
        .build(&packages.map(|name| format!(".{name}")))
        .unwrap();
    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".mvccpb.Event", "crate::etcd::event::Event")
        .build_client(false)
        .build_transport(false)
        .out_dir(out.path())
        .compile_fds(definitions)
        .unwrap();
    let names = packages.map(|name| [format!("{name}.rs"), format!("{name}.serde.rs")]);
    // Nobody asks after gRPC's health in JSON.
    let health = ["grpc.health.v1.rs".to_owned()];
    for name in names.as_flattened().iter().chain(&health) {
        let committed: PathBuf = proto.join("generated").join(name);
        let fresh = fs::read_to_string(out.path().join(name)).unwrap();
        if std::env::var_os(WRITE).is_some() {
            fs::create_dir_all(committed.parent().unwrap()).unwrap();
            fs::write(&committed, &fresh).unwrap();
        }
        let known = fs::read_to_string(&committed).unwrap_or_default();
        assert!(known == fresh, "{name} is not up to date: {WRITE}=1 cargo test generated");
    }
}

/// `scripts/order-functions` takes minutes, so it is not run here; but a build that has hardly any
/// of the functions that it named would lie in memory as if it had named none.
#[test]
fn the_functions_laid_side_by_side_are_there() {
    let hash = regex::Regex::new(r"17h([0-9a-f]{16}|\*)E.*").unwrap();
    let told = Command::new("nm").arg(env!("CARGO_BIN_EXE_remora")).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = String::from_utf8(told.stdout).unwrap();
    let symbols = told.lines().filter_map(|line| line.split_whitespace().last());
    let there: HashSet<_> = symbols.map(|symbol| hash.replace(symbol, "")).collect();
    let order = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo/order.ld");
    let order = fs::read_to_string(order).unwrap();
    let named = order.lines().filter_map(|line| Some(&line[line.find("_ZN")?..]));
    let (kept, gone): (Vec<_>, Vec<_>) =
        named.map(|name| hash.replace(name, "")).partition(|name| there.contains(name));
    assert!(kept.len() > 1000, "{} functions", kept.len());
    let (most, few) = (kept.len(), gone.len());
    assert!(most > 5 * few, "{few} of {} are gone: scripts/order-functions", most + few);
}
