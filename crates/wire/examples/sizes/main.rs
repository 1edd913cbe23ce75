//! Prints bytes per record as Markdown: `cargo run -p tickwire-wire --example sizes > docs/wire-sizes.md`.
#![allow(clippy::print_stdout)]

#[allow(dead_code)]
mod table;

fn main() {
    print!("{}", table::markdown());
}
