//! `sembla bench kernels`: what the innermost loops reach on this processor, at each level of
//! instructions, beside loops that never leave the registers.
//!
//! One core is measured, in processor time of this thread, so that other programs' turns don't
//! count. The best of several rounds does, because whatever else the machine does can only slow a
//! round down.

use std::io::Write;

use sembla_models::CancelToken;
use sembla_processor::Level;
use sembla_processor::bench::{Kernel, Peak, peak, thread_seconds};

use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;

/// Rounds of each kernel.
const ROUNDS: usize = 5;

/// Seconds that a round lasts at least.
const ROUND_SECONDS: f64 = 0.02;

/// Columns of the first column of the tables, and of the others.
const NAME_WIDTH: usize = 30;
const CELL_WIDTH: usize = 16;

/// What a kernel reaches at one level, in operations a second.
struct Measured {
    name: &'static str,
    peak: Option<Peak>,
    rate: f64,
}

/// Runs the command.
///
/// # Errors
/// On Ctrl-C, or when standard output is closed.
pub(crate) fn run(interrupt: &Interrupt) -> Result<()> {
    let guard = interrupt.guard(CancelToken::new());
    let levels: Vec<Level> =
        Level::available().into_iter().filter(|level| *level <= Level::active()).collect();
    let mut columns = Vec::with_capacity(levels.len());
    for level in &levels {
        let mut kernels: Vec<Kernel> =
            [Peak::Floats, Peak::Bytes].into_iter().filter_map(|kind| peak(kind, *level)).collect();
        kernels.extend(sembla_models::bench::kernels(*level));
        kernels.extend(sembla_operators::bench::kernels(*level));
        let mut column = Vec::with_capacity(kernels.len());
        for mut kernel in kernels {
            guard.token().check()?;
            let rate = measure(&mut kernel);
            column.push(Measured { name: kernel.name, peak: kernel.peak, rate });
        }
        columns.push(column);
    }
    let mut out = std::io::stdout().lock();
    let table = format!("{}\n{}", processor(), table(&levels, &columns));
    writeln!(out, "{table}").map_err(|error| Failure::output(&error))
}

/// Operations a second of the best round, after one call that warms up.
fn measure(kernel: &mut Kernel) -> f64 {
    (kernel.run)();
    let rate = |_| {
        let (begun, mut passed, mut calls) = (thread_seconds(), 0.0, 0_u32);
        while passed < ROUND_SECONDS {
            (kernel.run)();
            calls += 1;
            passed = thread_seconds() - begun;
        }
        f64::from(calls) * kernel.operations / passed
    };
    (0..ROUNDS).map(rate).fold(0.0, f64::max)
}

/// The name of the processor, where the system tells it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    format!("{}, one core", name.unwrap_or(std::env::consts::ARCH))
}

/// Two tables: what is counted in operations, and what is counted in values.
fn table(levels: &[Level], columns: &[Vec<Measured>]) -> String {
    let mut lines = vec![heading("Gop/s (share of the peak)", levels)];
    let names = |counted: bool| {
        let mut names: Vec<&str> = Vec::new();
        let all = columns.iter().flatten().filter(|row| row.peak.is_some() == counted);
        all.for_each(|row| {
            if !names.contains(&row.name) {
                names.push(row.name);
            }
        });
        names
    };
    lines.extend(names(true).into_iter().map(|name| line(name, columns, share_of_peak)));
    lines.push(String::new());
    lines.push(heading("million values/s", levels));
    let values = |row: &Measured, _: &[Measured]| format!("{:.0}", row.rate / 1e6);
    lines.extend(names(false).into_iter().map(|name| line(name, columns, values)));
    lines.join("\n")
}

fn heading(what: &str, levels: &[Level]) -> String {
    let cells = levels.iter().map(|level| format!("{:>CELL_WIDTH$}", level.to_string()));
    format!("{what:<NAME_WIDTH$}{}", cells.collect::<String>())
}

/// A kernel's line: a cell per level, empty where the level has no such kernel.
fn line(
    name: &str,
    columns: &[Vec<Measured>],
    cell: impl Fn(&Measured, &[Measured]) -> String,
) -> String {
    let cells = columns.iter().map(|column| {
        let row = column.iter().find(|row| row.name == name);
        format!("{:>CELL_WIDTH$}", row.map(|row| cell(row, column)).unwrap_or_default())
    });
    format!("{name:<NAME_WIDTH$}{}", cells.collect::<String>())
}

/// A rate, and what share of the column's peak it is. Peaks come first in a column.
fn share_of_peak(row: &Measured, column: &[Measured]) -> String {
    let peak = column.iter().find(|other| other.peak == row.peak);
    match peak.filter(|peak| peak.name.starts_with("peak")) {
        Some(peak) if peak.name != row.name => {
            format!("{:.1} ({:.0} %)", row.rate / 1e9, 100.0 * row.rate / peak.rate)
        }
        _ => format!("{:.1}        ", row.rate / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_stand_beside_the_peak_of_their_level() {
        let row = |name, peak, rate| Measured { name, peak, rate };
        let wide = vec![
            row("peak of f32", Some(Peak::Floats), 200e9),
            row("product", Some(Peak::Floats), 150e9),
            row("sum", None, 3e9),
        ];
        let plain = vec![row("product", Some(Peak::Floats), 2e9), row("sum", None, 1e9)];
        let level = Level::available()[0];
        let text = table(&[level, level], &[plain, wide]);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec!["peak", "of", "f32", "200.0"]), "{text}");
        assert!(lines.contains(&vec!["product", "2.0", "150.0", "(75", "%)"]), "{text}");
        assert!(lines.contains(&vec!["sum", "1000", "3000"]), "{text}");
    }

    #[test]
    fn a_kernel_s_rate_counts_its_operations() {
        let mut calls = 0;
        let mut kernel = Kernel {
            name: "nothing",
            peak: None,
            operations: 7.0,
            run: Box::new(move || calls = std::hint::black_box(calls + 1)),
        };
        assert!(measure(&mut kernel) > 0.0);
    }
}
