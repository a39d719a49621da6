//! `build-image`

pub(crate) fn run(_: &crate::args::BuildImage, _: bool) -> anyhow::Result<u8> {
    anyhow::bail!("not yet")
}
