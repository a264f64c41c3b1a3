//! A program that does nothing but say that it has started. The benchmark builds it static, so that what is measured is the start of a
//! process and not the loading of libraries.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match strait_bench_starter::start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("strait-bench-starter: {error}");
            ExitCode::FAILURE
        }
    }
}
