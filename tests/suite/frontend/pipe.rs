//! Without the frontend: what BuildKit writes to standard output is converted on its way.

use sociable_tests::frontend::base;
use sociable_tests::rng::Rng;
use sociable_tests::{run, stack};

use super::project::Project;

#[test]
fn an_image_is_converted_on_its_way_out() {
    let Some(stack) = stack::start() else { return };
    let noise = Rng::new(4).noise(11 << 20);
    let dockerfile = format!("FROM {}\nCOPY data /data\n", base(stack));
    let files: &[(&str, &[u8])] = &[("data", &noise), ("Dockerfile", dockerfile.as_bytes())];
    let project = Project::new(stack, "pipe", files);
    let sociable = stack.sociable([""; 0]);
    let binary = sociable.get_args().last().expect("the binary");
    let script =
        "docker buildx build --builder rem --output type=oci,dest=- . | \"$0\" convert - oci:app";
    let mut pipe = stack.command(["bash", "-euo", "pipefail", "-c", script]);
    let _ = run(pipe.arg(binary).current_dir(&project.dir)).ok();
    project.verify(&format!("oci:{}", project.dir.join("app").display()), 1);
}
