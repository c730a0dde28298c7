//! OpenAPI document, held against the public validator `openapi-spec-validator`.

use std::path::Path;
use std::process::Command;

/// Pinned version: a new rule of the validator must not break the build.
const VALIDATOR: &str = "openapi-spec-validator==0.9.0";

#[test]
fn public_validator_accepts_the_document() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let packages = folder.join("openapi-spec-validator-0.9.0");
    if !packages.exists() {
        // Install elsewhere and rename: another run must not see half of it.
        let scratch = tempfile::tempdir_in(folder).unwrap();
        let installed = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
            .arg(scratch.path())
            .arg(VALIDATOR)
            .output()
            .expect("python3 runs");
        assert!(installed.status.success(), "pip: {}", String::from_utf8_lossy(&installed.stderr));
        // Another test run may have installed it meanwhile.
        let _ = std::fs::rename(scratch.keep(), &packages);
    }

    let printed = Command::new(env!("CARGO_BIN_EXE_keyplane-up")).arg("openapi").output().expect("keyplane-up runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let document = folder.join("validated-openapi.json");
    std::fs::write(&document, &printed.stdout).unwrap();

    let validated = Command::new("python3")
        .args(["-m", "openapi_spec_validator", "--schema", "3.0"])
        .arg(&document)
        .env("PYTHONPATH", &packages)
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&validated.stdout).into_owned() + &String::from_utf8_lossy(&validated.stderr);
    assert!(validated.status.success(), "{said}");
}
