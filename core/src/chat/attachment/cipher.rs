//! Bytes through a cipher, chunk by chunk: the memory is one buffer, whatever the file's size.
//!
//! The cipher is matrix-sdk-crypto's: AES-CTR, and SHA-256 over what is sealed. Client-server API, "Sending encrypted
//! attachments". The hash is known when everything was read, so what is opened must not be used before the end.

use std::io::{self, Read, Write};

use matrix_sdk_crypto::{AttachmentDecryptor, AttachmentEncryptor, MediaEncryptionInfo};

use super::AttachmentError;
use crate::chat::work::Pace;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 65_536;

/// Encrypts one stream into another. Answers what opens it, and how many bytes it has, which is the same on both sides.
pub(super) fn seal(
    from: &mut impl Read,
    to: &mut impl Write,
    bytes_max: u64,
    pace: &Pace,
) -> Result<(MediaEncryptionInfo, u64), AttachmentError> {
    let mut sealed = AttachmentEncryptor::new(from);
    let bytes = pump(&mut sealed, to, bytes_max, pace)?;
    Ok((sealed.finish(), bytes))
}

/// Decrypts one stream into another. What was written is worth nothing unless this succeeds.
pub(super) fn open(
    from: &mut impl Read,
    to: &mut impl Write,
    info: MediaEncryptionInfo,
    bytes_max: u64,
    pace: &Pace,
) -> Result<u64, AttachmentError> {
    let mut from = Honest { inner: from, failed: false };
    let opened = match AttachmentDecryptor::new(&mut from, info) {
        Ok(mut opened) => pump(&mut opened, to, bytes_max, pace),
        Err(error) => return Err(AttachmentError::Unusable(error.to_string())),
    };
    match opened {
        // The decryptor says this in the words of a failed read; a read that failed by itself was noticed.
        Err(AttachmentError::Read(_)) if !from.failed => Err(AttachmentError::WrongHash),
        other => other,
    }
}

/// Copies one stream into another.
pub(super) fn pump(
    from: &mut impl Read,
    to: &mut impl Write,
    bytes_max: u64,
    pace: &Pace,
) -> Result<u64, AttachmentError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(AttachmentError::Read(error)),
        };
        bytes += read as u64;
        if bytes > bytes_max {
            return Err(AttachmentError::TooLarge { bytes_max });
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).map_err(AttachmentError::Write)?;
        pace.step(read)?;
    }
}

/// Notices whether it is the reading that fails.
struct Honest<'a, R> {
    inner: &'a mut R,
    failed: bool,
}

impl<R: Read> Read for Honest<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        self.failed |= read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        read
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io::Cursor};

    use super::*;
    use crate::chat::work::{self, Progress};

    /// A pace that holds while its second half lives.
    fn pace() -> (Pace, work::GiveUp) {
        work::pace(&Progress::new())
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        let plain: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let mut sealed = Vec::new();
        let (info, bytes) = seal(&mut Cursor::new(&plain), &mut sealed, 200_000, &pace().0).unwrap();
        assert_eq!((bytes, sealed.len()), (200_000, 200_000));
        assert_ne!(sealed, plain);
        let info = || serde_json::from_str::<MediaEncryptionInfo>(&serde_json::to_string(&info).unwrap()).unwrap();
        let mut opened = Vec::new();
        assert_eq!(open(&mut Cursor::new(&sealed), &mut opened, info(), 200_000, &pace().0).unwrap(), 200_000);
        assert_eq!(opened, plain);

        sealed[150_000] ^= 1;
        let changed = open(&mut Cursor::new(&sealed), &mut Vec::new(), info(), 200_000, &pace().0);
        assert!(matches!(changed, Err(AttachmentError::WrongHash)));
        let short = open(&mut Cursor::new(&sealed[..70_000]), &mut Vec::new(), info(), 200_000, &pace().0);
        assert!(matches!(short, Err(AttachmentError::WrongHash)));
    }

    #[test]
    fn a_disk_that_fails_is_not_taken_for_a_liar() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the card is out"))
            }
        }
        let (info, _) = seal(&mut Cursor::new(b"x"), &mut Vec::new(), 10, &pace().0).unwrap();
        let broken = open(&mut Broken, &mut Vec::new(), info, 10, &pace().0);
        assert!(matches!(broken, Err(AttachmentError::Read(_))));
    }

    #[test]
    fn a_stream_that_never_ends_is_cut_off_and_a_cancelled_one_stops() {
        let mut out = Vec::new();
        let endless = seal(&mut io::repeat(7), &mut out, 1_000_000, &pace().0);
        assert!(matches!(endless, Err(AttachmentError::TooLarge { bytes_max: 1_000_000 })));
        assert!(out.len() <= 1_000_000);
        let progress = Progress::new();
        progress.cancel();
        let cancelled = seal(&mut io::repeat(7), &mut io::sink(), u64::MAX, &work::pace(&progress).0);
        assert!(matches!(cancelled, Err(AttachmentError::Cancelled(_))));
    }
    /// A stream that counts, with the other side's count beside it.
    struct Counted<'a> {
        passed: &'a Cell<u64>,
        /// The most that was read and not written yet.
        held_max: &'a Cell<u64>,
        written: &'a Cell<u64>,
    }

    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = (buffer.len() as u64).min((64 << 20) - self.passed.get());
            self.passed.set(self.passed.get() + read);
            self.held_max.set(self.held_max.get().max(self.passed.get() - self.written.get()));
            Ok(read as usize)
        }
    }

    impl Write for Counted<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.set(self.written.get() + bytes.len() as u64);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_large_file_is_never_in_memory() {
        let (passed, held_max, written) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let counted = || Counted { passed: &passed, held_max: &held_max, written: &written };
        assert_eq!(pump(&mut counted(), &mut counted(), u64::MAX, &pace().0).unwrap(), 64 << 20);
        assert_eq!((written.get(), held_max.get()), (64 << 20, BUFFER_BYTES as u64));
    }
}
