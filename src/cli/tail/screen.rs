//! What is shown of what is heard: quotes as lines of a table or as the messages they came in, the rest on standard error.
//!
//! Waits where its [`Output`] does. It does not know connections.

use jiff::Timestamp;

use super::message::Quote;
use super::output::{Output, ReaderGone};
use super::render::{Direction, Look, Table};
use super::session::{News, Weight};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A line for each quote.
    Table,
    /// Each message as it came.
    Json,
}

/// Whether what is no quote is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remarks {
    /// It is.
    Told,
    /// Only what the user has to know.
    Kept,
}

/// Shows.
pub(super) struct Screen {
    output: Output,
    form: Form,
    remarks: Remarks,
    table: Table,
}

impl Screen {
    /// For these symbols.
    pub(super) fn new<'a>(
        output: Output,
        form: Form,
        remarks: Remarks,
        symbols: impl Iterator<Item = &'a str>,
    ) -> Screen {
        Screen { output, form, remarks, table: Table::new(symbols) }
    }

    /// An update; `text` is the message it came in.
    pub(super) async fn quote(&mut self, text: &str, quote: &Quote, direction: Direction) -> Result<(), ReaderGone> {
        match self.form {
            Form::Json => self.raw(text).await,
            Form::Table => {
                let lines = self.table.lines(quote, direction, Timestamp::now(), &self.output.page());
                // a program reads lines of one kind
                if let Some(header) = lines.header.filter(|_| self.output.is_terminal()) {
                    self.output.put(header).await?;
                }
                self.output.put(lines.line).await
            }
        }
    }

    /// News of the service; `text` is the message they came in.
    pub(super) async fn news(&self, text: &str, news: &News) -> Result<(), ReaderGone> {
        match (self.form, self.remarks) {
            (Form::Json, _) => self.raw(text).await,
            (Form::Table, Remarks::Kept) => Ok(()),
            (Form::Table, Remarks::Told) => {
                let look = match news.weight {
                    Weight::Warning => Look::Yellow,
                    Weight::Remark => Look::Dim,
                };
                self.output.tell(news.text.as_deref().unwrap_or(text), look).await
            }
        }
    }

    /// Something about the connection.
    pub(super) async fn remark(&self, text: &str) -> Result<(), ReaderGone> {
        match self.remarks {
            Remarks::Kept => Ok(()),
            Remarks::Told => self.output.tell(text, Look::Dim).await,
        }
    }

    /// Something the user has to know.
    pub(super) async fn warn(&self, text: &str) -> Result<(), ReaderGone> {
        self.output.tell(text, Look::Yellow).await
    }

    /// Where it all goes.
    pub(super) fn into_output(self) -> Output {
        self.output
    }

    /// A message as it came. A line break in one can only stand between its fields (RFC 8259 §7), where a blank means the
    /// same and keeps it on its line.
    async fn raw(&self, text: &str) -> Result<(), ReaderGone> {
        self.output.put(text.replace(['\r', '\n'], " ")).await
    }
}
