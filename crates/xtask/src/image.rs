//! `cargo xtask image`: the static `sociable`, and what else is in its image.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::frontend::{self, Arch, With, install};
use crate::sh;

pub(crate) fn run(args: &[String]) -> Result<()> {
    ensure!(
        sh::has("go"),
        "Go builds the credential helper of Amazon ECR: https://go.dev/dl"
    );
    for arch in Arch::named(args)? {
        let dir = parts(arch)?;
        let built = frontend::build(arch, With::Sociable)?;
        install(
            &built.directory.join("sociable"),
            &dir.join(format!("sociable-{}", arch.name())),
        )?;
    }
    println!(
        "\nTheir image, with docker:\n  cd {} && docker buildx bake --set '*.tags=REPOSITORY:TAG' --push",
        sh::target().join("image").display()
    );
    Ok(())
}

/// What is in the image beside `sociable`; the directory that makes the image.
pub(crate) fn parts(arch: Arch) -> Result<PathBuf> {
    let dir = frontend::recipe("deploy/image", "image")?;
    fs::write(dir.join("ca-certificates.crt"), certificates())?;
    let helper = format!("docker-credential-ecr-login-{}", arch.name());
    let mut go = sh::command("go", ["build", "-trimpath", "-ldflags", "-s -w", "-o"]);
    go.arg(dir.join(helper))
        .arg("github.com/awslabs/amazon-ecr-credential-helper/ecr-login/cli/docker-credential-ecr-login")
        .current_dir(sh::root().join("deploy/image/ecr-login"))
        .env("CGO_ENABLED", "0")
        .env("GOARCH", arch.name());
    sh::run(&mut go)?;
    Ok(dir)
}

/// The authorities that Mozilla trusts, as `sociable` has them: PEM.
fn certificates() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let text = BASE64_STANDARD.encode(certificate);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}
