//! The tables below `[storage.options]`.

use serde::Deserialize;

use super::list::List;
use super::replace;

/// The table `storage.options.pull_options`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullOptions {
    /// Pull by the TOC; `None` where no file says so.
    pub enable_partial_images: Option<bool>,
    /// Share whole files by hard links.
    pub use_hard_links: bool,
    /// Make every layer a chunked one.
    pub convert_images: bool,
}

/// Options of the overlay driver, from `storage.options.overlay`, from the same names
/// right below `storage.options`, or from `STORAGE_OPTS`, which replaces both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverOptions {
    /// Options of every mount: `nodev,metacopy=on`.
    pub mount_options: Option<String>,
    /// A program that mounts in place of the kernel.
    pub mount_program: Option<String>,
    /// Modes that files have on disk, whatever the layer says; octal, `shared` or `private`.
    pub force_mask: Option<String>,
    /// Go on where an owner cannot be set.
    pub ignore_chown_errors: bool,
    /// Keep layers as composefs.
    pub use_composefs: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    additionalimagestores: Option<List>,
    #[serde(rename = "pull_options")]
    pull: Option<PullTable>,
    overlay: Option<DriverTable>,
    #[serde(flatten)]
    general: DriverTable,
}

/// Values are text; true is any spelling of `true`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PullTable {
    enable_partial_images: Option<String>,
    use_hard_links: Option<String>,
    convert_images: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DriverTable {
    mountopt: Option<String>,
    mount_program: Option<String>,
    force_mask: Option<Text>,
    ignore_chown_errors: Option<String>,
    use_composefs: Option<String>,
}

/// A value that some write as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Text(String),
    Number(u32),
}

impl Options {
    /// Takes over what a more important file says.
    pub(super) fn overlay(&mut self, other: Self) {
        if let Some(stores) = other.additionalimagestores {
            self.additionalimagestores.get_or_insert_default().overlay(stores);
        }
        if let Some(pull) = other.pull {
            let mine = self.pull.get_or_insert_default();
            replace(&mut mine.enable_partial_images, pull.enable_partial_images);
            replace(&mut mine.use_hard_links, pull.use_hard_links);
            replace(&mut mine.convert_images, pull.convert_images);
        }
        if let Some(overlay) = other.overlay {
            self.overlay.get_or_insert_default().overlay(overlay);
        }
        self.general.overlay(other.general);
    }

    /// `storage_opts` is the variable of that name, if it is set.
    pub(super) fn resolve(
        self,
        storage_opts: Option<&str>,
    ) -> (Vec<String>, PullOptions, DriverOptions) {
        let pull = self.pull.unwrap_or_default().resolve();
        if let Some(text) = storage_opts {
            let (stores, driver) = of_variable(text);
            return (stores, pull, driver);
        }
        let mut driver = self.general;
        driver.overlay(self.overlay.unwrap_or_default());
        let stores = self.additionalimagestores.unwrap_or_default().items;
        (stores, pull, driver.resolve())
    }
}

impl PullTable {
    fn resolve(self) -> PullOptions {
        PullOptions {
            enable_partial_images: self.enable_partial_images.as_deref().map(is_true),
            use_hard_links: self.use_hard_links.as_deref().is_some_and(is_true),
            convert_images: self.convert_images.as_deref().is_some_and(is_true),
        }
    }
}

impl DriverTable {
    fn overlay(&mut self, other: Self) {
        replace(&mut self.mountopt, other.mountopt);
        replace(&mut self.mount_program, other.mount_program);
        replace(&mut self.force_mask, other.force_mask);
        replace(&mut self.ignore_chown_errors, other.ignore_chown_errors);
        replace(&mut self.use_composefs, other.use_composefs);
    }

    fn resolve(self) -> DriverOptions {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let mask = self.force_mask.map(|mask| match mask {
            Text::Text(text) => text,
            Text::Number(number) => format!("{number:o}"),
        });
        DriverOptions {
            mount_options: filled(self.mountopt),
            mount_program: filled(self.mount_program),
            force_mask: filled(mask),
            ignore_chown_errors: self.ignore_chown_errors.as_deref().is_some_and(is_true),
            use_composefs: self.use_composefs.as_deref().is_some_and(is_true),
        }
    }
}

/// Options as `[overlay.]name=value`, between commas; those of other drivers are skipped.
fn of_variable(text: &str) -> (Vec<String>, DriverOptions) {
    let mut stores = Vec::new();
    let mut table = DriverTable::default();
    for option in text.split(',') {
        let Some((name, value)) = option.split_once('=') else { continue };
        let name = ["overlay.", "overlay2.", "."]
            .iter()
            .find_map(|prefix| name.trim().strip_prefix(prefix))
            .unwrap_or(name.trim());
        let value = value.to_owned();
        match name {
            "imagestore" | "additionalimagestore" => stores.push(value),
            "mountopt" => table.mountopt = Some(value),
            "mount_program" => table.mount_program = Some(value),
            "force_mask" => table.force_mask = Some(Text::Text(value)),
            "ignore_chown_errors" => table.ignore_chown_errors = Some(value),
            "use_composefs" => table.use_composefs = Some(value),
            _ => {}
        }
    }
    (stores, table.resolve())
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}
