//! What to do about a registry's refusal.

use sociable_oci::registry::{Failure, RegistryError};

/// The way out, if there is one.
pub(crate) fn hint(error: &RegistryError) -> Option<String> {
    let host = &error.host;
    let failure = &error.failure;
    Some(match failure {
        Failure::Tls(why) if why.contains("InvalidContentType") => {
            format!("the registry seems to speak plain HTTP: --plain-http {host}")
        }
        Failure::Tls(_) => {
            format!(
                "name the registry's certificate authority with --ca FILE; --skip-tls-verify {host} trusts anybody who answers there"
            )
        }
        Failure::Transport { connecting: true, .. } => {
            format!("is {host} right, and can it be reached from here?")
        }
        Failure::Transport { .. } | Failure::Stalled(_) => {
            "run the command again: what has arrived is not sent twice; --retries and --idle-timeout give a bad connection more time"
                .to_owned()
        }
        Failure::Wait(wait) => format!("run the command again in {} s", wait.as_secs()),
        Failure::Redirect(why) if why.contains("not encrypted") => {
            "--plain-http HOST[:PORT] allows it for that host".to_owned()
        }
        Failure::Redirect(_) => "the registry, or what stands in front of it, is set up wrongly".to_owned(),
        Failure::Answer(_) => {
            "the registry, or what stands between, breaks the protocol; run the command again, and tell whoever runs it"
                .to_owned()
        }
        Failure::Credentials(_) => login(host),
        Failure::Status { code, .. } => return status(error, *code),
        _ => return None,
    })
}

fn login(host: &str) -> String {
    format!("log in with `docker login {host}`, or name a file of credentials with --authfile")
}

fn status(error: &RegistryError, code: u16) -> Option<String> {
    let failure = &error.failure;
    if failure.says(&["immutable", "IMMUTABLE"]) {
        return Some(
            "the repository does not let tags be moved: give the image a new tag, such as --tag-suffix -soci".to_owned(),
        );
    }
    if failure.says(&[
        "ImageReferencedByManifestList",
        "referenced by manifest list",
    ]) {
        return Some("an image index lists it; remove that first".to_owned());
    }
    Some(match code {
        401 | 403 => login(&error.host),
        404 if error.method == "GET" || error.method == "HEAD" => {
            "is the name right? Some registries say this, too, where one is not logged in".to_owned()
        }
        404 => "does the repository exist? Amazon ECR wants it to be made first".to_owned(),
        405 => "the registry does not allow this; deleting is often turned off".to_owned(),
        413 => "the registry, or a proxy before it, takes no such large requests".to_owned(),
        429 => "the registry limits how much may be asked; log in, wait, or take fewer jobs (-j)".to_owned(),
        500..=599 => "the registry is in trouble; run the command again later: what has arrived is not sent twice"
            .to_owned(),
        _ => return None,
    })
}
