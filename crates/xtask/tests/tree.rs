//! The tree obeys its own rules: `cargo xtask tidy` as one of the tests.
//!
//! Being an integration test it has a second use: `cargo build --bins --test tree` builds the product's
//! binaries with exactly the features that the tests use, so that `demo` and `test` share every artifact.

use std::process::Command;

#[test]
fn the_tree_is_tidy() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("tidy").output().unwrap();
    assert!(output.status.success(), "\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_unknown_command_is_refused_with_the_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("dmeo").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("usage: cargo xtask"), "{stderr}");
}
