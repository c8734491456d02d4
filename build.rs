//! Hands the linker the order of functions (`.cargo/order.ld`) for the release build.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=.cargo/order.ld");
    let is = |name, value| env::var(name).is_ok_and(|found| found == value);
    // Where rustc links with LLVM's linker. Other profiles are built often, and measured never.
    let linux = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if linux && is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("PROFILE", "release") {
        let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-T{root}/.cargo/order.ld");
    }
}
