//! The `WWW-Authenticate` header: what a server wants to see.

/// One way to authenticate that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub(super) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter, by its lower-case name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of one header; what cannot be understood ends the list.
///
/// A comma separates parameters as well as challenges: a word with `=` behind it is a
/// parameter, one without begins the next challenge.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        if word == 0 {
            return challenges;
        }
        let name = rest[..word].to_ascii_lowercase();
        let after = rest[word..].trim_start_matches([' ', '\t']);
        let Some(value) = after.strip_prefix('=') else {
            challenges.push(Challenge { scheme: name, parameters: Vec::new() });
            rest = &rest[word..];
            continue;
        };
        let Some((value, left)) = value_of(value.trim_start_matches([' ', '\t'])) else {
            return challenges;
        };
        rest = left;
        if let Some(challenge) = challenges.last_mut() {
            challenge.parameters.push((name, value));
        }
    }
}

/// A word or a quoted string, and what is behind it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_and_their_parameters_are_told_apart() {
        let header = r#"Basic realm="a, b", Bearer realm = "https://x/t?a=1", service=reg.io,scope="repository:a/b:pull,push""#;
        let [basic, bearer] = &parse(header)[..] else { panic!("{:?}", parse(header)) };
        assert_eq!((&*basic.scheme, basic.get("realm")), ("basic", Some("a, b")));
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(bearer.get("realm"), Some("https://x/t?a=1"));
        assert_eq!(bearer.get("service"), Some("reg.io"));
        assert_eq!(bearer.get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(bearer.get("error"), None);
    }

    #[test]
    fn odd_headers_end_the_list() {
        assert_eq!(parse(""), []);
        assert_eq!(parse(", ,"), []);
        assert_eq!(parse("realm=x"), []);
        assert_eq!(parse("Negotiate").len(), 1);
        assert_eq!(parse(r#"Bearer realm="open"#)[0].get("realm"), None);
        assert_eq!(parse(r#"Bearer realm="a\"b\\""#)[0].get("realm"), Some(r#"a"b\"#));
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(header in ".{0,60}") {
            parse(&header);
        }
    }
}
