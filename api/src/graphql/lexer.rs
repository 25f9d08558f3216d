//! Splits a GraphQL document into the few kinds of tokens that its guard counts (October 2021 spec, section 2.1).

/// A token, as far as the guard cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `{`, `[` or `(`.
    Open(u8),
    /// `}`, `]` or `)`.
    Close(u8),
    /// `:`
    Colon,
    /// `@`
    At,
    /// `...`
    Spread,
    /// A name or keyword.
    Name(&'a str),
    /// A number, a string, or any other sign.
    Other,
}

/// Walks over a document once. Space, commas and comments are skipped; a string is one token, whatever it holds.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token; none at the end.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        self.skip_ignored();
        let bytes = self.text.as_bytes();
        let first = *bytes.get(self.at)?;
        let start = self.at;
        self.at += 1;
        Some(match first {
            b'{' | b'[' | b'(' => Token::Open(first),
            b'}' | b']' | b')' => Token::Close(first),
            b':' => Token::Colon,
            b'@' => Token::At,
            b'.' if bytes[self.at..].starts_with(b"..") => {
                self.at += 2;
                Token::Spread
            }
            b'"' => {
                self.skip_string();
                Token::Other
            }
            _ if is_name_byte(first) => {
                self.skip_while(is_name_byte);
                Token::Name(&self.text[start..self.at])
            }
            _ => Token::Other,
        })
    }

    fn skip_ignored(&mut self) {
        loop {
            self.skip_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b','));
            if self.text.as_bytes().get(self.at) != Some(&b'#') {
                break;
            }
            self.skip_while(|b| !matches!(b, b'\r' | b'\n'));
        }
    }

    /// From behind the first quotation mark to behind the last.
    ///
    /// An ordinary string ends at its line's end too, even if it was not closed: what follows would be parsed again.
    fn skip_string(&mut self) {
        let bytes = self.text.as_bytes();
        if bytes[self.at..].starts_with(b"\"\"") {
            self.at += 2;
            self.skip_block_string();
            return;
        }
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\r' | b'\n' => return,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at = bytes.len();
    }

    fn skip_block_string(&mut self) {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() {
            let rest = &bytes[self.at..];
            if rest.starts_with(b"\\\"\"\"") {
                self.at += 4;
            } else if rest.starts_with(b"\"\"\"") {
                self.at += 3;
                return;
            } else {
                self.at += 1;
            }
        }
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(|byte| keep(*byte)) {
            self.at += 1;
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        std::iter::from_fn(|| lexer.next()).collect()
    }

    #[test]
    fn strings_and_comments_hide_what_they_hold() {
        use Token::*;
        assert_eq!(tokens("{ a, # { [\n b }"), [Open(b'{'), Name("a"), Name("b"), Close(b'}')]);
        assert_eq!(tokens(r#"a "\"{" b"#), [Name("a"), Other, Name("b")]);
        assert_eq!(tokens("\"\"\" { \\\"\"\" \" \"\"\" b"), [Other, Name("b")]);
        assert_eq!(tokens("\"\" b"), [Other, Name("b")]);
        assert_eq!(tokens("...F ... on"), [Spread, Name("F"), Spread, Name("on")]);
    }

    #[test]
    fn an_unclosed_string_hides_nothing_of_the_next_line() {
        use Token::*;
        assert_eq!(tokens("\"abc\n[["), [Other, Open(b'['), Open(b'[')]);
    }

    proptest! {
        #[test]
        fn it_always_ends(text in "[\"\\\\#{}a\n.\u{e4}]{0,40}") {
            prop_assert!(tokens(&text).len() <= text.len());
        }
    }
}
