//! The `tickwire` command.
//!
//! Exit status: 0 done, 1 failed while running, 2 wrong command line or configuration, 3 recordings were read to their end
//! and not all of them could be used.

mod admin;
mod arguments;
mod bus_flags;
mod cli;
mod config;
mod demo;
mod doctor;
mod dry_run;
mod export;
mod gateway;
mod incomplete;
mod ingest;
mod inspect;
mod live;
mod logs;
mod printing;
mod record;
mod recorded;
mod stop;
mod tap;
mod token;
mod top;
#[cfg(feature = "otel")]
mod traces;
mod trust;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use printing::{complain, say};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("error: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    logs::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("error: {error:#}"));
            let is_usage = error.downcast_ref::<tickwire_config::ConfigErrors>().is_some()
                || error.downcast_ref::<cli::Usage>().is_some();
            let is_incomplete = error.downcast_ref::<incomplete::Incomplete>().is_some();
            ExitCode::from(if is_usage {
                2
            } else if is_incomplete {
                3
            } else {
                1
            })
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Config(command) => {
            if command.print_default {
                say(config::template().trim_end());
                return Ok(());
            }
            let config = cli.settings.load(&[])?;
            let shown = toml::to_string(&config.raw.without_secrets())?;
            say(if command.json {
                serde_json::to_string_pretty(&config.raw.without_secrets())?
            } else {
                shown
            });
            Ok(())
        }
        Command::Doctor(command) => {
            cli.settings.load(&[])?;
            doctor::run(command).await
        }
        Command::Demo(command) => demo::run(&cli.settings, command).await,
        Command::Export { arguments } => Err(export::run(&arguments)),
        Command::Gateway(command) => gateway::run(&cli.settings, command).await,
        Command::Ingest(command) => Box::pin(ingest::run(&cli.settings, command)).await,
        Command::Inspect(command) => inspect::run(&cli.settings, command).await,
        Command::Record(command) => record::run(&cli.settings, command).await,
        Command::SimVenue(command) => {
            cli.settings.load(&[])?;
            live::simulate(command).await
        }
        Command::Tap(command) => tap::run(&cli.settings, command).await,
        Command::Token(command) => token::run(command),
        Command::Revoke(command) => token::revoke(&cli.settings, command).await,
        Command::Top(command) => top::run(command).await,
    }
}
