//! Checks that no compiler makes: `cargo xtask tidy`.

use std::process::ExitCode;

mod tidy;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => tidy::run(),
        _ => {
            eprintln!("usage: cargo xtask tidy\n\ngiven: {arguments:?}");
            ExitCode::from(2)
        }
    }
}
