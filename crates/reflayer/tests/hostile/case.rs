//! A case: a layer, and what should become of it.

use testkit::forged::{Item, Recipe};

/// A forged layer and the verdict on it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) recipe: Recipe,
    pub(crate) verdict: Verdict,
}

/// What should become of a layer.
///
/// Trees are lists as [`crate::try_case`] writes them; texts stand somewhere in the
/// error with all its causes, or in the reason that the report gives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// Refused, whichever way it comes.
    Refuse(&'static str),
    /// Accepted either way, as the tree that GNU tar makes of it.
    Accept,
    /// Accepted either way, as this tree.
    Tree(&'static [&'static str]),
    /// The TOC is given up for this reason; the whole blob is accepted, as GNU tar reads it.
    Whole(&'static str),
    /// The same, as this tree.
    WholeTree(&'static str, &'static [&'static str]),
    /// Accepted by its TOC, as GNU tar reads the tar. Whole it is refused, since what
    /// nobody fetches by a TOC is broken.
    OnlyByToc(&'static str),
}

/// A layer of these items.
pub(crate) fn case(
    name: impl Into<String>,
    items: impl IntoIterator<Item = Item>,
    verdict: Verdict,
) -> Case {
    forged(name, Recipe::of(items), verdict)
}

/// A layer of this recipe.
pub(crate) fn forged(name: impl Into<String>, recipe: Recipe, verdict: Verdict) -> Case {
    Case { name: name.into(), recipe, verdict }
}
