//! `hearth demo`: three homeservers on this machine, each a process of its own with its own data, found by real mDNS on
//! the loopback interface, so that it bothers nobody.
//!
//! Everything that it prints it has checked. It goes through the client API alone, as any Matrix client would, but for the
//! switch that takes a node off the network. Two more phones then chat through Hearth's own encrypted client.

mod phone;
mod report;
mod secret;
mod story;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;

use self::{report::Report, story::tell};

/// The whole story takes a few seconds. If it takes longer than this, something is broken.
const TIME_MAX: Duration = Duration::from_secs(90);

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Keep the phones' data in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What unmodified clients do, and then what Hearth's own does.
async fn both(data: &Path, report: &mut Report) -> Result<()> {
    tell(data, report).await?;
    secret::tell(data, report).await
}

pub(crate) async fn demo(arguments: &DemoArguments) -> Result<ExitCode> {
    let temporary = tempfile::tempdir().context("no temporary directory")?;
    let data = arguments.data.clone().unwrap_or_else(|| temporary.path().to_owned());
    let mut report = Report::new(!arguments.json);
    let told = tokio::time::timeout(TIME_MAX, both(&data, &mut report)).await;
    match told {
        Ok(Ok(())) => {}
        Ok(Err(error)) => report.failed(&format!("{error:#}")),
        Err(_) => report.failed(&format!("the story did not end within {TIME_MAX:?}")),
    }
    report.finish(arguments.json)?;
    Ok(if report.is_true() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
