//! Reads the text of a sort order.

use iceberg::spec::Transform;

/// What a text says.
#[derive(Debug, PartialEq)]
pub(super) enum ParsedOrder {
    Terms(Vec<ParsedTerm>),
    ZOrder(Vec<String>),
}

/// One term.
#[derive(Debug, PartialEq)]
pub(super) struct ParsedTerm {
    pub(super) column: String,
    pub(super) transform: Transform,
    pub(super) descending: bool,
    /// `None` where the text does not say.
    pub(super) nulls_first: Option<bool>,
}

/// A piece of the text.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A name, a keyword or a number.
    Word(String),
    /// A name in backquotes, which is never a keyword.
    Quoted(String),
    Open,
    Close,
    Comma,
    Dot,
}

/// Reads a sort order, or `zorder(...)` standing alone.
pub(super) fn parse_order(text: &str) -> Result<ParsedOrder, String> {
    let mut parser = Parser::new(text)?;
    if parser.is_word("zorder") && parser.tokens.get(parser.at + 1) == Some(&Token::Open) {
        parser.at += 2;
        let columns = parser.columns()?;
        parser.expect(&Token::Close)?;
        parser.end()?;
        return Ok(ParsedOrder::ZOrder(columns));
    }
    let mut terms = vec![parser.term()?];
    while parser.take(&Token::Comma) {
        terms.push(parser.term()?);
    }
    parser.end()?;
    Ok(ParsedOrder::Terms(terms))
}

/// Reads a list of columns.
pub(super) fn parse_columns(text: &str) -> Result<Vec<String>, String> {
    let mut parser = Parser::new(text)?;
    let columns = parser.columns()?;
    parser.end()?;
    Ok(columns)
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, String> {
        Ok(Self {
            text,
            tokens: tokens(text)?,
            at: 0,
        })
    }

    fn term(&mut self) -> Result<ParsedTerm, String> {
        let (column, transform) = self.expression()?;
        let descending = if self.keyword("desc") {
            true
        } else {
            self.keyword("asc");
            false
        };
        let nulls_first = if self.keyword("nulls") {
            match (self.keyword("first"), self.keyword("last")) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => return Err(self.wrong("FIRST or LAST after NULLS")),
            }
        } else {
            None
        };
        Ok(ParsedTerm {
            column,
            transform,
            descending,
            nulls_first,
        })
    }

    /// A column, or a transform of one.
    fn expression(&mut self) -> Result<(String, Transform), String> {
        let is_call = self.tokens.get(self.at + 1) == Some(&Token::Open);
        let Some(Token::Word(function)) = self.tokens.get(self.at).filter(|_| is_call).cloned() else {
            return Ok((self.column()?, Transform::Identity));
        };
        self.at += 2;
        let width = self.width();
        if width.is_some() {
            self.expect(&Token::Comma)?;
        }
        let column = self.column()?;
        let width = match width {
            None if self.take(&Token::Comma) => self.width(),
            width => width,
        };
        self.expect(&Token::Close)?;
        let transform = match (function.to_ascii_lowercase().as_str(), width) {
            ("identity", None) => Transform::Identity,
            ("bucket", Some(buckets)) => Transform::Bucket(buckets),
            ("truncate", Some(width)) => Transform::Truncate(width),
            ("year" | "years", None) => Transform::Year,
            ("month" | "months", None) => Transform::Month,
            ("day" | "days" | "date", None) => Transform::Day,
            ("hour" | "hours" | "date_hour", None) => Transform::Hour,
            _ => return Err(format!("{function}(...) in {:?} is no transform", self.text)),
        };
        Ok((column, transform))
    }

    fn width(&mut self) -> Option<u32> {
        let Some(Token::Word(word)) = self.tokens.get(self.at) else {
            return None;
        };
        let width = word.parse().ok().filter(|width| *width > 0)?;
        self.at += 1;
        Some(width)
    }

    fn columns(&mut self) -> Result<Vec<String>, String> {
        let mut columns = vec![self.column()?];
        while self.take(&Token::Comma) {
            columns.push(self.column()?);
        }
        Ok(columns)
    }

    /// A name, with dots for fields of structs.
    fn column(&mut self) -> Result<String, String> {
        let mut name = self.name()?;
        while self.take(&Token::Dot) {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name)
    }

    fn name(&mut self) -> Result<String, String> {
        match self.tokens.get(self.at) {
            Some(Token::Word(name) | Token::Quoted(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.wrong("a column")),
        }
    }

    fn is_word(&self, keyword: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword))
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found = self.is_word(keyword);
        self.at += usize::from(found);
        found
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, token: &Token) -> Result<(), String> {
        if self.take(token) {
            return Ok(());
        }
        Err(self.wrong(match token {
            Token::Close => "\")\"",
            _ => "\",\"",
        }))
    }

    fn end(&self) -> Result<(), String> {
        match self.tokens.get(self.at) {
            None => Ok(()),
            Some(_) => Err(self.wrong("its end")),
        }
    }

    fn wrong(&self, expected: &str) -> String {
        format!(
            "{:?} is no sort order: expected {expected} after {} words",
            self.text, self.at
        )
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '.' => (Token::Dot, 1),
            '`' => {
                let end = rest[1..]
                    .find('`')
                    .ok_or_else(|| format!("a backquote in {text:?} is not closed"))?;
                (Token::Quoted(rest[1..=end].to_owned()), end + 2)
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || "(),.`".contains(c);
                let end = rest.find(ends).unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), end)
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn term(column: &str, transform: Transform, descending: bool, nulls_first: Option<bool>) -> ParsedTerm {
        ParsedTerm {
            column: column.to_owned(),
            transform,
            descending,
            nulls_first,
        }
    }

    #[test]
    fn terms_are_read_as_spark_writes_them() {
        let text = "a, b.c desc nulls first, `the key` ASC NULLS LAST, truncate(`x`, 4) DESC, bucket(16, id), days(ts)";
        let expected = vec![
            term("a", Transform::Identity, false, None),
            term("b.c", Transform::Identity, true, Some(true)),
            term("the key", Transform::Identity, false, Some(false)),
            term("x", Transform::Truncate(4), true, None),
            term("id", Transform::Bucket(16), false, None),
            term("ts", Transform::Day, false, None),
        ];
        assert_eq!(parse_order(text), Ok(ParsedOrder::Terms(expected)));
        let z = vec!["a".to_owned(), "b.c".to_owned()];
        assert_eq!(parse_order("ZORDER(a, b.c)"), Ok(ParsedOrder::ZOrder(z.clone())));
        assert_eq!(parse_columns("a,b.c"), Ok(z));
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for text in [
            "",
            "a b",
            "a,",
            "a desc nulls",
            "zorder(a) desc",
            "zorder()",
            "`a",
            "bucket(a)",
            "nope(a)",
            "a)",
            "bucket(0, a)",
            "zorder(a), b",
        ] {
            assert!(parse_order(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse_order(&text);
            let _ = parse_columns(&text);
        }
    }
}
