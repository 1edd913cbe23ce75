//! `tickwire tap`.

use clap::Args;

use crate::cli::Settings;

/// To be filled by the tap branch.
#[derive(Debug, Args)]
pub(crate) struct TapCommand {}

pub(crate) async fn run(_: &Settings, _: TapCommand) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
