//! Compiles the wire contract in pure Rust, so that no protoc has to be installed.

use std::path::PathBuf;
use std::{env, error, fs};

use protox::prost::Message;

/// The root of the contract, seen from this crate.
const ROOT: &str = "../../proto";

/// Every file of the contract.
const FILES: [&str; 10] = [
    "paceline/v1/common.proto",
    "paceline/v1/errors.proto",
    "paceline/v1/spec.proto",
    "paceline/v1/watch.proto",
    "paceline/v1/jobs.proto",
    "paceline/v1/nodes.proto",
    "paceline/v1/shards.proto",
    "paceline/v1/cell.proto",
    "paceline/v1/members.proto",
    "paceline/v1/link.proto",
];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed={ROOT}/paceline/v1");
    let descriptors = protox::compile(FILES, [ROOT])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("paceline.v1.bin"), descriptors.encode_to_vec())?;
    // Connections are the business of `identity`, so no client connects by itself. Ordered maps: equal values have equal bytes, so that bodies can be hashed and compared.
    tonic_prost_build::configure()
        .build_transport(false)
        .btree_map(".")
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
