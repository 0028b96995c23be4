//! The three ways out, on both builders.

use sociable_tests::frontend::{BUILDERS, base, context, sociable_buildx};
use sociable_tests::{run, sociable, stack};

#[test]
fn an_image_and_its_index_come_out_of_one_build() {
    let Some(stack) = stack::start() else {
        return;
    };
    let registry = stack.registry();
    let noise = sociable_tests::rng::Rng::new(11).noise(11 << 20);
    let dockerfile = format!(
        "FROM {}\nCOPY data /data\nRUN echo hello >/hello && rm /bin/wc\nWORKDIR /work\nCMD [\"cat\", \"/hello\"]\n",
        base(stack)
    );
    let files: &[(&str, &[u8])] = &[("data", &noise), ("Dockerfile", dockerfile.as_bytes())];
    let dir = context(stack, "one-build", files);
    for builder in BUILDERS {
        let word = builder.word();
        let repository = format!("{registry}/one-build-{word}");
        let verify = |image: &str| {
            let mut verify = sociable(["verify", image, "--plain-http", &registry]);
            let text = run(&mut verify).ok().text();
            assert!(text.starts_with("1 SOCI index of"), "{text}");
        };
        let options = ["OUTPUT=image", &format!("REPO={repository}")];
        let mut build = sociable_buildx(stack, builder, &dir, &options);
        let _ = run(build.args(["--tag", &format!("{repository}:image"), "--push", "."])).ok();
        verify(&format!("docker://{repository}:image"));

        let mut build = sociable_buildx(stack, builder, &dir, &["OUTPUT=layout"]);
        let out = dir.join(format!("{word}.tar"));
        let output = format!("type=tar,dest={}", out.display());
        let _ = run(build.args(["--output", &output, "."])).ok();
        verify(&format!("oci-archive:{}", out.display()));

        let options = ["OUTPUT=push", &format!("REPO={repository}:push")];
        let mut build = sociable_buildx(stack, builder, &dir, &options);
        let _ = run(build.args(["--output", "type=cacheonly", "."])).ok();
        verify(&format!("docker://{repository}:push"));
    }
}
