//! `tickwire doctor`: looks at an installation from outside, step by step, and says in plain words what is wrong.
//!
//! Each step needs the one before it: where one fails, the rest is left out. Nothing is changed anywhere.

mod admin;
mod command;
mod conversation;
mod data;
mod report;
mod rhythm;
mod way;

use tickwire_client::Target;

pub(crate) use self::command::DoctorCommand;
use self::conversation::Conversation;
use self::report::{Report, Status};
use crate::printing::say;

/// Something is wrong with the installation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unwell(String);

/// Looks, and says what it saw.
///
/// # Errors
/// A check that failed.
pub(crate) async fn run(command: DoctorCommand) -> anyhow::Result<()> {
    let mut report = Report::new(!command.json);
    look(&command, &mut report).await;
    admin::look(&command, &mut report).await;
    if command.json {
        say(report.to_json(&command.url));
    }
    let worst = if command.strict { Status::Warning } else { Status::Failure };
    let (bad, all) = (report.count(worst), report.len());
    if bad == 0 {
        Ok(())
    } else {
        Err(Unwell(format!("{bad} of {all} checks say that something is wrong")).into())
    }
}

async fn look(command: &DoctorCommand, report: &mut Report) {
    let target = match Target::parse(&command.url) {
        Ok(target) => target,
        Err(error) => {
            report.failure("url", error, "write it as clients do: ws://HOST:7400/v1/stream, or wss://");
            return;
        }
    };
    let Some(stream) = way::open(command, &target, report).await else { return };
    let Some(mut conversation) = Conversation::open(command, &target, stream, report).await else { return };
    rhythm::look(command, &mut conversation, report).await;
    data::look(command, &mut conversation, report).await;
}
