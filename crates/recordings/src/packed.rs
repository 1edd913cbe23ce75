//! Files as they lie on the disk: plain, gzip or zstd, told by their first bytes because names lie.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

/// The bytes that are read from the disk at a time.
const BUFFER_BYTES: usize = 64 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The content of a file, unpacked.
pub(crate) type Content = BufReader<Box<dyn Read + Send>>;

/// Opens the content of a file; `bytes_read` counts what is taken from the disk.
pub(crate) fn open(mut file: File, bytes_read: Arc<AtomicU64>) -> io::Result<Content> {
    file.rewind()?;
    let mut plain = BufReader::with_capacity(BUFFER_BYTES, Counted { file, bytes_read });
    let begin = plain.fill_buf()?;
    let content: Box<dyn Read + Send> = if begin.starts_with(&GZIP) {
        Box::new(MultiGzDecoder::new(plain))
    } else if begin.starts_with(&ZSTD) {
        Box::new(zstd::stream::read::Decoder::with_buffer(plain)?)
    } else {
        Box::new(plain)
    };
    Ok(BufReader::with_capacity(BUFFER_BYTES, content))
}

struct Counted {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Says in words why the content ends before its end.
pub(crate) fn damage(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the packed file ends in its middle: it was cut off, or is being written still".to_owned()
        }
        _ => format!("the file cannot be unpacked any further: {error}"),
    }
}
