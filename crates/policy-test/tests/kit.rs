//! The kit itself.

use std::sync::Arc;

use sociable_policy::selection::{SelectionPolicy, Verdict};
use sociable_policy::{About, Policy, PolicyError};
use sociable_policy_test::{Content, Error, Kit, Tree};

type Done = Result<(), Error>;

fn tree() -> Tree {
    Tree::new()
        .directory("usr")
        .file("usr/app", Content::Noise(3 << 20))
        .hard_link("usr/app2", "usr/app")
        .symlink("app", "usr/app")
        .file("usr/data", Content::Noise(9 << 20))
        .file("usr/late", Content::Text(100))
}

#[test]
fn the_default_is_the_references() -> Done {
    let layer = Kit::new().pack(&tree())?;
    assert_eq!(layer.spans().len(), 4, "{layer}");
    assert_eq!(layer.cuts_within("usr/data")?.len(), 3);
    assert_eq!(layer.read("usr/late")?.len(), 100);
    assert_eq!(layer.fetched(["usr/app"])?.spans, 1);
    assert_eq!(layer.fetched(["usr/app", "usr/late"])?.spans, 2);
    assert!(!layer.prefetches("usr/app")?);
    assert!(layer.to_string().starts_with("           0    4194"));
    Ok(())
}

#[test]
fn a_policy_packs_and_indexes() -> Done {
    let kit = Kit::new().built_in("size", "span-size=1048576")?;
    let packed = kit.pack(&tree())?;
    assert!(packed.spans().len() >= 12, "{packed}");
    let indexed = kit.index(&tree().gzip(6)?)?;
    assert!(indexed.spans().len() >= 11, "{indexed}");
    assert_eq!(indexed.paths(), packed.paths());
    Ok(())
}

#[test]
fn order_and_levels_show() -> Done {
    let trace = r#"{"trace": {"format": "sociable trace 1", "files": [{"path": "/usr/late", "size": 100, "ranges": [[0, 100]]}]}}"#;
    let layer = Kit::new().built_in("profile", trace)?.pack(&tree())?;
    assert_eq!(layer.paths()[1], "usr/late");
    assert!(layer.fetched(["usr/late"])?.bytes < 1 << 20);
    let stored = Kit::new().built_in("store-incompressible", "")?;
    let stored = stored.pack(&tree())?;
    assert!(stored.size() >= 12 << 20);
    Ok(())
}

#[derive(Debug)]
struct Never;

impl SelectionPolicy for Never {
    fn select(&self, _: &sociable_policy::Layer) -> Result<Verdict, PolicyError> {
        Ok(Verdict {
            index: false,
            reason: "never on Sundays".to_owned(),
        })
    }
    fn identity(&self) -> String {
        "never".to_owned()
    }
}

#[test]
fn what_a_policy_refuses_is_an_error() -> Done {
    let mut policy = Policy::new(About {
        name: "never".to_owned(),
        digest: None,
        parameters: serde_json::json!({}),
    });
    policy.selection = Some(Arc::new(Never));
    let kit = Kit::new().policy(policy.clone(), None)?;
    let refused = kit.pack(&tree()).unwrap_err();
    assert!(
        refused.to_string().contains("never on Sundays"),
        "{refused}"
    );
    let twice = kit.policy(policy, None).unwrap_err();
    assert!(matches!(twice, Error::Set(_)));
    for (name, parameters) in [("nobody", ""), ("size", "span-size=0"), ("size", "{")] {
        assert!(Kit::new().built_in(name, parameters).is_err(), "{name}");
    }
    assert!(matches!(
        Kit::new().component("nowhere.wasm", "").unwrap_err(),
        Error::Io { .. }
    ));
    let layer = Kit::new().pack(&tree())?;
    assert!(matches!(layer.read("x"), Err(Error::NoFile(_))));
    Ok(())
}
