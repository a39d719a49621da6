//! Which of several builds of an image is wanted.

use std::fmt;

/// Operating system, processor and its variant, in the words of Go: `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `riscv64`, …
    pub architecture: String,
    /// `v7` of `arm`, `v3` of `amd64`; none means the base of the architecture.
    pub variant: Option<String>,
}

impl Platform {
    /// A platform without a variant.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: None }
    }

    /// What this program was built for.
    pub fn of_machine() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some(if cfg!(target_feature = "v7") { "v7" } else { "v6" })),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "powerpc64" => ("ppc64", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self { variant: variant.map(Into::into), ..Self::new(std::env::consts::OS, architecture) }
    }

    /// How well an image for `offered` serves here: 0 is best, `None` not at all.
    ///
    /// Variants that are numbered (`v8`, `v7`, …) run what was built for lower
    /// ones; a missing variant is the lowest.
    pub fn distance(&self, offered: &Self) -> Option<u32> {
        let same = self.os == offered.os && self.architecture == offered.architecture;
        let (wanted, offered) = (self.normal_variant(), offered.normal_variant());
        match (wanted, offered) {
            _ if !same => None,
            _ if wanted == offered => Some(0),
            (Some(wanted), Some(offered)) => number(wanted)?.checked_sub(number(offered)?),
            (Some(wanted), None) => Some(number(wanted).unwrap_or(1)),
            (None, Some(_)) => None,
            (None, None) => Some(0),
        }
    }

    /// The variant, unless it is the one that the architecture starts with.
    fn normal_variant(&self) -> Option<&str> {
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        match (self.architecture.as_str(), variant) {
            ("arm64", Some("8" | "v8")) | ("amd64", Some("v1")) => None,
            (_, variant) => variant,
        }
    }
}

fn number(variant: &str) -> Option<u32> {
    variant.strip_prefix('v').unwrap_or(variant).parse().ok()
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/');
        let mut next = || parts.next().map(str::to_owned);
        Platform { os: next().unwrap(), architecture: next().unwrap(), variant: next() }
    }

    #[test]
    fn lower_variants_serve_and_nearer_ones_serve_better() {
        for (wanted, offered, distance) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v1", Some(0)),
            ("linux/amd64", "linux/amd64/v3", None),
            ("linux/amd64/v3", "linux/amd64/v2", Some(1)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64/v8", "linux/arm64", Some(0)),
            ("linux/arm/v7", "linux/arm/v7", Some(0)),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v7", "linux/arm/v5", Some(2)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v7", "linux/arm", Some(7)),
            ("linux/arm/odd", "linux/arm/v5", None),
        ] {
            assert_eq!(
                platform(wanted).distance(&platform(offered)),
                distance,
                "{wanted} {offered}"
            );
        }
    }

    #[test]
    fn the_machine_serves_itself() {
        let machine = Platform::of_machine();
        assert_eq!(machine.distance(&machine), Some(0));
        assert_eq!(machine.os, "linux");
    }
}
