//! Who we are, and who must not learn it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use sociable_tests::layout::{self, media};
use sociable_tests::proxy::{Gate, Removal, Tokens};
use sociable_tests::registry::{self, Authority, Kind};
use sociable_tests::{Run, run, sociable};

use super::Lab;
use crate::s;

/// "somebody:a secret"
const BASIC: &str = "c29tZWJvZHk6YSBzZWNyZXQ=";

/// What must never be seen.
const SECRETS: [&str; 4] = ["a secret", BASIC, "an identity", "short-lived-secret"];

#[track_caller]
fn says_no_secret(done: &Run) {
    let said = done.text() + &done.stderr;
    for secret in SECRETS {
        assert!(!said.contains(secret), "it says {secret:?}: {said}");
    }
}

/// Writes a program that hands out credentials as docker's helpers do.
fn helper(lab: &Lab, name: &str, user: &str, secret: &str) {
    let bin = lab.dir.path().join("bin");
    fs::create_dir_all(&bin).expect("a directory");
    let file = bin.join(format!("docker-credential-{name}"));
    let host = lab.proxy.address();
    let script = format!(
        "#!/bin/sh\nread -r host\ntest \"$1\" = get && test \"$host\" = '{host}' ||\n\
         {{ echo 'credentials not found in native keychain'; exit 1; }}\n\
         echo '{{\"ServerURL\":\"{host}\",\"Username\":\"{user}\",\"Secret\":\"{secret}\"}}'\n"
    );
    fs::write(&file, script).expect("write a helper");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("make it a program");
}

#[test]
fn credentials_from_everywhere() {
    let Some(lab) = Lab::new("credentials_from_everywhere") else {
        return;
    };
    let expected = lab.undisturbed();
    helper(&lab, "basic", "somebody", "a secret");
    helper(&lab, "token", "<token>", "an identity");
    let host = lab.proxy.address().to_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", s(&lab.dir.path().join("bin")));
    for (config, oauth) in [
        (
            format!(r#"{{"auths":{{"{host}":{{"auth":"{BASIC}"}}}}}}"#),
            false,
        ),
        (format!(r#"{{"credHelpers":{{"{host}":"basic"}}}}"#), false),
        (r#"{"credsStore":"basic"}"#.to_owned(), false),
        (r#"{"credsStore":"token"}"#.to_owned(), true),
        (
            format!(
                r#"{{"auths":{{"{host}":{{"auth":"c29tZWJvZHk6","identitytoken":"an identity"}}}}}}"#
            ),
            true,
        ),
    ] {
        for by_variable in [false, true] {
            lab.fresh();
            let tokens = Tokens::new("somebody", "a secret", "an identity");
            lab.proxy.guard(Gate::Tokens(tokens));
            let dir = lab.dir.path().join(lab.repository());
            fs::create_dir_all(&dir).expect("a directory");
            let file = dir.join("config.json");
            fs::write(&file, &config).expect("write a config");
            let mut convert = lab.convert();
            convert.arg("-v").env("PATH", &path);
            if by_variable {
                convert.env("REGISTRY_AUTH_FILE", &file);
            } else {
                convert.env("DOCKER_CONFIG", &dir);
            }
            let done = run(&mut convert).ok();
            says_no_secret(&done);
            assert_eq!(lab.result(&lab.repository(), "1"), Some(expected.clone()));
            let log = lab.proxy.log();
            assert_eq!(log.count("POST", "/token") > 0, oauth, "{config}\n{log}");
            assert_eq!(log.count("GET", "/token") > 0, !oauth, "{config}\n{log}");
        }
    }
}

#[test]
fn wrong_credentials() {
    let Some(lab) = Lab::new("wrong_credentials") else {
        return;
    };
    let file = lab.dir.path().join("auth.json");
    let basic = || Gate::Basic {
        user: "somebody".to_owned(),
        password: "another secret".to_owned(),
    };
    let tokens = || {
        Gate::Tokens(Tokens::new(
            "somebody",
            "another secret",
            "another identity",
        ))
    };
    let host = lab.proxy.address();
    let known = format!(r#"{{"auths":{{"{host}":{{"auth":"{BASIC}"}}}}}}"#);
    for config in [known.as_str(), "{}"] {
        for gate in [basic(), tokens()] {
            lab.fresh();
            fs::write(&file, config).expect("write a config");
            lab.proxy.guard(gate);
            let done = run(lab.convert().arg("-v").arg("--authfile").arg(&file)).refused();
            assert!(done.stderr.contains("\nhint: log in"), "{done}");
            says_no_secret(&done);
            // It does not go on asking: people are locked out for that.
            assert!(lab.proxy.log().0.len() < 6, "{}", lab.proxy.log());
        }
    }
}

#[test]
fn nothing_in_the_clear() {
    let Some(lab) = Lab::new("nothing_in_the_clear") else {
        return;
    };
    let mut inspect = sociable([
        "inspect",
        &lab.registry.image("src/app:1"),
        "--retries",
        "0",
    ]);
    lab.bare(&mut inspect);
    let done = run(&mut inspect).refused();
    let hint = format!("--plain-http {}", lab.registry.address());
    assert!(done.stderr.contains(&hint), "{done}");
}

#[test]
fn private_authorities() {
    let authority = Authority::new();
    let Some(lab) = Lab::new("private_authorities") else {
        return;
    };
    let Some(registry) = registry::start_tls(Kind::Distribution, "private_authorities", &authority)
    else {
        return;
    };
    let ca = lab.dir.path().join("ca.pem");
    authority.write(&ca);
    let small = [(media::GZIP, &lab.layers[0][..])];
    let image = layout::image(&lab.dir.path().join("small"), &small);
    let dest = registry.image("dst/app:1");
    let convert = |more: &[&str]| {
        let mut command = sociable(["convert", &image.arg(), &dest, "--no-cache"]);
        command
            .args(["--min-layer-size", "0", "--retries", "1"])
            .args(more);
        lab.bare(&mut command);
        run(&mut command)
    };
    let done = convert(&[]).refused();
    assert!(done.stderr.contains("certificate"), "{done}");
    assert!(done.stderr.contains("--ca "), "{done}");
    let _ = convert(&["--ca", &s(&ca)]).ok();
    let mut verify = sociable(["verify", &dest]);
    lab.bare(&mut verify);
    let _ = run(verify.env("SOCIABLE_CA_FILE", &ca)).ok();
    let other = lab.dir.path().join("other.pem");
    Authority::new().write(&other);
    let done = convert(&["--ca", &s(&other)]).refused();
    assert!(done.stderr.contains("certificate"), "{done}");
    let _ = convert(&["--skip-tls-verify", registry.address()]).ok();
}

#[test]
fn anonymous_until_asked() {
    let Some(lab) = Lab::new("anonymous_until_asked") else {
        return;
    };
    let tokens = Tokens::new("somebody", "a secret", "an identity").anonymous_pull();
    lab.proxy.guard(Gate::Tokens(tokens));
    let _ = run(&mut lab.command(&["inspect", &lab.proxy.image("src/app:1")])).ok();
    // Reading is allowed to anybody, writing is not.
    let done = run(&mut lab.convert()).refused();
    assert!(done.stderr.contains("\nhint: log in"), "{done}");
    assert_eq!(lab.result(&lab.repository(), "1"), None);
}

/// What a token has to be asked for to remove something, every registry decides for itself.
#[test]
fn rights_to_remove() {
    let Some(lab) = Lab::new("rights_to_remove") else {
        return;
    };
    let write = |name: &str, text: &str| {
        let file = lab.dir.path().join(name);
        fs::write(&file, text).expect("write credentials");
        file
    };
    let host = lab.proxy.address();
    let nobody = write("nobody.json", "{}");
    let known = format!(r#"{{"auths":{{"{host}":{{"auth":"{BASIC}"}}}}}}"#);
    let known = write("known.json", &known);
    for removal in Removal::EACH {
        lab.fresh();
        let _ = run(&mut lab.convert()).ok();
        let tokens = Tokens::new("somebody", "a secret", "an identity").anonymous_pull();
        lab.proxy.guard(Gate::Tokens(tokens.removal(removal)));
        let rm = |credentials| {
            lab.proxy.forget();
            let mut rm = lab.command(&["rm", "--index", &lab.dest()]);
            run(rm.arg("--authfile").arg(credentials))
        };
        let done = rm(&nobody).refused();
        assert!(done.stderr.contains("\nhint: log in"), "{done}");
        assert!(lab.proxy.log().count("*", "") < 20, "{}", lab.proxy.log());

        let done = rm(&known);
        let log = lab.proxy.log();
        assert_eq!(done.code, Some(0), "{removal:?}: {done}\n{log}");
        let removed = log.of("DELETE", "/manifests/");
        assert!(removed.iter().any(|e| e.status() == 202), "{log}");
        says_no_secret(&done);
    }
}
