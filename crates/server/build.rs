//! The web app is embedded from `web/dist`. A checkout in which it isn't built yet must compile too: it gets an empty
//! folder, and the server then says how to build the app.

use std::path::Path;

fn main() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist");
    // A source tree that can't be written to compiles all the same: the folder may be missing.
    let _ = std::fs::create_dir_all(&dist);
    println!("cargo:rerun-if-changed={}", dist.display());
}
