//! The binary `sembla`: reads the command line, runs one command, and turns its end into words and
//! an exit code.
//!
//! Results go to standard output and everything else to standard error. What the commands do is in
//! the modules beside this one; what SQL and models are is in other crates.

mod allocator;
mod args;
mod bench;
mod distil;
mod embed;
mod eval;
mod failure;
mod finding_flags;
mod findings;
mod interrupt;
mod manual;
mod model_flags;
mod models;
mod pages;
mod progress;
mod query;
mod scan;
mod shell;
mod signal_code;
mod statements;
mod stream;
mod terminal;
mod train;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tracing_subscriber::EnvFilter;

use args::{BenchCommand, Cli, Command, SessionArgs, SqlArgs};
use failure::{Failure, Result, exit_code, one_line};
use interrupt::Interrupt;
use sembla_jobs::input::all_columns;

fn main() -> ExitCode {
    allocator::share_arenas();
    let result = parse().and_then(|cli| {
        sembla_processor::check().map_err(|error| Failure::user(error.to_string()))?;
        trace(cli.verbose);
        run(cli.command)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("{message}");
            }
            if matches!(failure, Failure::Interrupted(_)) {
                // Threads may still be inside a model that an orderly end would wait for.
                interrupt::end_at_once(signal_code::get());
            }
            exit_code(&failure)
        }
    }
}

/// Reads the command line. Help and version are printed here, and end the process.
fn parse() -> Result<Cli> {
    Cli::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ => {
            let text = error.to_string();
            let text = text.split("\n\nUsage:").next().unwrap_or(&text);
            let text = text.split("\n\nFor more information").next().unwrap_or(text);
            let line = one_line(text.replace("\n\n  tip:", ";"));
            let line = line.strip_prefix("error: ").unwrap_or(&line);
            Failure::user(format!("{line} (see --help)"))
        }
    })
}

/// Shows a line that the user should see.
fn notice(text: &str) {
    eprintln!("{text}");
}

/// Sends what the crates tell of their work to standard error. What ONNX Runtime logs comes back as
/// an error too, or as a stop that was asked for, so it is for those who look for a fault.
fn trace(verbose: u8) {
    let level = match verbose {
        0 => "warn,ort=off",
        1 => {
            "sembla=info,sembla_jobs=info,sembla_models=info,sembla_sql=info,sembla_runtime=info,sembla_connectors=info,warn,ort=off"
        }
        _ => {
            "sembla=debug,sembla_jobs=debug,sembla_models=debug,sembla_sql=debug,sembla_runtime=debug,sembla_connectors=debug,info"
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

/// Runs a command.
fn run(command: Option<Command>) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    match command {
        Some(Command::Embed(args)) => embed::run(&args, &interrupt),
        Some(Command::Search(mut args)) => {
            all_columns(&args.finding.input.inputs, &mut args.carry.columns, &notice)?;
            block_on(|| findings::search::run(&args, &interrupt))
        }
        Some(Command::Mine(args)) => block_on(|| findings::mine::run(&args, &interrupt)),
        Some(Command::Dedup(mut args)) => {
            all_columns(&args.finding.input.inputs, &mut args.carry.columns, &notice)?;
            block_on(|| findings::dedup::run(&args, &interrupt))
        }
        Some(Command::Cluster(mut args)) => {
            all_columns(&args.finding.input.inputs, &mut args.carry.columns, &notice)?;
            block_on(|| findings::groups::cluster(&args, &interrupt))
        }
        Some(Command::Topics(mut args)) => {
            all_columns(&args.finding.input.inputs, &mut args.carry.columns, &notice)?;
            block_on(|| findings::groups::topics(&args, &interrupt))
        }
        Some(Command::Rerank(mut args)) => {
            all_columns(&args.finding.input.inputs, &mut args.carry.columns, &notice)?;
            block_on(|| findings::rerank::run(&args, &interrupt))
        }
        Some(Command::Train(args)) => block_on(|| train::run(&args, &interrupt)),
        Some(Command::Distil(args)) => block_on(|| distil::run(&args, &interrupt)),
        Some(Command::Eval(args)) => block_on(|| eval::run(&args, &interrupt)),
        Some(Command::EvalModel) => block_on(|| eval::worker::run(&interrupt)),
        Some(Command::Models(command)) => block_on(|| models::run(&command, &interrupt)),
        Some(Command::Bench(BenchCommand::Embed(args))) => bench::run(&args, &interrupt),
        Some(Command::Bench(BenchCommand::Kernels)) => bench::kernels::run(&interrupt),
        Some(Command::Completions(args)) => manual::completions(&args),
        Some(Command::Man(args)) => manual::man(&args),
        Some(Command::Pages(args)) => pages::run(&args),
        Some(Command::Sql(args)) => block_on(|| query::run(&args, &interrupt)),
        Some(Command::Run(args)) => block_on(|| stream::run(&args, &interrupt)),
        Some(Command::Shell(args)) => block_on(|| shell::run(&args, &interrupt)),
        None if std::io::stdin().is_terminal() => {
            let args = SessionArgs::default();
            block_on(|| shell::run(&args, &interrupt))
        }
        None => {
            let args = SqlArgs::default();
            block_on(|| query::run(&args, &interrupt))
        }
    }
}

/// Runs asynchronous work to its end. Threads that are still busy then are not waited for.
fn block_on<F: Future<Output = Result<()>>>(work: impl FnOnce() -> F) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("starting threads: {error}")))?;
    let result = runtime.block_on(work());
    runtime.shutdown_background();
    result
}
