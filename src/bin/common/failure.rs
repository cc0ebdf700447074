//! How both programs end when something went wrong.

use std::process::ExitCode;

use anyhow::{Error, Result};

/// Success, or the error on the standard error and exit code 1.
pub fn exit_code(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", said_once(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes in one line; causes that a message tells already are left out.
fn said_once(error: &Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.contains(&cause) {
        true => said,
        false if said.is_empty() => cause,
        false => format!("{said}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_is_said_twice() {
        let error = Error::msg("no such file").context("a.onnx: no such file").context("cannot patch");
        assert_eq!(said_once(&error), "cannot patch: a.onnx: no such file");
    }
}
