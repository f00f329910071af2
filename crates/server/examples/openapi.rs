//! Prints the `OpenAPI` document, for `make openapi`.

fn main() {
    print!("{}", server::openapi_document());
}
