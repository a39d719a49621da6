//! What has to be done to a layer, step by step.

use std::collections::{BTreeMap, BTreeSet};

use storage_core::{EntryKind, LayerPath};
use tree::{Aspect, Expected, Model};

use crate::check::LayerLook;

/// One change; in the order of the paths, so that a directory comes before what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// What is at the path goes, with all below it.
    TakeAway(LayerPath),
    /// An empty directory comes to the path.
    Directory(LayerPath),
    /// What was made for the node of this number comes to the path.
    Put(LayerPath, u64),
    /// The first becomes another name of the second.
    Link(LayerPath, LayerPath),
}

impl Step {
    pub(super) fn path(&self) -> &LayerPath {
        match self {
            Self::TakeAway(path)
            | Self::Directory(path)
            | Self::Put(path, _)
            | Self::Link(path, _) => path,
        }
    }
}

/// All that has to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Links come after all else, since what they lead to may be on its way.
    pub(super) links: Vec<Step>,
    /// What has to be made, by its number in the tar, with the path it is for.
    pub(super) make: BTreeMap<u64, LayerPath>,
    /// What gets the attributes that it should have, at the end.
    pub(super) settle: BTreeSet<LayerPath>,
}

/// Differences that only making it anew can mend.
const REMAKE: [Aspect; 7] = [
    Aspect::Missing,
    Aspect::Kind,
    Aspect::HardLink,
    Aspect::Size,
    Aspect::Content,
    Aspect::Target,
    Aspect::Device,
];

/// Of these, the ones that say nothing about the inode that other names lead to.
const OF_NAME: [Aspect; 3] = [Aspect::Missing, Aspect::Kind, Aspect::HardLink];

impl Plan {
    pub(super) fn new(look: &LayerLook, model: &Model) -> Self {
        let mut plan = Self::default();
        let mut done = BTreeSet::new();
        for (path, aspects) in &look.differences {
            let Some(node) = model.get(path) else {
                plan.steps.push(Step::TakeAway(path.clone()));
                continue;
            };
            let remake = aspects.iter().any(|aspect| REMAKE.contains(aspect));
            match (&node.entry.kind, node.number) {
                _ if !remake => drop(plan.settle.insert(path.clone())),
                (EntryKind::Directory, _) | (_, None) => {
                    plan.steps.push(Step::Directory(path.clone()));
                    plan.settle.insert(path.clone());
                }
                (_, Some(number)) => {
                    if done.insert(number) {
                        plan.remake(look, &node, number, &model.names_of(path));
                    }
                }
            }
        }
        plan.steps.sort_by(|a, b| a.path().cmp(b.path()));
        plan
    }

    /// A file, link or device: linked to one of its names that is sound, or made anew.
    fn remake(&mut self, look: &LayerLook, node: &Expected, number: u64, names: &[LayerPath]) {
        let differs = |name: &LayerPath| look.differences.get(name).map_or(&[][..], |a| a);
        let lost = |name: &&LayerPath| differs(name).iter().any(|a| OF_NAME.contains(a));
        let changed = names
            .iter()
            .flat_map(differs)
            .any(|aspect| REMAKE.contains(aspect) && !OF_NAME.contains(aspect));
        let sound = names.iter().find(|name| !lost(name)).filter(|_| !changed);
        if let Some(sound) = sound {
            let lost = names.iter().filter(lost);
            self.links.extend(lost.map(|name| Step::Link(name.clone(), sound.clone())));
            return;
        }
        let Some((first, others)) = names.split_first() else { return };
        debug_assert_ne!(node.entry.kind, EntryKind::Directory);
        self.make.insert(number, first.clone());
        self.steps.push(Step::Put(first.clone(), number));
        self.links.extend(others.iter().map(|name| Step::Link(name.clone(), first.clone())));
    }
}
