//! Lists the layers of an image: `cargo run --example layers -- oci:DIR:tag`.
//!
//! Works as well on `oci-archive:FILE:tag` and `docker://host/name:tag`.

use std::error::Error;

use transport::{Options, Platform, Reference};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(text) = std::env::args().nth(1) else {
        return Err("which image? For example: oci:DIR:tag".into());
    };
    let reference: Reference = text.parse()?;
    let image = transport::open(&reference, &Options::default())?;
    let resolved = image.resolve(&Platform::of_machine())?;
    #[expect(clippy::print_stdout, reason = "it is what the program is for")]
    for layer in &resolved.layers {
        println!("{} {:>12} {:?} {}", layer.digest, layer.size, layer.compression, layer.diff_id);
    }
    Ok(())
}
