//! What the environment says about tokens and TLS.

use std::path::PathBuf;

use lifecycle::{Settings, SettingsError};

use crate::secret::Secret;
use crate::shown::Shown;
use crate::store::Source;
use crate::tls::{ClientTls, ServerFiles};

const TOKEN: &str = "FLEETGAUGE_TOKEN";
const TOKEN_FILE: &str = "FLEETGAUGE_TOKEN_FILE";
const TOKENS_FILE: &str = "FLEETGAUGE_TOKENS_FILE";

/// The tokens that an aggregator takes.
///
/// # Errors
/// When the settings contradict each other, or one cannot be a token. Files are not read here.
pub fn source(settings: &Settings) -> Result<Source, SettingsError> {
    // Where there is a file of tokens, the one token is what this process's agents and commands show:
    // in an environment that both share it must not become a key to everything.
    if let Some(path) = path(settings, TOKENS_FILE)? {
        return Ok(Source::File(path));
    }
    Ok(match shown(settings)? {
        Shown::Nothing => Source::None,
        Shown::Token(secret) => Source::One(secret),
        Shown::File(path) => Source::OneFile(path),
    })
}

/// The token that a client shows.
///
/// # Errors
/// As [`source`].
pub fn shown(settings: &Settings) -> Result<Shown, SettingsError> {
    let (token, file) = (settings.text(TOKEN)?, path(settings, TOKEN_FILE)?);
    match (token.as_str(), file) {
        ("", None) => Ok(Shown::Nothing),
        ("", Some(path)) => Ok(Shown::File(path)),
        (_, Some(_)) => Err(settings.bad(TOKEN_FILE, "FLEETGAUGE_TOKEN is set too, and only one of them can count")),
        (token, None) => Secret::new(token).map(Shown::Token).map_err(|bad| settings.bad(TOKEN, &bad.to_string())),
    }
}

/// An aggregator's certificate; `None`: it speaks no TLS.
///
/// # Errors
/// When one of the settings lacks another.
pub fn server(settings: &Settings) -> Result<Option<ServerFiles>, SettingsError> {
    const CERT: &str = "FLEETGAUGE_TLS_CERT_FILE";
    const KEY: &str = "FLEETGAUGE_TLS_KEY_FILE";
    const CLIENT_CA: &str = "FLEETGAUGE_TLS_CLIENT_CA_FILE";
    let client_ca = path(settings, CLIENT_CA)?;
    match (path(settings, CERT)?, path(settings, KEY)?, &client_ca) {
        (Some(cert), Some(key), _) => Ok(Some(ServerFiles { cert, key, client_ca })),
        (Some(_), None, _) => Err(settings.bad(CERT, &format!("{KEY} must be set too"))),
        (None, Some(_), _) => Err(settings.bad(KEY, &format!("{CERT} must be set too"))),
        (None, None, Some(_)) => Err(settings.bad(CLIENT_CA, &format!("{CERT} and {KEY} must be set too"))),
        (None, None, None) => Ok(None),
    }
}

/// How a client speaks TLS; `None`: it does not.
///
/// # Errors
/// When a value cannot be used, or TLS is off and something else asks for it.
pub fn client(settings: &Settings) -> Result<Option<ClientTls>, SettingsError> {
    const TLS: &str = "FLEETGAUGE_TLS";
    const CA: &str = "FLEETGAUGE_TLS_CA_FILE";
    const NAME: &str = "FLEETGAUGE_TLS_SERVER_NAME";
    const CERT: &str = "FLEETGAUGE_TLS_CLIENT_CERT_FILE";
    const KEY: &str = "FLEETGAUGE_TLS_CLIENT_KEY_FILE";
    let identity = match (path(settings, CERT)?, path(settings, KEY)?) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => return Err(settings.bad(CERT, &format!("{KEY} must be set too"))),
        (None, Some(_)) => return Err(settings.bad(KEY, &format!("{CERT} must be set too"))),
    };
    let server_name = Some(settings.text(NAME)?).filter(|name| !name.is_empty());
    let tls = ClientTls { ca: path(settings, CA)?, server_name, identity };
    if settings.one_of(TLS, &["on", "off"])? == "on" {
        return Ok(Some(tls));
    }
    // Who names a CA wants TLS, and must not get plain TCP because of one word that is missing.
    match [CA, NAME, CERT].into_iter().find(|name| settings.is_given(name)) {
        Some(name) if !settings.is_given(TLS) => Err(settings.bad(name, "FLEETGAUGE_TLS=on must be set too")),
        _ => Ok(None),
    }
}

fn path(settings: &Settings, name: &str) -> Result<Option<PathBuf>, SettingsError> {
    Ok(Some(settings.text(name)?).filter(|text| !text.is_empty()).map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn one_token_or_a_file_of_them() {
        assert!(matches!(source(&settings(&[])), Ok(Source::None)));
        assert!(matches!(source(&settings(&[(TOKEN, "abc")])), Ok(Source::One(secret)) if secret.expose() == "abc"));
        assert!(matches!(source(&settings(&[(TOKEN_FILE, "/t")])), Ok(Source::OneFile(_))));
        let both = settings(&[(TOKENS_FILE, "/all"), (TOKEN, "abc")]);
        assert!(matches!(source(&both), Ok(Source::File(path)) if path.as_path() == std::path::Path::new("/all")));
        assert!(matches!(shown(&both), Ok(Shown::Token(_))));
        let error = shown(&settings(&[(TOKEN, "hunter2"), (TOKEN_FILE, "/t")])).unwrap_err().to_string();
        assert!(error.contains("only one of them") && !error.contains("hunter2"), "{error}");
        let error = shown(&settings(&[(TOKEN, "hunter2 ")])).unwrap_err().to_string();
        assert!(error.contains("no white space") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_server_has_both_files_or_none() {
        assert_eq!(server(&settings(&[])).unwrap(), None);
        let pair = [("FLEETGAUGE_TLS_CERT_FILE", "/c"), ("FLEETGAUGE_TLS_KEY_FILE", "/k")];
        assert!(server(&settings(&pair)).unwrap().is_some_and(|files| files.client_ca.is_none()));
        for alone in [pair[0], pair[1], ("FLEETGAUGE_TLS_CLIENT_CA_FILE", "/ca")] {
            let error = server(&settings(&[alone])).unwrap_err().to_string();
            assert!(error.starts_with(alone.0) && error.contains("must be set too"), "{error}");
        }
    }

    #[test]
    fn a_client_that_names_a_ca_never_speaks_plainly_by_mistake() {
        assert_eq!(client(&settings(&[])).unwrap(), None);
        let ca = ("FLEETGAUGE_TLS_CA_FILE", "/ca");
        let error = client(&settings(&[ca])).unwrap_err().to_string();
        assert!(error.contains("FLEETGAUGE_TLS=on"), "{error}");
        assert_eq!(client(&settings(&[ca, ("FLEETGAUGE_TLS", "off")])).unwrap(), None, "it was said");
        let tls = client(&settings(&[ca, ("FLEETGAUGE_TLS", "on")])).unwrap().unwrap();
        assert_eq!(tls.ca, Some("/ca".into()));
        client(&settings(&[("FLEETGAUGE_TLS", "yes")])).unwrap_err();
        client(&settings(&[("FLEETGAUGE_TLS", "on"), ("FLEETGAUGE_TLS_CLIENT_KEY_FILE", "/k")])).unwrap_err();
    }
}
