//! Runs a check or a reload of a file, and says how it failed.

use std::path::Path;
use std::time::Duration;

use crate::lifecycle::process;
use crate::model::limits;

use super::error::CommandError;

/// Runs `argv` to its end and gives the end of what it said. In each argument `{staged}` stands for
/// the path of the staged file. At the time limit the command dies with all its children.
pub(super) async fn run(
    argv: &[String],
    staged: Option<&Path>,
    limit: Duration,
) -> Result<String, CommandError> {
    let argv: Vec<String> = argv.iter().map(|arg| substitute(arg, staged)).collect();
    let command = argv.join(" ");
    let ended = match process::run(&argv, limit, limits::COMMAND_OUTPUT).await {
        Ok(ended) => ended,
        Err(error) => {
            let program = argv.into_iter().next().unwrap_or_default();
            return Err(CommandError::Start { program, error });
        }
    };
    let output = ended.said.into_text().trim().to_owned();
    match ended.status {
        Some(status) if status.success() => Ok(output),
        Some(status) => Err(CommandError::Status { command, status: status.to_string(), output }),
        None => Err(CommandError::TimedOut { command, seconds: limit.as_secs(), output }),
    }
}

fn substitute(argument: &str, staged: Option<&Path>) -> String {
    match staged {
        Some(path) => argument.replace("{staged}", &path.to_string_lossy()),
        None => argument.to_owned(),
    }
}
