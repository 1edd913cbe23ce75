//! Compiles the contract in `proto/` without a system `protoc`.
use std::path::Path;

const FILES: [&str; 4] = ["record.proto", "control.proto", "command.proto", "bus.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.join("tickwire").display());
    let files: Vec<_> = FILES.iter().map(|f| root.join("tickwire/v1").join(f)).collect();
    let descriptors = protox::compile(&files, [&root])?;
    let mut config = prost_build::Config::new();
    config.type_attribute(".", "#[derive(serde::Serialize, serde::Deserialize)]");
    config.compile_fds(descriptors)?;
    Ok(())
}
