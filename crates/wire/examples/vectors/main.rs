//! Writes the golden vectors: `cargo run -p tickwire-wire --example vectors -- --write`.
//!
//! Without `--write` it only says which files differ. A change of these files is a change of the protocol.
#![allow(clippy::print_stdout)]

mod manifest;
mod set;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/vectors");
    let write = std::env::args().any(|argument| argument == "--write");
    for (name, bytes) in manifest::files(&set::all()) {
        if std::fs::read(folder.join(&name)).is_ok_and(|there| there == bytes) {
            continue;
        }
        if write {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(&name), &bytes)?;
        }
        println!("{} {name}", if write { "written:" } else { "differs:" });
    }
    Ok(())
}
