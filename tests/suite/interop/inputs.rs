//! Images as everybody's tools make them: each is converted, verified, and read back by all readers.

use sociable_tests::stack;

use super::readers::{Expected, check};
use super::{convert, make};

const AMD64: Expected = Expected {
    platforms: &["linux/amd64"],
    indexed: 1,
    attestations: 0,
};
const WITH_PROVENANCE: Expected = Expected {
    attestations: 1,
    ..AMD64
};

/// Makes an image, converts it and has everybody read it.
#[track_caller]
fn through(name: &str, script: &str, options: &[&str], expected: &Expected) {
    let Some(stack) = stack::start() else {
        return;
    };
    let image = make(stack, name, script);
    let _ = convert(stack, &image, options).ok();
    check(stack, name, expected);
}

#[test]
fn docker_build_without_buildkit() {
    let script = "DOCKER_BUILDKIT=0 docker build --tag $IN . && docker push $IN";
    through("docker-classic", script, &[], &AMD64);
}

#[test]
fn docker_buildx() {
    let script = "docker buildx build --builder default --output type=image,name=$IN,push=true .";
    through("docker-buildx", script, &[], &WITH_PROVENANCE);
}

#[test]
fn buildah() {
    let script = "buildah --storage-driver vfs build --isolation chroot --format docker --tag $IN .
        buildah --storage-driver vfs push --tls-verify=false $IN docker://$IN";
    through("buildah", script, &[], &AMD64);
}

#[test]
fn crane_append() {
    let script = "tar --create --file /tmp/crane.tar --transform 's,busybox,bin/busybox,;s,^\\(start\\|cold\\),data/\\1,' busybox start cold
        crane append --insecure --new_layer /tmp/crane.tar --new_tag $IN
        crane mutate --insecure --set-platform linux/amd64 --entrypoint /bin/busybox --cmd wc,-c,/data/start --tag $IN $IN";
    through("crane-append", script, &[], &AMD64);
}

#[test]
fn one_squashed_layer() {
    let script = "docker buildx build --builder rem --provenance=false --output type=image,name=$IN,push=true .
        crane flatten --insecure --tag $IN $IN";
    through("squashed", script, &[], &AMD64);
}

#[test]
fn skopeo_to_docker_schema_2() {
    let script = "docker buildx build --builder rem --provenance=false --output type=image,name=$IN,push=true,oci-mediatypes=true .
        skopeo copy --src-tls-verify=false --dest-tls-verify=false --format v2s2 docker://$IN docker://$IN";
    through("skopeo-v2s2", script, &[], &AMD64);
}

#[test]
fn skopeo_to_oci() {
    let script = "docker buildx build --builder rem --provenance=false --output type=image,name=$IN,push=true,oci-mediatypes=false .
        skopeo copy --src-tls-verify=false --dest-tls-verify=false --format oci docker://$IN docker://$IN";
    through("skopeo-oci", script, &[], &AMD64);
}

#[test]
fn estargz_layers() {
    let script = "docker buildx build --builder rem --output type=image,name=$IN,push=true,oci-mediatypes=true,compression=estargz,force-compression=true .";
    through("estargz", script, &[], &WITH_PROVENANCE);
}

#[test]
fn provenance_and_many_platforms() {
    let script = "docker buildx build --builder rem --platform linux/amd64,linux/arm/v6,linux/arm/v7 --provenance mode=max \
        --output type=image,name=$IN,push=true,compression=gzip,force-compression=true .";
    let expected = Expected {
        platforms: &["linux/amd64", "linux/arm/v6", "linux/arm/v7"],
        indexed: 1,
        attestations: 3,
    };
    through("platforms", script, &["--all-platforms"], &expected);
}

#[test]
fn one_arm_variant_of_two() {
    let script = "docker buildx build --builder rem --platform linux/arm/v6,linux/arm/v7 --provenance=false \
        --output type=image,name=$IN,push=true,compression=gzip,force-compression=true .";
    let expected = Expected {
        platforms: &["linux/arm/v6"],
        indexed: 1,
        attestations: 0,
    };
    through("arm-v6", script, &["--platform", "linux/arm/v6"], &expected);
}
