//! Is this line a JSON object, and which of the fields that Shipgate would add does it bring?
//!
//! The grammar is RFC 8259's, checked in full, in one pass and without recursion: no input can exhaust the stack. Numbers are
//! text (`1e999` passes), duplicate keys pass, lone surrogates in escapes pass, nesting is bounded by [`DEPTH_MAX`]. The
//! input is UTF-8 already. A validator of our own, because every byte that is shipped goes through it: on lines of 200 bytes
//! it takes a quarter less time than `serde_json` that reads keys and skips values, the fastest library of those that
//! `benches/validators` compares. The tests compare its verdicts with `serde_json`'s.

use super::batch::LineFault;

/// How deep arrays and objects may nest, the line's own object being the first: as many as `u128` has bits.
pub const DEPTH_MAX: u32 = u128::BITS;

/// The fields of a log that Shipgate adds where they are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Brought {
    pub timestamp: bool,
    pub type_: bool,
}

/// Judges one line, which holds no newline.
pub fn inspect(line: &str) -> Result<Brought, LineFault> {
    let bytes = line.as_bytes();
    let mut walk = Walk { bytes, at: 0 };
    if walk.next_token() != Some(b'{') {
        return Err(LineFault::NotAnObject);
    }
    walk.object_line()
}

/// What stands open around a place: one bit each, set for an object, the innermost lowest.
#[derive(Default)]
struct Nesting {
    objects: u128,
    depth: u32,
}

impl Nesting {
    fn open(&mut self, object: bool) -> Result<(), LineFault> {
        if self.depth == DEPTH_MAX {
            return Err(LineFault::TooDeep);
        }
        self.objects = self.objects << 1 | u128::from(object);
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// A place in a line. Every `Option` is `None` where the line is not JSON.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    /// The rest of a line whose first brace was read.
    fn object_line(&mut self) -> Result<Brought, LineFault> {
        const NOT_JSON: LineFault = LineFault::NotJson;
        let (mut nesting, mut brought) = (Nesting::default(), Brought::default());
        let mut opened = Some(true);
        loop {
            // Behind an opening bracket, or behind a comma.
            let is_empty = match opened {
                None => false,
                Some(object) => {
                    nesting.open(object)?;
                    self.skip_if(if object { b'}' } else { b']' })
                }
            };
            if is_empty {
                nesting.close();
            } else {
                opened = self.member(&nesting, &mut brought).ok_or(NOT_JSON)?;
                if opened.is_some() {
                    continue;
                }
            }
            // Behind a value: brackets close until a comma.
            loop {
                if nesting.depth == 0 {
                    return if self.next_token().is_none() { Ok(brought) } else { Err(NOT_JSON) };
                }
                match self.next_token() {
                    Some(b',') => break,
                    Some(b'}') if nesting.in_object() => nesting.close(),
                    Some(b']') if !nesting.in_object() => nesting.close(),
                    _ => return Err(NOT_JSON),
                }
            }
            opened = None;
        }
    }

    /// A value, with its key if it stands in an object. `Some` of what was opened, if it is a bracket: an object or not.
    #[inline(always)]
    fn member(&mut self, nesting: &Nesting, brought: &mut Brought) -> Option<Option<bool>> {
        if nesting.in_object() {
            self.expect(b'"')?;
            let key = self.string()?;
            if nesting.depth == 1 {
                brought.note(key);
            }
            self.expect(b':')?;
        }
        self.value()
    }

    #[inline(always)]
    fn value(&mut self) -> Option<Option<bool>> {
        match self.next_token()? {
            b'"' => {
                self.string()?;
            }
            b'{' => return Some(Some(true)),
            b'[' => return Some(Some(false)),
            b't' => self.literal(b"rue")?,
            b'f' => self.literal(b"alse")?,
            b'n' => self.literal(b"ull")?,
            first @ (b'-' | b'0'..=b'9') => self.number(first)?,
            _ => return None,
        }
        Some(None)
    }

    /// The next byte that is not white space.
    #[inline(always)]
    fn next_token(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
        }
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next_token()? == byte).then_some(())
    }

    /// Goes behind `byte` if it comes next.
    #[inline(always)]
    fn skip_if(&mut self, byte: u8) -> bool {
        let before = self.at;
        let found = self.next_token() == Some(byte);
        if !found {
            self.at = before;
        }
        found
    }

    fn literal(&mut self, rest: &[u8]) -> Option<()> {
        let found = self.bytes[self.at..].starts_with(rest);
        self.at += rest.len();
        found.then_some(())
    }

    /// The rest of a number.
    #[inline(always)]
    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.byte()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let before = self.at;
        self.skip_digits();
        (self.at > before).then_some(())
    }

    #[inline(always)]
    fn skip_digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// The rest of a string, whose opening quote was read: what stands between the quotes, as it was written.
    #[inline(always)]
    fn string(&mut self) -> Option<&[u8]> {
        let begin = self.at;
        loop {
            self.skip_plain();
            match self.byte()? {
                b'"' => return Some(&self.bytes[begin..self.at - 1]),
                b'\\' => self.escape()?,
                control if control < 0x20 => return None,
                _ => {}
            }
        }
    }

    /// Skips what may stand in a string as it is, eight bytes at a time: at most up to a quote, a backslash or a control
    /// character. For the tricks, see "Determine if a word has a byte equal to n" in S. E. Anderson's Bit Twiddling Hacks.
    #[inline(always)]
    fn skip_plain(&mut self) {
        const ONES: u64 = u64::MAX / 255;
        const HIGHS: u64 = ONES << 7;
        while let Some(word) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*word);
            let quote = word ^ (ONES * b'"' as u64);
            let backslash = word ^ (ONES * b'\\' as u64);
            // A byte's high bit is set where it was zero before, or, above such a place, sometimes without reason.
            let found = (quote.wrapping_sub(ONES) & !quote)
                | (backslash.wrapping_sub(ONES) & !backslash)
                | (word.wrapping_sub(ONES * 0x20) & !word);
            let found = found & HIGHS;
            if found != 0 {
                self.at += (found.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
    }

    /// The rest of an escape, whose backslash was read.
    fn escape(&mut self) -> Option<()> {
        match self.byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }
}

impl Brought {
    /// Notes a key of the line's own object, as it is written.
    #[inline(always)]
    fn note(&mut self, key: &[u8]) {
        match key {
            b"@timestamp" => self.timestamp = true,
            b"type" => self.type_ = true,
            _ if key.contains(&b'\\') => self.note_escaped(key),
            _ => {}
        }
    }

    /// A key may spell its characters as escapes. One with a lone surrogate is no text, and neither of ours.
    #[cold]
    fn note_escaped(&mut self, key: &[u8]) {
        let quoted = [b"\"", key, b"\""].concat();
        match serde_json::from_slice::<String>(&quoted).as_deref() {
            Ok("@timestamp") => self.timestamp = true,
            Ok("type") => self.type_ = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
