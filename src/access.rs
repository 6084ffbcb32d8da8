//! Who may use the server: named tokens, and the addresses by which it may be called.
//!
//! Read by `settings`, checked by `web`.

use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A shorter token could be guessed.
const MIN_SECRET_CHARS: usize = 16;

/// A longer name is no name but a part of a secret.
const MAX_NAME_CHARS: usize = 32;

/// What the server asks of its clients. The default asks nothing and is for this machine alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// One of these must come with every request; none means that nothing is asked for.
    pub tokens: Vec<ApiToken>,
    /// Names, beside addresses in numbers and `localhost`, by which the server may be called.
    pub hosts: Vec<String>,
    /// Other sites whose pages may use the API.
    pub cors_origins: Vec<String>,
    /// Whether connections are encrypted.
    pub tls: bool,
}

impl Access {
    /// Whether nobody is asked for a token.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether pages of the site `origin` may use the API.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.cors_origins.iter().any(|allowed| allowed == origin)
    }

    /// Whose `secret` this is. Takes the same time whether and where a token differs.
    #[must_use]
    pub fn by_secret(&self, secret: &str) -> Option<&ApiToken> {
        // Digests, because a comparison of texts would tell their length.
        self.by_digest(&digest("token", secret), |token| digest("token", &token.secret))
    }

    /// Whose browser session this is.
    #[must_use]
    pub fn by_session(&self, session: &str) -> Option<&ApiToken> {
        self.by_digest(&digest("cookie", session), |token| digest("cookie", &token.session()))
    }

    fn by_digest(
        &self,
        wanted: &[u8; 32],
        digest_of: impl Fn(&ApiToken) -> [u8; 32],
    ) -> Option<&ApiToken> {
        let mut found = None;
        for token in &self.tokens {
            if bool::from(wanted.ct_eq(&digest_of(token))) {
                found = Some(token);
            }
        }
        found
    }
}

/// A secret that opens the server, and whose it is.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Who uses it; for the log.
    pub name: String,
    secret: String,
}

impl ApiToken {
    /// What a browser keeps instead of the token: of no use to whoever finds it but for as long
    /// as the token is one.
    #[must_use]
    pub fn session(&self) -> String {
        format!("{:x}", hash("mega-pipeline browser session", &self.secret))
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiToken({})", self.name)
    }
}

fn digest(purpose: &str, text: &str) -> [u8; 32] {
    hash(purpose, text).into()
}

fn hash(purpose: &str, text: &str) -> sha2::digest::Output<Sha256> {
    Sha256::new().chain_update(purpose).chain_update([0]).chain_update(text).finalize()
}

/// Reads tokens, parted by commas or lines: `name=secret`, or a secret alone. Lines that begin
/// with `#` are passed over.
///
/// # Errors
/// A sentence without the secret: one is too short, or a name is there twice.
pub fn parse_tokens(text: &str) -> Result<Vec<ApiToken>, String> {
    let mut tokens: Vec<ApiToken> = Vec::new();
    let entries = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    for entry in entries.flat_map(|line| line.split(',')).map(str::trim) {
        if entry.is_empty() {
            continue;
        }
        // A secret may hold `=` too: Base64 ends with it.
        let named = entry.split_once('=').map(|(name, secret)| (name.trim(), secret.trim()));
        let named =
            named.filter(|(name, secret)| is_name(name) && !secret.trim_matches('=').is_empty());
        let (name, secret) = named.unwrap_or(("default", entry));
        if secret.chars().count() < MIN_SECRET_CHARS {
            return Err(format!("the token `{name}` has fewer than {MIN_SECRET_CHARS} characters"));
        }
        if tokens.iter().any(|token| token.name == name) {
            return Err(format!("there are two tokens called `{name}`"));
        }
        tokens.push(ApiToken { name: name.to_owned(), secret: secret.to_owned() });
    }
    Ok(tokens)
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME_CHARS).contains(&text.len()) && text.chars().all(fits)
}

/// As [`parse_tokens`], from a file.
///
/// # Errors
/// As [`parse_tokens`], or when the file cannot be read or others may read it.
pub fn read_tokens(path: &Path) -> Result<Vec<ApiToken>, String> {
    use std::os::unix::fs::PermissionsExt;
    let told = |error: std::io::Error| error.to_string();
    let mode = std::fs::metadata(path).map_err(told)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err("everybody on this machine can use this file: `chmod o= FILE`".to_owned());
    }
    let tokens = parse_tokens(&std::fs::read_to_string(path).map_err(told)?)?;
    if tokens.is_empty() {
        return Err("there is no token in this file".to_owned());
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_have_names_and_are_told_apart() {
        let text = "ann=0123456789abcdef, 0123456789abcdeF\n# bob=0000000000000000\n";
        let access = Access { tokens: parse_tokens(text).unwrap(), ..Access::default() };
        let name = |secret: &str| access.by_secret(secret).map(|token| token.name.as_str());
        assert_eq!(name("0123456789abcdef"), Some("ann"));
        assert_eq!(name("0123456789abcdeF"), Some("default"));
        assert_eq!(name("0123456789abcde"), None);
        assert_eq!(name(""), None);
        let session = access.tokens[0].session();
        assert_eq!(access.by_session(&session).unwrap().name, "ann");
        assert!(access.by_secret(&session).is_none(), "a cookie is no token");
        assert!(!format!("{access:?}").contains("0123"), "a secret is shown");
    }

    #[test]
    fn short_and_double_tokens_are_refused_without_showing_them() {
        for bad in ["secret", "ann=secret", "a=0123456789abcdef,a=fedcba9876543210"] {
            let error = parse_tokens(bad).unwrap_err();
            assert!(!error.contains("secret") && !error.contains("0123"), "{error}");
        }
        assert_eq!(parse_tokens(" ,\n").unwrap(), []);
    }

    #[test]
    fn a_secret_in_base64_is_a_secret_and_not_a_name() {
        let secret = "bWVnYSBwaXBlbGluZSBzZWNyZXQ/dG9rZW4h+A==";
        for (text, name) in [(secret.to_owned(), "default"), (format!("ann={secret}"), "ann")] {
            let access = Access { tokens: parse_tokens(&text).unwrap(), ..Access::default() };
            assert_eq!(access.by_secret(secret).unwrap().name, name);
        }
        let short = parse_tokens("c2hvcnQ=").unwrap_err();
        assert!(!short.contains("c2hvcnQ"), "{short}");
    }

    #[test]
    fn a_file_of_tokens_that_everybody_can_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "ann=0123456789abcdef\n").unwrap();
        assert_eq!(read_tokens(file.path()).unwrap().len(), 1);
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(file.path(), open).unwrap();
        assert!(read_tokens(file.path()).unwrap_err().contains("chmod"));
    }
}
