//! Compiles the protos without protoc: the generated code, and the descriptor set that reflection, the gateway
//! and the OpenAPI document read.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "build/shapes.rs"]
mod shapes;

const ROOT: &str = "../../proto";
/// Root of Envoy's declarations.
const ENVOY_ROOT: &str = "proto";
/// Envoy's services that Keyplane implements, each with the name of its descriptor set.
const ENVOY: [(&str, &str); 2] = [
    ("envoy/service/auth/v3/external_auth.proto", "ext_authz.binpb"),
    ("envoy/service/ratelimit/v3/rls.proto", "rate_limit.binpb"),
];

fn main() -> Result<(), Box<dyn Error>> {
    // tonic-prost-build prints none itself; without it every build would compile everything anew.
    println!("cargo:rerun-if-changed={ROOT}");
    println!("cargo:rerun-if-changed={ENVOY_ROOT}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");

    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(true).open_files(protos()?)?;

    // Written by protox's own encoder: prost's types drop extension options, and google.api.http is one.
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("keyplane.binpb"), compiler.encode_file_descriptor_set())?;

    for (file, set) in ENVOY {
        let mut compiler = protox::Compiler::new([ENVOY_ROOT])?;
        compiler.include_imports(true).include_source_info(true).open_file(file)?;
        fs::write(out.join(set), compiler.encode_file_descriptor_set())?;
    }

    fs::write(out.join("shapes.rs"), shapes::source(&compiler.descriptor_pool()))?;

    let mut prost = tonic_prost_build::Config::new();
    prost.enable_type_names(); // to find a message's descriptor: see src/json.rs
    tonic_prost_build::configure()
        .codec_path("crate::codec::SmallProstCodec")
        .bytes(".google.api.HttpBody.data")
        .compile_fds_with_config(compiler.file_descriptor_set(), prost)?;
    Ok(())
}

/// Proto files, sorted: the descriptor set does not depend on the order of a directory.
fn protos() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(ROOT)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                files.push(path.strip_prefix(Path::new(ROOT))?.to_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}
