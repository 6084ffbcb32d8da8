//! Compiles what the language model runs on a GPU, where the feature `cuda` asks for it.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    kernels()
}

/// As candle compiles its own: script/build-cuda sets the variables that are read.
#[cfg(feature = "cuda")]
fn kernels() -> Result<(), Box<dyn Error>> {
    const SOURCE: &str = "src/engine/llm/transformer/gpu.cu";
    println!("cargo::rerun-if-changed={SOURCE}");
    let output = std::path::Path::new(&std::env::var("OUT_DIR")?).join("kernels.rs");
    let kernels = cudaforge::KernelBuilder::new().source_files([SOURCE]).arg("-O3");
    kernels.build_ptx()?.write(&output)?;
    Ok(())
}

#[cfg(not(feature = "cuda"))]
#[allow(clippy::unnecessary_wraps)] // As the other.
fn kernels() -> Result<(), Box<dyn Error>> {
    Ok(())
}
