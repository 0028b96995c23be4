//! The kit for authors of policies, on components.

use sociable_policy_test::{Content, Error, Kit, Tree};
use sociable_tests::plugins::component;

#[test]
fn a_component_is_tried_as_the_engine_asks_it() {
    let Some(aligned) = component("sociable_file_aligned") else {
        return;
    };
    let long = format!("usr/{}", "n".repeat(150));
    let tree = Tree::new()
        .file("usr/app", Content::Noise(300_000))
        .file("etc/conf", Content::Text(100))
        .file(&long, Content::Noise(300_000));
    let kit = Kit::new().component(&aligned, "span-size=100000");
    let kit = kit.expect("a component");
    let layer = kit.pack(&tree).expect("packed");
    assert!(layer.begins_with("etc/conf").expect("a file"));
    assert!(layer.begins_with(&long).expect("a file"));
    assert_eq!(layer.cuts_within("usr/app").expect("a file").len(), 2);
    assert!(layer.fetched(["etc/conf"]).expect("a file").bytes < 2000);
    assert_eq!(layer.to_string().lines().count(), layer.spans().len());
    let wrong = Kit::new().component(&aligned, "span-size=0").unwrap_err();
    assert!(matches!(wrong, Error::Load(_)), "{wrong}");
}

#[test]
fn what_misbehaves_is_an_error() {
    let Some(odd) = component("sociable_misbehaving") else {
        return;
    };
    let tree = Tree::new().file("a", Content::Noise(300_000));
    for (deed, says) in [("panic", "gave up"), ("beyond", "200")] {
        let parameters = format!("do={deed},in=compression.choose");
        let kit = Kit::new()
            .component(&odd, &parameters)
            .expect("a component");
        let error = kit.pack(&tree).unwrap_err();
        assert!(matches!(error, Error::Engine(_)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
