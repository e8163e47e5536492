//! `sembla embed`: a text column of many files, or the files of images, become a column of vectors.
//! The work is [`sembla_jobs::embed`]'s; here it gets its arguments, its progress and its signals.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use sembla_jobs::embed::{
    EmbedJob, EmbedRequest, Embedded, Incremental, estimate, note_run, shown,
};
use sembla_jobs::input::are_images;
use sembla_jobs::numbers::count;
use sembla_jobs::printable::printable;
use sembla_models::CancelToken;

use crate::args::EmbedArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::notice;
use crate::progress::Stages;

/// Runs the command.
///
/// # Errors
/// When the input, the model or the output are not as they should be, or on Ctrl-C.
pub(crate) fn run(args: &EmbedArgs, interrupt: &Interrupt) -> Result<()> {
    let of_images = are_images(&args.inputs)?;
    if args.output == Path::new("-") {
        return Err(Failure::user(
            "vectors are not written to standard output; name a file such as vectors.parquet with -o",
        ));
    }
    let request = request(args, of_images)?;
    if args.dry_run {
        return dry_run(&request, args.json, interrupt);
    }
    let (began, shown) = (SystemTime::now(), shown(&args.output));
    let ended = embed(args, request, &shown, interrupt);
    let Some(folder) = &args.state else { return ended.map(drop) };
    let noted = match &ended {
        Ok(ended) => note_run(folder, began, &shown, Ok(ended.as_ref())),
        Err(failure) => note_run(folder, began, &shown, Err(failure)),
    };
    // What the run itself has failed by is the one to tell.
    ended.and(noted)
}

/// Says what a run would do.
fn dry_run(request: &EmbedRequest, is_json: bool, interrupt: &Interrupt) -> Result<()> {
    let guard = interrupt.guard(CancelToken::new());
    let estimate = estimate(request, &notice, guard.token())?;
    drop(guard);
    eprintln!("{estimate}");
    match is_json {
        true => print_line(&estimate.json()),
        false => Ok(()),
    }
}

fn print_line(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| Failure::output(&error))
}

/// Runs the job. Gives how it ended; `None` where an earlier start had finished it.
fn embed(
    args: &EmbedArgs,
    request: EmbedRequest,
    shown: &str,
    interrupt: &Interrupt,
) -> Result<Option<Embedded>> {
    let of_images = request.of_images;
    let Some(job) = EmbedJob::begin(request, &notice)? else {
        eprintln!("{shown} is already complete");
        return Ok(None);
    };
    if job.resumed_rows() > 0 {
        let of = job.rows().map_or(String::new(), |rows| format!(" of {}", count(rows)));
        eprintln!("resuming after {}{of} rows", count(job.resumed_rows()));
    }
    let column = (!of_images).then(|| job.text_column().to_string());
    let guard = interrupt.guard(CancelToken::new());
    let stages = Stages::new(guard.token());
    let ended = job.run(&stages, guard.token())?;
    drop((guard, stages));
    match &ended {
        Embedded::Written(summary) => {
            for (path, problem) in &summary.unusable {
                notice(&format!("no vector: '{}' {problem}", printable(path)));
            }
            let more = summary.nulls.saturating_sub(summary.unusable.len() as u64);
            if summary.of_images && more > 0 {
                notice(&format!("{} more images have no vector", count(more)));
            }
            eprintln!("{summary}");
            if args.json {
                print_line(&summary.json())?;
            }
            if let Some(ids) = &summary.ids {
                eprintln!("the columns beside the vectors, row for row: {}", ids.display());
            }
            if let Some(column) = column.filter(|_| args.column.is_none()) {
                eprintln!("text: {column}");
            }
        }
        Embedded::NothingNew => eprintln!("{shown} already has every row of the input"),
    }
    Ok(Some(ended))
}

/// What the arguments ask for.
fn request(args: &EmbedArgs, of_images: bool) -> Result<EmbedRequest> {
    Ok(EmbedRequest {
        inputs: args.inputs.clone(),
        output: args.output.clone(),
        column: args.column.clone(),
        output_column: args.output_column.clone(),
        columns: args.columns.clone(),
        prompt: args.prompt.clone(),
        overwrite: args.overwrite,
        only_new: args.only_new.clone(),
        of_images,
        chunk: args.chunk.clone(),
        incremental: {
            let key = args.key.clone().filter(|_| args.incremental);
            key.map(|key| Incremental { key, cleanup: args.cleanup })
        },
        restart: args.restart,
        batch_rows: args.batch_rows,
        part_rows: args.part_rows,
        model: args.model.spec()?,
    })
}
