//! Splits a line of CSV into fields: quotes, doubled quotes, and the usual delimiters.
//!
//! A line is a whole record here; see [`layout`](super::layout) for why. Pure; bounded by the line and [`MAX_COLUMNS`].

/// The most columns a line may have.
pub const MAX_COLUMNS: usize = 256;

/// Splits lines into fields. Building one takes longer than splitting a line, so a file has one.
#[derive(Debug, Clone)]
pub struct Splitter {
    csv: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    /// A splitter at the delimiter that stands most often in the header.
    #[must_use]
    pub fn for_header(header: &[u8]) -> Splitter {
        let delimiter = delimiter(header);
        let csv = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        Splitter { csv, text: Vec::new(), ends: vec![0; MAX_COLUMNS] }
    }

    /// One line's fields; `None` for none at all or far too many.
    pub fn split(&mut self, line: &[u8]) -> Option<Fields<'_>> {
        self.csv.reset();
        self.text.resize(self.text.len().max(line.len() + 1), 0);
        let (mut read, mut written, mut ended) = (0, 0, 0);
        loop {
            let (result, nin, nout, nend) =
                self.csv.read_record(&line[read..], &mut self.text[written..], &mut self.ends[ended..]);
            (read, written, ended) = (read + nin, written + nout, ended + nend);
            match result {
                // The next call sees no input, which tells it that the record ends here.
                csv_core::ReadRecordResult::InputEmpty => {}
                csv_core::ReadRecordResult::Record => break,
                csv_core::ReadRecordResult::End
                | csv_core::ReadRecordResult::OutputFull
                | csv_core::ReadRecordResult::OutputEndsFull => return None,
            }
        }
        Some(Fields { text: &self.text, ends: &self.ends[..ended] })
    }
}

/// One line's fields.
pub struct Fields<'a> {
    text: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    /// A field without the blanks around it; one that is not UTF-8 is empty.
    #[must_use]
    pub fn get(&self, column: usize) -> Option<&'a str> {
        let end = *self.ends.get(column)?;
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        Some(std::str::from_utf8(&self.text[start..end]).unwrap_or_default().trim())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + '_ {
        (0..self.ends.len()).filter_map(|column| self.get(column))
    }
}

/// The one of the usual delimiters that stands most often in the header.
fn delimiter(header: &[u8]) -> u8 {
    let count = |delimiter: u8| header.iter().filter(|&&byte| byte == delimiter).count();
    // The last of equals wins, so the most common one stands last.
    *b"|\t;,".iter().max_by_key(|&&delimiter| count(delimiter)).expect("there are four")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(header: &str, line: &str) -> Option<Vec<String>> {
        Splitter::for_header(header.as_bytes()).split(line.as_bytes()).map(|f| f.iter().map(str::to_owned).collect())
    }

    #[test]
    fn quotes_and_delimiters_are_those_of_csv() {
        for (header, line, expected) in [
            ("a,b", r#"1, "2" ,3"#, vec!["1", "\"2\"", "3"]),
            ("a,b", r#""1,5","a ""b""",,"#, vec!["1,5", "a \"b\"", "", ""]),
            ("a;b,c;d", "1,5;2", vec!["1,5", "2"]),
            ("a\tb", "1\t2", vec!["1", "2"]),
            ("a|b", "1|2", vec!["1", "2"]),
            ("price", "1", vec!["1"]),
            ("a,b", r#"1,"open"#, vec!["1", "open"]),
        ] {
            assert_eq!(split(header, line).unwrap(), expected, "{line}");
        }
        assert_eq!(split("a", ""), None);
        assert_eq!(split("a", &",".repeat(MAX_COLUMNS)), None);
    }
}
