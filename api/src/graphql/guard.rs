//! A linear look at a GraphQL document before any parser sees it.
//!
//! The parser is recursive and the validation rules follow fragments without memory: 3 KB of brackets overflow the
//! stack, and thirty fragments that spread the next one twice take minutes. Depth and complexity limits come after
//! both. So every document, on every way in, passes here first: one pass over the bytes, no recursion, bounded memory.

use std::collections::HashMap;

use nuncio_model::Code;

use super::lexer::{Lexer, Token};

/// How much a document may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of the document.
    pub bytes: usize,
    /// Tokens; commas, space and comments are none.
    pub tokens: usize,
    /// Brackets of any kind inside each other.
    pub nesting: usize,
    /// Operations in the document.
    pub operations: usize,
    /// Fragment definitions.
    pub fragments: usize,
    /// Spreads of named fragments, as written.
    pub spreads: usize,
    /// Tokens of an operation once all its fragments are spread out.
    pub expanded_tokens: u64,
    /// Fields with an alias.
    pub aliases: usize,
    /// Directives.
    pub directives: usize,
    /// `__schema` and `__type` fields.
    pub introspections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            tokens: 20_000,
            nesting: 64,
            operations: 20,
            fragments: 100,
            spreads: 200,
            expanded_tokens: 40_000,
            aliases: 100,
            directives: 100,
            introspections: 4,
        }
    }
}

/// Why a document is refused unread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// `TOO_COMPLEX`, `TOO_LARGE`, or `INVALID_REQUEST` for fragments in a circle.
    pub code: Code,
    /// What is too much, with the limit.
    pub message: String,
}

impl Refusal {
    fn too_many(what: &str, limit: usize) -> Self {
        Self {
            code: Code::TooComplex,
            message: format!("the document has too many {what}; at most {limit} are allowed"),
        }
    }
}

/// Lets a document pass if it is safe to parse and to validate. Whether it is right is for the parser to say.
///
/// # Errors
/// With the first limit that it breaks.
pub(crate) fn check(document: &str, limits: &Limits) -> Result<(), Refusal> {
    if document.len() > limits.bytes {
        let message =
            format!("the document has {} bytes; at most {} are allowed", document.len(), limits.bytes);
        return Err(Refusal { code: Code::TooLarge, message });
    }
    let mut scan = Scan::new(document, limits);
    while let Some(token) = scan.lexer.next() {
        scan.take(token)?;
    }
    scan.check_expansion()
}

/// A fragment or operation as seen so far: its own tokens, and the fragments it spreads, each as often as it does.
#[derive(Default)]
struct Definition<'a> {
    is_fragment: bool,
    tokens: u64,
    spreads: Vec<&'a str>,
}

struct Scan<'a> {
    lexer: Lexer<'a>,
    limits: &'a Limits,
    tokens: usize,
    nesting: usize,
    parentheses: usize,
    aliases: usize,
    directives: usize,
    spreads: usize,
    introspections: usize,
    previous: Token<'a>,
    /// Operations and fragments as they come; the place of a fragment is in `fragments`.
    definitions: Vec<Definition<'a>>,
    operations: usize,
    fragments: HashMap<&'a str, usize>,
}

impl<'a> Scan<'a> {
    fn new(document: &'a str, limits: &'a Limits) -> Self {
        Self {
            lexer: Lexer::new(document),
            limits,
            tokens: 0,
            nesting: 0,
            parentheses: 0,
            aliases: 0,
            directives: 0,
            spreads: 0,
            introspections: 0,
            previous: Token::Other,
            definitions: vec![Definition::default()],
            operations: 0,
            fragments: HashMap::new(),
        }
    }

    fn take(&mut self, token: Token<'a>) -> Result<(), Refusal> {
        let limits = self.limits;
        let count = |seen: &mut usize, limit: usize, what: &str| {
            *seen += 1;
            if *seen > limit { Err(Refusal::too_many(what, limit)) } else { Ok(()) }
        };
        count(&mut self.tokens, limits.tokens, "tokens")?;
        self.definition().tokens += 1;
        match token {
            Token::Open(bracket) => {
                count(&mut self.nesting, limits.nesting, "brackets inside each other")?;
                self.parentheses += usize::from(bracket == b'(');
                let begins_operation = self.nesting == 1 && bracket == b'{' && !self.definition().is_fragment;
                if begins_operation {
                    count(&mut self.operations, limits.operations, "operations")?;
                }
            }
            Token::Close(bracket) => {
                self.nesting = self.nesting.saturating_sub(1);
                self.parentheses = self.parentheses.saturating_sub(usize::from(bracket == b')'));
                if self.nesting == 0 && bracket == b'}' {
                    self.definitions.push(Definition::default());
                }
            }
            // Outside parentheses a name before a colon is an alias; inside it names an argument or a variable.
            Token::Colon if self.parentheses == 0 => count(&mut self.aliases, limits.aliases, "aliases")?,
            Token::At => count(&mut self.directives, limits.directives, "directives")?,
            Token::Name(name) => self.take_name(name)?,
            _ => {}
        }
        self.previous = token;
        Ok(())
    }

    fn take_name(&mut self, name: &'a str) -> Result<(), Refusal> {
        let limits = self.limits;
        if self.previous == Token::Spread && name != "on" {
            self.spreads += 1;
            if self.spreads > limits.spreads {
                return Err(Refusal::too_many("fragment spreads", limits.spreads));
            }
            self.definition().spreads.push(name);
        } else if self.nesting == 0 && self.previous == Token::Name("fragment") {
            if self.fragments.len() >= limits.fragments {
                return Err(Refusal::too_many("fragments", limits.fragments));
            }
            self.definition().is_fragment = true;
            self.fragments.insert(name, self.definitions.len() - 1);
        } else if matches!(name, "__schema" | "__type") && self.parentheses == 0 {
            self.introspections += 1;
            if self.introspections > limits.introspections {
                return Err(Refusal::too_many("introspections", limits.introspections));
            }
        }
        Ok(())
    }

    fn definition(&mut self) -> &mut Definition<'a> {
        self.definitions.last_mut().expect("there is one from the beginning and none is ever removed")
    }

    /// Works out what every definition holds once its fragments are spread out, each fragment once.
    ///
    /// The number of spreads bounds the work. A circle is refused here, since the parser's own checks run round in it.
    fn check_expansion(&self) -> Result<(), Refusal> {
        let mut costs: Vec<Option<u64>> = vec![None; self.definitions.len()];
        let mut open = vec![false; self.definitions.len()];
        for start in 0..self.definitions.len() {
            let mut stack = vec![start];
            while let Some(&top) = stack.last() {
                let needed = self.targets(top).find(|target| costs[*target].is_none());
                if let Some(target) = needed {
                    open[top] = true;
                    if open[target] || target == top {
                        let message = "the document's fragments spread each other in a circle".to_owned();
                        return Err(Refusal { code: Code::InvalidRequest, message });
                    }
                    stack.push(target);
                    continue;
                }
                let spread: u64 = self.targets(top).filter_map(|t| costs[t]).fold(0, u64::saturating_add);
                costs[top] = Some(self.definitions[top].tokens.saturating_add(spread));
                open[top] = false;
                stack.pop();
            }
        }
        let limit = self.limits.expanded_tokens;
        if costs.into_iter().flatten().any(|cost| cost > limit) {
            return Err(Refusal::too_many("tokens once its fragments are spread out", limit as usize));
        }
        Ok(())
    }

    fn targets(&self, definition: usize) -> impl Iterator<Item = usize> {
        self.definitions[definition].spreads.iter().filter_map(|name| self.fragments.get(name).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(document: &str) -> Option<Code> {
        check(document, &Limits::default()).err().map(|refusal| refusal.code)
    }

    #[test]
    fn ordinary_documents_pass() {
        for document in [
            "{ cursor }",
            r#"subscription Live($c: String! = "a{{{{") { events(channel: $c, after: null) { ...E data } } fragment E on Event { id cursor }"#,
            "mutation { publish(channel: \"a\", event: {data: {a: [1, {b: \"}\"}]}}) { id } } # {{{{ [[[[",
            "{ a: cursor b: cursor ... on Query { cursor } ... @include(if: true) { cursor } }",
            "query Q { channel(name: \"\"\" {{{ \\\"\"\" \"\"\") { name } }",
            "",
            "}}}}]]",
            "not graphql at all: \u{0}",
        ] {
            assert_eq!(code(document), None, "{document}");
        }
    }

    #[test]
    fn nesting_is_refused_wherever_it_stands() {
        for open in ["[", "{", "(", "{a", "[{"] {
            assert_eq!(code(&open.repeat(1_600)), Some(Code::TooComplex), "{open}");
        }
        let literal =
            format!("{{ history(channel: {}{}) {{ cursor }} }}", "[".repeat(1_600), "]".repeat(1_600));
        assert_eq!(code(&literal), Some(Code::TooComplex));
        assert_eq!(
            code(&format!("query($a: {}Int{}) {{ cursor }}", "[".repeat(1_600), "]".repeat(1_600))),
            Some(Code::TooComplex)
        );
        assert_eq!(
            code(&format!("{{ a(x: \"{}\") }}", "[".repeat(1_600))),
            None,
            "brackets in a string are text"
        );
    }

    #[test]
    fn doubling_fragments_are_counted_without_following_them() {
        let mut document = "{ ...F0 }".to_owned();
        for n in 0..30 {
            document += &format!(" fragment F{n} on Query {{ ...F{next} ...F{next} }}", next = n + 1);
        }
        document += " fragment F30 on Query { cursor }";
        assert_eq!(code(&document), Some(Code::TooComplex));
    }

    #[test]
    fn circles_of_fragments_are_refused() {
        for document in [
            "{ ...A } fragment A on Query { ...A }",
            "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...C } fragment C on Query { ...A }",
            "{ cursor } fragment A on Query { ...B } fragment B on Query { ...A }",
        ] {
            assert_eq!(code(document), Some(Code::InvalidRequest), "{document}");
        }
        let diamond = "{ ...A ...B } fragment A on Query { ...C } fragment B on Query { ...C } fragment C on Query { cursor }";
        assert_eq!(code(diamond), None);
    }

    #[test]
    fn counts_are_limited() {
        let aliases: String = (0..5_000).map(|n| format!("a{n}: cursor ")).collect();
        assert_eq!(code(&format!("{{ {aliases} }}")), Some(Code::TooComplex));
        assert_eq!(
            code(&format!("{{ cursor {} }}", "@include(if: true) ".repeat(10_000))),
            Some(Code::TooComplex)
        );
        assert_eq!(
            code(&format!("{{ {} }}", "__schema { queryType { name } } ".repeat(100))),
            Some(Code::TooComplex)
        );
        assert_eq!(code(&"{ cursor } ".repeat(500)), Some(Code::TooComplex));
        assert_eq!(code(&"x ".repeat(30_000)), Some(Code::TooComplex));
        assert_eq!(
            code(&format!("{{ cursor {} }}", ",".repeat(1_000_000))),
            None,
            "commas are cheap to skip"
        );
        assert_eq!(code(&"x".repeat(2 << 20)), Some(Code::TooLarge));
        assert_eq!(
            code(&(0..150).map(|n| format!("fragment F{n} on Q {{ a }}")).collect::<String>()),
            Some(Code::TooComplex)
        );
        assert_eq!(code(&format!("{{ {} }}", "...F ".repeat(300))), Some(Code::TooComplex));
    }
}
