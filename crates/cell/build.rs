//! Compiles the stored formats in pure Rust, so that no protoc has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/cell.proto");
    let descriptors = protox::compile(["proto/cell.proto"], ["proto"])?;
    prost_build::Config::new()
        // Rare, and large enough to make every record of a snapshot larger.
        .boxed(".paceline.cell.v1.JobSpec.simulate")
        .compile_fds(descriptors)?;
    Ok(())
}
