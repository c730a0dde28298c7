//! Token issuer for the life of the mesh, in place of production's identity provider.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use keyplane_contracts::names::{Id, TenantId};
use p256::SecretKey;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use serde::Serialize;
use serde_json::json;

use crate::Error;

/// File of the private key in the mesh's folder, readable by its owner only.
const KEY: &str = "issuer-key.pem";
/// File of the public keys (RFC 7517) in the same folder.
const KEYS: &str = "jwks.json";

/// Signer of tokens that the gateway and the services of one mesh accept (ES256).
///
/// Each start of a mesh makes a new key, and its end removes the key. A key that outlived the mesh would outlive the
/// revocations in its Valkey: revoked tokens would be valid again.
pub struct Issuer {
    key: EncodingKey,
    kid: String,
    keys: PathBuf,
    _file: Option<KeyFile>,
}

/// Claims about a token's bearer. A `jti` or `sid` of `None` becomes 128 random bits.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Claim `tenant`.
    pub tenant: String,
    /// Claim `sub`.
    pub user: String,
    /// Claim `scope`: separated by spaces, or `*`.
    pub scope: String,
    /// Claim `jti`.
    pub jti: Option<String>,
    /// Claim `sid`.
    pub sid: Option<String>,
    /// Claim `client_id`, if any.
    pub client: Option<String>,
    /// Time since its issue and its user's login.
    pub age: Duration,
    /// Time from issue to expiry, 1 s to [`Grant::LONGEST`].
    pub ttl: Duration,
}

/// Claims as serialized. Times have a fraction: a login and a logout in the same second stay distinct.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    tenant: &'a str,
    scope: &'a str,
    jti: String,
    sid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    iat: f64,
    iat_ms: u64,
    auth_time: f64,
    exp: u64,
}

/// File that is removed when dropped.
#[derive(Debug)]
struct KeyFile(PathBuf);

// === impl Issuer ===

impl Issuer {
    /// Claim `iss`: a name, not an address.
    pub const NAME: &str = "http://keyplane.local";
    /// Claim `aud`.
    pub const AUDIENCE: &str = "keyplane";

    /// Makes a key, and writes `jwks.json` and `issuer-key.pem` into `folder`, replacing an earlier issuer's.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the random source fails, or the files can't be written.
    pub fn create(folder: &Path) -> Result<Issuer, Error> {
        let secret = random_key()?;
        let pem = secret.to_pkcs8_pem(LineEnding::LF).map_err(broken)?;
        let mut issuer = Issuer::with_key(&secret, folder)?;
        let path = folder.join(KEY);
        write_key(&path, pem.as_bytes()).map_err(Error::io(format!("writing {}", path.display())))?;
        issuer._file = Some(KeyFile(path));

        let keys = json!({"keys": [issuer.public_key()?]});
        let step = format!("writing {}", issuer.keys.display());
        std::fs::write(&issuer.keys, format!("{keys:#}\n")).map_err(Error::io(step))?;
        Ok(issuer)
    }

    /// Opens the issuer of the mesh that runs in `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] if none runs; [`Error::Io`] or [`Error::Token`] if the key can't be read.
    pub fn open(folder: &Path) -> Result<Issuer, Error> {
        let path = folder.join(KEY);
        let pem = match std::fs::read_to_string(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotRunning(folder.display().to_string()));
            }
            Err(error) => return Err(Error::io(format!("reading {}", path.display()))(error)),
        };
        let secret = SecretKey::from_pkcs8_pem(&pem).map_err(broken)?;
        Issuer::with_key(&secret, folder)
    }

    /// Path of the public keys, a JSON Web Key Set.
    #[must_use]
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// Header `kid` of the tokens: the key's thumbprint (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs a token for `Authorization: Bearer` or the cookie `keyplane_token`.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] with the first rule that `grant` breaks.
    pub fn mint(&self, grant: &Grant) -> Result<String, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = grant.claims(now.saturating_sub(grant.age))?;
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(broken)
    }

    fn with_key(secret: &SecretKey, folder: &Path) -> Result<Issuer, Error> {
        let der = secret.to_pkcs8_der().map_err(broken)?;
        let key = EncodingKey::from_ec_der(der.as_bytes());
        let kid = Jwk::from_encoding_key(&key, Algorithm::ES256)
            .and_then(|public| public.thumbprint(ThumbprintHash::SHA256))
            .map_err(broken)?;
        Ok(Issuer { key, kid, keys: folder.join(KEYS), _file: None })
    }

    fn public_key(&self) -> Result<Jwk, Error> {
        let mut public = Jwk::from_encoding_key(&self.key, Algorithm::ES256).map_err(broken)?;
        public.common.key_id = Some(self.kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(public)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("kid", &self.kid).field("keys", &self.keys).finish_non_exhaustive()
    }
}

// === impl Grant ===

impl Grant {
    /// Longest life of a token that the revocation service accepts.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// Grant for `user`, issued now, valid for an hour, with every scope.
    #[must_use]
    pub fn new(tenant: impl Into<String>, user: impl Into<String>) -> Grant {
        Grant {
            tenant: tenant.into(),
            user: user.into(),
            scope: "*".to_owned(),
            jti: None,
            sid: None,
            client: None,
            age: Duration::ZERO,
            ttl: Duration::from_secs(60 * 60),
        }
    }

    fn claims(&self, issued: Duration) -> Result<Claims<'_>, Error> {
        TenantId::parse(&self.tenant, "tenant").map_err(|violation| Error::Token(violation.description))?;
        Id::parse(&self.user, "user")
            .map_err(|violation| Error::Token(format!("the user: {}", violation.description)))?;
        for (claim, text) in [("jti", &self.jti), ("sid", &self.sid), ("client", &self.client)] {
            let holds = |text: &String| (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
            if !text.as_ref().is_none_or(holds) {
                return Err(Error::Token(format!("the {claim} must have 1 to 256 bytes and no control characters")));
            }
        }
        if !(Duration::from_secs(1)..=Grant::LONGEST).contains(&self.ttl) {
            return Err(Error::Token("a token must live for 1s to 24h".to_owned()));
        }
        // `iat` and `iat_ms` must be the same instant.
        let iat_ms = u64::try_from(issued.as_millis()).unwrap_or(u64::MAX);
        let iat = Duration::from_millis(iat_ms).as_secs_f64();
        let named = |name: &Option<String>| name.clone().map_or_else(random_id, Ok);
        Ok(Claims {
            iss: Issuer::NAME,
            aud: Issuer::AUDIENCE,
            sub: &self.user,
            tenant: &self.tenant,
            scope: &self.scope,
            jti: named(&self.jti)?,
            sid: named(&self.sid)?,
            client_id: self.client.as_deref(),
            iat,
            iat_ms,
            auth_time: iat,
            exp: (issued + self.ttl).as_secs(),
        })
    }
}

// === impl KeyFile ===

impl Drop for KeyFile {
    fn drop(&mut self) {
        // A missing file is fine.
        let _ = std::fs::remove_file(&self.0);
    }
}

// === helpers ===

fn random_key() -> Result<SecretKey, Error> {
    loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(no_randomness)?;
        // One value in 2^32 is invalid: zero, or beyond the order of the curve.
        if let Ok(key) = SecretKey::from_slice(&bytes) {
            return Ok(key);
        }
    }
}

fn random_id() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(no_randomness)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Writes a temporary file and renames it, so that no reader sees half a key.
fn write_key(path: &Path, pem: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(pem)?;
    std::fs::rename(&new, path)
}

fn no_randomness(error: getrandom::Error) -> Error {
    Error::io("reading the operating system's random source")(std::io::Error::other(error.to_string()))
}

fn broken(error: impl fmt::Display) -> Error {
    Error::Token(format!("the issuer's key is unusable: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::Value;

    use super::{Grant, Issuer, KEY};

    /// Claims of a token with a valid signature.
    fn verified(issuer: &Issuer, token: &str) -> Value {
        let keys: JwkSet = serde_json::from_slice(&std::fs::read(issuer.keys()).unwrap()).unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        let key = DecodingKey::from_jwk(keys.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&[Issuer::AUDIENCE]);
        rules.set_issuer(&[Issuer::NAME]);
        jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims
    }

    #[test]
    fn token_from_the_folder_verifies_with_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let created = Issuer::create(folder.path()).unwrap();
        let opened = Issuer::open(folder.path()).unwrap();
        let mode = std::fs::metadata(folder.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "only its owner may read the key");

        let grant = Grant { sid: Some("s-1".into()), client: Some("app".into()), ..Grant::new("acme", "u-42") };
        let claims = verified(&created, &opened.mint(&grant).unwrap());
        for (name, value) in [("tenant", "acme"), ("sub", "u-42"), ("sid", "s-1"), ("client_id", "app"), ("scope", "*")]
        {
            assert_eq!(claims[name], value, "{claims}");
        }
        assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
        let (seconds, millis) = (claims["iat"].as_f64().unwrap(), claims["iat_ms"].as_u64().unwrap());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let from_seconds = (seconds * 1000.0).round() as u64;
        assert_eq!(from_seconds, millis, "{claims}");
        assert_eq!(claims["exp"].as_u64().unwrap(), millis / 1000 + 3600);
        let other = verified(&created, &opened.mint(&grant).unwrap());
        assert_ne!(claims["jti"], other["jti"]);
    }

    #[test]
    fn drop_removes_the_key_and_the_next_issuer_has_another() {
        let folder = tempfile::tempdir().unwrap();
        let first = Issuer::create(folder.path()).unwrap();
        let kid = first.kid().to_owned();
        drop(first);
        let error = Issuer::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("cargo up") && error.contains("--run-dir"), "{error}");
        assert_ne!(Issuer::create(folder.path()).unwrap().kid(), kid);
    }

    #[test]
    fn invalid_grant_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let issuer = Issuer::create(folder.path()).unwrap();
        let good = Grant::new("acme", "u-42");
        let broken = [
            (Grant { tenant: "Acme".into(), ..good.clone() }, "tenant"),
            (Grant { user: "u 42".into(), ..good.clone() }, "user"),
            (Grant { jti: Some(String::new()), ..good.clone() }, "jti"),
            (Grant { sid: Some("a\nb".into()), ..good.clone() }, "sid"),
            (Grant { ttl: Duration::from_millis(999), ..good.clone() }, "1s to 24h"),
            (Grant { ttl: Grant::LONGEST + Duration::from_secs(1), ..good }, "1s to 24h"),
        ];
        for (grant, rule) in broken {
            let error = issuer.mint(&grant).unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
    }
}
