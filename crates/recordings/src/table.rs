//! Rows of text, as all formats of CSV have them.

use csv::{ReaderBuilder, StringRecord};

use crate::packed::{self, Content};

/// The rows of a file.
pub(crate) struct Rows {
    reader: csv::Reader<Content>,
    row: StringRecord,
    columns: usize,
    read: u64,
}

/// The outcome of reading a row.
pub(crate) enum Next {
    /// A row was read: [`Rows::row`].
    Row,
    /// A line cannot be used, and the next one can be read.
    Fault(u64, String),
    /// There is nothing any more, and where there was damage, this is it.
    End(Option<(u64, String)>),
}

impl Rows {
    /// Begins to read; `columns` are those that each row must have, or 0 where the first one tells. Where a
    /// format has no quotes, a flipped bit must not make one, which would take the rest of the file for a cell.
    pub(crate) fn new(content: Content, delimiter: u8, columns: usize, has_quotes: bool) -> Self {
        let reader = ReaderBuilder::new()
            .quoting(has_quotes)
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(content);
        Self { reader, row: StringRecord::new(), columns, read: 0 }
    }

    /// Reads the next row.
    pub(crate) fn next(&mut self) -> Next {
        let line = self.reader.position().line();
        match self.reader.read_record(&mut self.row) {
            Ok(false) => Next::End(None),
            Ok(true) => {
                self.read += 1;
                if self.columns == 0 {
                    self.columns = self.row.len();
                }
                if self.row.len() == self.columns {
                    return Next::Row;
                }
                let (has, must) = (self.row.len(), self.columns);
                Next::Fault(self.line(), format!("the row has {has} columns, and the others have {must}"))
            }
            Err(error) => match error.kind() {
                csv::ErrorKind::Io(error) => Next::End(Some((line, packed::damage(error)))),
                csv::ErrorKind::Utf8 { .. } => {
                    self.read += 1;
                    Next::Fault(line, "the row is no text in UTF-8".to_owned())
                }
                _ => Next::End(Some((line, error.to_string()))),
            },
        }
    }

    /// Returns the row that was read last.
    pub(crate) fn row(&self) -> &StringRecord {
        &self.row
    }

    /// Returns the line where it begins, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.row.position().map_or(0, csv::Position::line)
    }

    /// Returns how many rows were read.
    pub(crate) fn count(&self) -> u64 {
        self.read
    }
}
