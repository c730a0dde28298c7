//! Compiles the declaration of Envoy's global rate limit into the descriptor set that reflection serves.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const ROOT: &str = "proto";
const FILE: &str = "envoy/service/ratelimit/v3/rls.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    println!("cargo:rerun-if-changed=build.rs");

    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_file(FILE)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("envoy.binpb"), compiler.encode_file_descriptor_set())?;
    Ok(())
}
