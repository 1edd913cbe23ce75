//! `tickwire top`: the sessions of a gateway, worst first, as they are now.

mod look;
mod model;
mod view;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use crossterm::event::{Event, EventStream, KeyCode, KeyEventKind, KeyModifiers};
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::printing::say;
use crate::stop;
use crate::trust::TrustFlags;
use look::look;
use model::Model;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tickwire top\n  tickwire top http://10.0.0.7:7401 --every 5s\n  \
    tickwire top https://gateway-1:7401 --ca-file ca.pem --token-file admin.token\n  \
    tickwire top --json | jq '.sessions[0]'")]
pub(crate) struct TopCommand {
    /// The admin listener of a gateway; https:// where gateway.tls.admin is set there
    #[arg(default_value = "http://127.0.0.1:7401", value_name = "URL")]
    url: String,
    /// The most sessions that are shown
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// The time between two looks, as in 500ms or 2s
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = period)]
    every: Duration,
    /// A file with the token that the admin listener asks for (gateway.admin_token_file there)
    #[arg(long, value_name = "FILE", env = "TICKWIRE_ADMIN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustFlags,
    /// Look once, print a table, and end; so it does where standard output is no terminal
    #[arg(long)]
    once: bool,
    /// Look once, and print JSON
    #[arg(long)]
    json: bool,
}

fn period(text: &str) -> Result<Duration, String> {
    let period = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_millis(100)..=Duration::from_mins(1);
    if bounds.contains(&period) { Ok(period) } else { Err("it is from 100ms to 1m".to_owned()) }
}

/// Looks at the gateway until the user has seen enough.
///
/// # Errors
/// A URL that is none, or a gateway that does not answer at the first look.
pub(crate) async fn run(command: TopCommand) -> anyhow::Result<()> {
    let admin = Admin::new(&command.url, command.token_file.as_deref(), &command.trust)?;
    let mut model = Model::new(command.limit as usize);
    let stop = stop::on_signal()?;
    model.take(look(&admin).await?);
    let is_once = command.json || command.once || !std::io::stdout().is_terminal();
    if !is_once {
        return watch(&admin, &mut model, &command, &stop).await;
    }
    // Rates are differences of two looks.
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = tokio::time::sleep(command.every) => {}
    }
    model.take(look(&admin).await?);
    if command.json {
        say(serde_json::to_string_pretty(&model.report())?);
    } else {
        say(view::text(&model));
    }
    Ok(())
}

/// Shows the table in place. A look that fails is told at the bottom, and the next one may succeed.
async fn watch(
    admin: &Admin,
    model: &mut Model,
    command: &TopCommand,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let mut keys = EventStream::new();
    let mut ticks = tokio::time::interval(command.every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut first, mut trouble) = (0_usize, None);
    let outcome = loop {
        let drawn = terminal.draw(|frame| {
            first = view::draw(frame, model, &command.url, trouble.as_deref(), first);
        });
        if let Err(error) = drawn {
            break Err(error.into());
        }
        let pressed = tokio::select! {
            () = stop.cancelled() => break Ok(()),
            _ = ticks.tick() => {
                match look(admin).await {
                    Ok(look) => {
                        model.take(look);
                        trouble = None;
                    }
                    Err(error) => trouble = Some(format!("{error:#}")),
                }
                continue;
            }
            pressed = keys.next() => pressed,
        };
        let Some(Ok(Event::Key(key))) = pressed else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => break Ok(()),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => break Ok(()),
            KeyCode::Up => first = first.saturating_sub(1),
            KeyCode::Down => first += 1,
            KeyCode::PageUp => first = first.saturating_sub(20),
            KeyCode::PageDown => first += 20,
            KeyCode::Home => first = 0,
            _ => {}
        }
    };
    ratatui::restore();
    outcome
}
