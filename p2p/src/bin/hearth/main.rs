//! `hearth`: a homeserver in a terminal, its status, and a demonstration of three of them.
//!
//! Exit codes: 0 for success, 1 when a demonstration shows something that is not so, 2 when something cannot be done, with
//! one sentence on standard error that says what and why.
#![forbid(unsafe_code)]

mod chat;
mod demo;
mod id;
mod local;
mod run;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Matrix homeserver that needs no other: phones and laptops on one network find each other and chat.
#[derive(Debug, Parser)]
#[command(name = "hearth", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a homeserver, with its client API on loopback.
    Run(run::RunArguments),
    /// Chat with end-to-end encryption, driven by lines of JSON.
    Chat(chat::ChatArguments),
    /// Print the server's name and a contact.
    Id(id::IdArguments),
    /// Ask a running homeserver how it is.
    Status(status::StatusArguments),
    /// Show three homeservers on this machine: they find each other, chat, lose one, and agree again.
    Demo(demo::DemoArguments),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(async {
            match arguments.command {
                Command::Run(arguments) => run::run(arguments).await.map(|()| ExitCode::SUCCESS),
                Command::Chat(arguments) => chat::chat(arguments).await.map(|()| ExitCode::SUCCESS),
                Command::Id(arguments) => id::id(&arguments).map(|()| ExitCode::SUCCESS),
                Command::Status(arguments) => status::status(&arguments).await.map(|()| ExitCode::SUCCESS),
                Command::Demo(arguments) => demo::demo(&arguments).await,
            }
        }),
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("hearth: {}", sentence(&error));
        ExitCode::from(2)
    })
}

/// The error and its causes in one sentence, each said once: some errors name their cause themselves.
fn sentence(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
    }
    said
}

/// Help goes to standard output as it is; a wrong flag is one sentence like every other refusal.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        print!("{error}");
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprint!("{text}");
        return ExitCode::from(2);
    }
    // Clap writes a paragraph: the first holds the reason, the rest are hints and the usage.
    let reason: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let reason = reason.join(" ");
    eprintln!("hearth: {}; see `hearth --help`", reason.trim_start_matches("error: ").trim_end_matches(':'));
    ExitCode::from(2)
}
