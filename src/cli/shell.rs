//! `tickcast completions` and `tickcast man`: what a package installs beside the binary.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use roff::{Roff, roman};

use super::Cli;

/// Shown by `completions --help`.
pub const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  tickcast completions bash > ~/.local/share/bash-completion/completions/tickcast
  tickcast completions zsh > ~/.zfunc/_tickcast            with ~/.zfunc in fpath, before compinit
  tickcast completions fish > ~/.config/fish/completions/tickcast.fish
  source <(tickcast completions bash)                      for this shell alone

Manual pages: `tickcast man --help`.";

/// Shown by `man --help`.
pub const MAN_EXAMPLES: &str = "\
Examples:
  tickcast man --out ~/.local/share/man/man1               then: man tickcast-tail
  tickcast man --out debian/tickcast/usr/share/man/man1    in a package's build

Writes tickcast.1 and a page for each command, and prints their paths. The directory is made where there is none.";

/// `completions`' arguments.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// `man`'s flags.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where to write the pages
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The pages could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write manual pages to {directory}: {source}")]
pub struct NotWritten {
    directory: String,
    source: io::Error,
}

/// The script that completes our command line.
#[must_use]
pub fn completions(args: &CompletionsArgs) -> String {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tickcast", &mut script);
    String::from_utf8(script).expect("clap writes what we wrote, which is UTF-8")
}

/// Writes the manual pages; their paths, one a line.
///
/// # Errors
/// [`NotWritten`].
pub fn man(args: &ManArgs) -> Result<String, NotWritten> {
    write_pages(&args.out)
        .map_err(|source| NotWritten { directory: args.out.display().to_string(), source })
        .map(|paths| paths.iter().map(|path| format!("{}\n", path.display())).collect())
}

/// Every command's page, hidden ones left out; those of commands within commands too.
fn write_pages(directory: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(directory)?;
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let mut paths = Vec::new();
    let mut waiting = vec![cli];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
        let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let page = clap_mangen::Man::new(command.after_help(None::<&str>));
        let page = page.source(concat!("tickcast ", env!("CARGO_PKG_VERSION")));
        let path = directory.join(page.get_filename());
        let mut text = Vec::new();
        page.render(&mut text)?;
        write_notes(&notes).to_writer(&mut text)?;
        std::fs::write(&path, text)?;
        paths.push(path);
    }
    paths.sort();
    Ok(paths)
}

/// What follows a command's help. Indented lines are examples, and stay as they are; others are paragraphs.
fn write_notes(notes: &str) -> Roff {
    let mut page = Roff::new();
    if notes.is_empty() {
        return page;
    }
    page.control("SH", ["NOTES"]);
    let mut is_filled = true;
    for line in notes.lines() {
        let fill = !line.starts_with(' ');
        if fill != is_filled {
            page.control(if fill { "fi" } else { "nf" }, []);
            is_filled = fill;
        }
        if line.is_empty() {
            page.control("PP", []);
        } else {
            page.text([roman(line)]);
        }
    }
    if !is_filled {
        page.control("fi", []);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_stay_on_their_lines_and_paragraphs_are_filled() {
        let page = write_notes("Examples:\n  tickcast tail A  # x\n  .hidden\n\nOne\ntwo.").to_roff();
        let expected = ".SH NOTES\nExamples:\n.nf\n  tickcast tail A  # x\n  .hidden\n.fi\n.PP\nOne\ntwo.\n";
        assert_eq!(page, expected);
    }
}
