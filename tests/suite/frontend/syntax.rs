//! A Dockerfile can ask for the frontend itself, in its first line.

use sociable_tests::frontend::{BUILDERS, base, image};
use sociable_tests::rng::Rng;
use sociable_tests::{run, stack};

use super::project::Project;

#[test]
fn options_are_words_of_the_syntax_line() {
    let Some(stack) = stack::start() else { return };
    let noise = Rng::new(6).noise(3 << 20);
    let registry = stack.registry();
    let dockerfile = |words: &str| {
        format!(
            "# syntax={} {words}\nFROM {}\nCOPY data /data\n",
            image(stack),
            base(stack)
        )
    };
    let words = format!(
        "SOCI_OUTPUT=layout SOCI_MIN_LAYER_SIZE=1MiB SOCI_SPAN_SIZE=256KiB SOCI_PLAIN_HTTP={registry}"
    );
    let (full, bare) = (dockerfile(&words), dockerfile(""));
    let files: &[(&str, &[u8])] = &[
        ("data", &noise),
        ("Dockerfile", full.as_bytes()),
        ("bare.Dockerfile", bare.as_bytes()),
    ];
    let project = Project::new(stack, "syntax", files);
    for builder in BUILDERS {
        let word = builder.word();
        let archive = project.dir.join(format!("{word}.tar"));
        let output = format!("type=tar,dest={}", archive.display());
        let mut build = project.plain(builder);
        let _ = run(build.args(["--output", &output, "."])).ok();
        project.verify(&format!("oci-archive:{}", archive.display()), 1);

        // An argument counts more.
        let mut build = project.plain(builder);
        build.args(["--build-arg", "SOCI_OUTPUT=push"]);
        build.args(["--build-arg", &format!("SOCI_REPO={}", project.image(word))]);
        let _ = run(build.args(["--output", "type=cacheonly", "."])).ok();
        project.verify(&format!("docker://{}", project.image(word)), 1);

        // Without options it is a build like any other, but for a warning.
        let mut build = project.plain(builder);
        let tag = project.image(&format!("plain-{word}"));
        build.args(["--file", "bare.Dockerfile", "--tag", &tag, "--push", "."]);
        let plain = run(&mut build).ok();
        assert!(plain.stderr.contains("SociableNoOutput"), "{plain}");
        let manifest = project.manifest(&format!("plain-{word}"));
        assert!(manifest.get("annotations").is_none(), "{manifest}");
    }
}
