//! Debian archives that this machine can reach.
//!
//! The machine's own sources tell which mirror it uses; nobody else's are
//! assumed. Where it has none, debootstrap's default serves.

use std::fs;
use std::path::{Path, PathBuf};

/// One archive: where it is, and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Archive {
    uri: String,
    suites: Vec<String>,
}

/// The archives to take Debian from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archives {
    main: Option<String>,
    security: Option<String>,
}

impl Archives {
    /// Of this machine.
    pub(super) fn of_host() -> Self {
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        let parts = Path::new("/etc/apt/sources.list.d").read_dir().into_iter().flatten();
        files.extend(parts.flatten().map(|entry| entry.path()));
        files.sort();
        let read = |file: &PathBuf| {
            let text = fs::read_to_string(file).ok()?;
            let deb822 = file.extension().is_some_and(|extension| extension == "sources");
            Some(if deb822 { stanzas(&text) } else { lines(&text) })
        };
        Self::among(&files.iter().filter_map(read).flatten().collect::<Vec<_>>())
    }

    fn among(archives: &[Archive]) -> Self {
        let debian = archives
            .iter()
            .filter(|archive| archive.uri.contains("debian") && archive.uri.starts_with("http"));
        let first = |security: bool| {
            let is_security = |suite: &String| suite.contains("-security");
            debian
                .clone()
                .find(|archive| archive.suites.iter().any(is_security) == security)
                .map(|archive| archive.uri.trim_end_matches('/').to_owned())
        };
        Self { main: first(false), security: first(true) }
    }

    /// The main archive, as debootstrap's last argument.
    pub(super) fn mirror(&self) -> Option<&str> {
        self.main.as_deref()
    }

    /// Lines of a sources.list for a release with its updates, given what debootstrap wrote.
    pub(super) fn with_updates(&self, release: &str, written: &str) -> String {
        let base = lines(written).into_iter().next().map(|archive| archive.uri).unwrap_or_default();
        let base = base.trim_end_matches('/');
        // Every full mirror has the security archive beside the main one.
        let beside = format!("{base}-security");
        let security = self.security.as_deref().unwrap_or(&beside);
        format!(
            "deb {base} {release} main\ndeb {base} {release}-updates main\n\
             deb {security} {release}-security main\n"
        )
    }
}

/// `deb [options] uri suite component …`
fn lines(text: &str) -> Vec<Archive> {
    let archive = |line: &str| {
        let line = line.trim().strip_prefix("deb ")?.trim_start();
        let line = match line.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => line,
        };
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Archive { uri: words.next()?, suites: vec![words.next()?] })
    };
    text.lines().filter_map(archive).collect()
}

/// Stanzas of `Types:`, `URIs:`, `Suites:`.
fn stanzas(text: &str) -> Vec<Archive> {
    let archive = |stanza: &str| {
        let field = |name: &str| {
            let value = stanza.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        if !field("Types:")?.contains(&"deb".into()) {
            return None;
        }
        Some(Archive { uri: field("URIs:")?.into_iter().next()?, suites: field("Suites:")? })
    };
    text.split("\n\n").filter_map(archive).collect()
}

#[cfg(test)]
mod tests {
    use super::{Archives, lines, stanzas};

    const STANZAS: &str = "Types: deb\n# comment\nURIs: http://mirror.example/debian/\n\
        Suites: bookworm bookworm-updates\nComponents: main\n\n\
        Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\n";

    #[test]
    fn both_forms_of_sources_are_read() {
        let expected = Archives {
            main: Some("http://mirror.example/debian".into()),
            security: Some("http://mirror.example/debian-security".into()),
        };
        assert_eq!(Archives::among(&stanzas(STANZAS)), expected);
        let list = "# old form\ndeb [arch=amd64] http://mirror.example/debian bookworm main\n\
            deb-src http://other.example/debian bookworm main\n\
            deb http://mirror.example/debian-security bookworm-security main\n";
        assert_eq!(Archives::among(&lines(list)), expected);
    }

    #[test]
    fn other_archives_are_not_debian() {
        let list = "deb https://packages.example/tool stable main\n";
        assert_eq!(Archives::among(&lines(list)), Archives { main: None, security: None });
    }

    #[test]
    fn the_security_archive_is_beside_the_main_one() {
        let archives = Archives { main: None, security: None };
        let text = archives.with_updates("bookworm", "deb http://a.example/debian bookworm main\n");
        assert!(text.ends_with("deb http://a.example/debian-security bookworm-security main\n"));
    }
}
