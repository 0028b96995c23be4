//! Resolving paths: from the root through directories and links to a node, or to why there is none.

use sociable_ztoc::EntryKind;

use super::names::{Dir, ROOT};
use super::near::near;
use super::way::Way;
use super::{Hint, MAX_LINK_TARGET, MAX_LINKS, Node, Tree, TreeError};

impl Tree<'_> {
    /// [`Tree::lookup`], or if the last link shall be followed as well, [`Tree::resolve`].
    pub(super) fn walk(&self, path: &[u8], follow_last: bool) -> Result<Node, TreeError> {
        let mut way = Way::from(self.names.root());
        way.follow(path);
        let mut followed = 0;
        // Of the links: the lowest layer, and the last.
        let mut lowest = u32::MAX;
        let mut last_link = None;
        while let Some(component) = way.next_name() {
            let here = way.here;
            let known = self.names.find(here.id, component);
            let visible = known.filter(|&id| self.names.get(id).is_visible(here.floor));
            let Some(id) = visible else {
                let floor = known.map_or(here.floor, |id| self.names.dir(id, here.floor).floor);
                let hint = Hint {
                    link: last_link.map(|id| self.path_of(id)),
                    unseen: self.layers.unseen_since(floor, lowest).to_vec(),
                    ..near(&self.names, here, component)
                };
                return Err(self.not_found(path, here, component, hint));
            };
            let node = self.node(id, here.floor, lowest);
            match node.kind {
                EntryKind::Directory => way.enter(self.names.dir(id, here.floor)),
                EntryKind::Symlink if follow_last || !way.at_end() => {
                    let target = self.target(id).unwrap_or_default();
                    followed += 1;
                    if followed > MAX_LINKS {
                        return Err(TreeError::Loop {
                            path: path.into(),
                            link: self.path_of(id),
                        });
                    }
                    if target.len() > MAX_LINK_TARGET {
                        return Err(TreeError::LinkTooLong {
                            path: path.into(),
                            link: self.path_of(id),
                            length: target.len(),
                        });
                    }
                    lowest = lowest.min(u32::try_from(node.layer).unwrap_or(u32::MAX));
                    last_link = Some(id);
                    way.follow(target);
                }
                _ if way.at_end() => return Ok(node),
                kind => {
                    return Err(TreeError::NotADirectory {
                        path: path.into(),
                        at: self.path_of(id),
                        kind,
                        unseen: self.doubts(node).to_vec(),
                    });
                }
            }
        }
        let floor = way.parent().map_or(0, |parent| parent.floor);
        Ok(self.node(way.here.id, floor, lowest))
    }

    fn not_found(&self, path: &[u8], directory: Dir, missing: &[u8], hint: Hint) -> TreeError {
        let mut at = self.path_of(directory.id);
        if directory.id != ROOT {
            at.push(b'/');
        }
        at.extend_from_slice(missing);
        TreeError::NotFound {
            path: path.into(),
            at,
            hint: Box::new(hint),
        }
    }
}
