//! What a token is asked for.

/// What is going to be done at a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
    /// Push, and take blobs over from another repository of the registry.
    Mount {
        from: String,
    },
}

impl Access {
    /// As token services write it.
    pub(super) fn scopes(&self, repository: &str) -> Vec<String> {
        let pull = |repository: &str| format!("repository:{repository}:pull");
        let push = || format!("{},push", pull(repository));
        match self {
            Self::Pull => vec![pull(repository)],
            Self::Push => vec![push()],
            Self::Mount { from } => vec![push(), pull(from)],
        }
    }
}
