use kernels::{Isa, Pool};
use sha2::{Digest as _, Sha256};

use super::VERSION;
use crate::digest::hex;
use crate::formats::Format;
use crate::gguf::Gguf;
use crate::gguf::testing::GgufWriter;
use crate::weights::Weights;

/// The packed bytes of the golden vectors of every format.
fn digest() -> String {
    let (pool, mut digest) = (Pool::new(1), Sha256::new());
    for format in Format::ALL {
        let name = format!("../../golden/formats/{}.blocks", format.name());
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let data = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cols = format.block_len().max(32);
        let rows = data.len() / format.row_bytes(cols);
        let writer = GgufWriter::new().tensor("w", &[cols as u64, rows as u64], format, &data);
        let file = Gguf::from_bytes(writer.finish()).unwrap();
        let matrix = Weights::new(&file, Isa::Scalar, &pool, None).matrix("w", rows, cols).unwrap();
        let mut bytes = Vec::new();
        matrix.write_to(&mut bytes).unwrap();
        assert_eq!(bytes.len(), matrix.image_bytes());
        digest.update(&bytes);
    }
    hex(&digest.finalize())
}

/// Packs of before are read by this program as they are: who changes how weights are packed raises `VERSION`, and then
/// this digest.
#[test]
fn the_packed_form_is_that_of_this_version() {
    assert_eq!(
        (VERSION, digest().as_str()),
        (2, "78fdb026da4137fb64c6cd675525f33c82cfd901326d7a6329ea2cd359d8269a")
    );
}
