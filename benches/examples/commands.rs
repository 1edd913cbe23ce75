//! Commands of one client, for counting instructions: run it by `scripts/instructions.sh`.
//!
//! It takes two arguments, the task and how many instruments there are. It sets the scene, then does the task inside
//! `Commands::counted`, the only function whose instructions count, and prints how many units of work that was.

use std::io::Write as _;

use tickwire_benches::command_scene::{Commands, Task};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let instruments = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let Some(task) = Task::ALL.into_iter().find(|task| task.name() == name) else {
        let names = Task::ALL.map(Task::name).join(", ");
        let said = format!("there is no task `{name}`; there are {names}\n");
        std::io::stderr().write_all(said.as_bytes()).ok();
        std::process::exit(2);
    };
    let mut scene = Commands::new(task, instruments);
    let said = format!("{}\n", scene.counted());
    std::io::stdout().write_all(said.as_bytes()).ok();
}
