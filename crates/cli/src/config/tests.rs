use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base::ManualClock;
use server::{ForwardedHeader, Hours, MailSecurity, Price, Prices, Rate};
use store::Nanos;
use tempfile::TempDir;

use super::table::{Kind, SETTINGS};
use super::*;

/// A home of its own with a configuration file and what else is put there.
struct Case {
    home: TempDir,
    sources: Sources,
}

impl Case {
    fn new(text: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("cachalot.toml");
        let sources = Sources {
            file: Some(ConfigFile { path, text: text.to_owned(), mode: 0o600 }),
            ..Sources::default()
        };
        Self { home, sources }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn argument(mut self, name: &'static str, argument: &'static str, value: &str) -> Self {
        self.sources.arguments.push((name, argument, value.to_owned()));
        self
    }

    fn file(self, name: &str, text: &str, mode: u32) -> Self {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn load(&self) -> Result<Config, Mistakes> {
        let clock = Arc::new(ManualClock::new());
        load(&Context { home: self.home.path().to_owned(), clock }, &self.sources)
    }

    #[track_caller]
    fn good(&self) -> Config {
        self.load().unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// Every mistake, in the order in which they are said: its line or where else it is, and a part of its text.
    #[track_caller]
    fn check(&self, expected: &[(&str, &str)]) {
        let mistakes = self.load().expect_err("there should be mistakes");
        let found: Vec<_> =
            mistakes.0.iter().map(|mistake| (where_is(&mistake.place), &mistake.text)).collect();
        assert_eq!(found.len(), expected.len(), "{mistakes}");
        for ((place, text), (expected_place, part)) in found.iter().zip(expected) {
            assert_eq!(place, expected_place, "{mistakes}");
            assert!(text.contains(part), "{text:?} should say {part:?}");
        }
    }
}

fn where_is(place: &Place) -> String {
    match place {
        Place::File(path, line) => {
            assert_eq!(path.file_name().unwrap(), "cachalot.toml");
            line.to_string()
        }
        place => place.to_string(),
    }
}

#[test]
fn nothing_said_is_the_server_s_own_defaults() {
    let config = Case::new("").good();
    let expected = Settings { drain_timeout: Duration::from_secs(10), ..Settings::default() };
    assert_eq!(config.settings, expected);
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!((config.loaded_max.get(), config.threads, config.model), (2, None, None));
    assert_eq!((config.log_filter.as_str(), config.log_json, config.collector), ("warn", false, None));
    assert!(config.certificate.is_none() && config.warnings.is_empty());
    assert_eq!(config.precision, kernels::Precision::default());
    for precision in kernels::Precision::ALL {
        let case = Case::new(&format!("rounding = \"{}\"", precision.name()));
        assert_eq!(case.good().precision, precision);
    }
    Case::new("rounding = \"4-bit\"").check(&[("1", "rounding must be")]);
    for (name, format) in
        [("auto", None), ("f16", Some(kernels::KvFormat::F16)), ("q8", Some(kernels::KvFormat::Q8))]
    {
        assert_eq!(Case::new(&format!("kv_cache = \"{name}\"")).good().kv_format, format);
    }
    assert_eq!(config.kv_format, None);
    Case::new("kv_cache = \"q4\"").check(&[("1", "kv_cache must be")]);
    for setting in SETTINGS {
        let is_default = matches!(setting.value, table::Preset::Default(_));
        assert_eq!(setting.default_value().is_some(), is_default, "{}", setting.name());
    }
}

#[test]
fn the_environment_is_stronger_than_the_file_and_the_command_line_than_both() {
    let text = "model = \"a\"\nloaded_max = 3\n[sign_up]\nopen = true\n[limits]\nanswers_max = 0x10\n\
            [log]\nfilter = \"info\"\n";
    let case = Case::new(text)
        .variable("CACHALOT_MODEL", "b")
        .variable("CACHALOT_LOADED_MAX", "4")
        .variable("CACHALOT_SIGN_UP_OPEN", "false")
        .variable("CACHALOT_LISTEN", "127.0.0.1:1, [::1]:2")
        .variable("CACHALOT_LOG", "debug")
        .variable("CACHALOT_DRAIN_SECONDS", "")
        .argument("loaded_max", "--loaded-max", "5");
    let config = case.good();
    assert_eq!(config.model.as_deref(), Some("b"));
    assert_eq!(config.loaded_max.get(), 5);
    assert!(!config.settings.sign_up);
    assert_eq!(config.settings.answers_max, 16);
    assert_eq!(config.listen, ["127.0.0.1:1", "[::1]:2"].map(|address| address.parse().unwrap()));
    assert_eq!(config.log_filter, "debug");
    assert_eq!(config.settings.drain_timeout, Duration::from_secs(10));
    let config = case.variable("CACHALOT_LOG_FILTER", "trace").good();
    assert_eq!(config.log_filter, "trace");
}

#[test]
fn spans_go_to_the_collector_s_path_of_traces() {
    for (given, expected) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector.example/otlp", "https://collector.example/otlp/v1/traces"),
    ] {
        let text = format!("[log]\nformat = \"json\"\n[telemetry]\notlp_endpoint = {given:?}\n");
        let config = Case::new(&text).good();
        assert_eq!((config.collector.unwrap().as_str(), config.log_json), (expected, true));
    }
    for given in ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://c.example/?a", "http://c.example/#a"] {
        let text = format!("[telemetry]\notlp_endpoint = {given:?}\n");
        Case::new(&text).check(&[("2", "telemetry.otlp_endpoint must be the address of a collector")]);
    }
    Case::new("[log]\nformat = \"xml\"\n").check(&[("2", "log.format must be")]);
}

#[test]
fn every_mistake_is_said_at_once_with_its_line() {
    let text = "\
lisen = \"127.0.0.1:8080\"
threads = 0
loaded_max = \"two\"

[mail]
prot = 25
security = \"ssl\"

[mali]
server = \"x\"

[limits]
answers_max = 3.5
body_bytes_max = true

[tls]
acme = \"yes\"

[proxy]
trusted = [1, 2]
header = \"x-real-ip\"

[log]
filter = [\"a\"]
";
    let case = Case::new(text)
        .variable("CACHALOT_MAIL_PORT", "70000")
        .variable("CACHALOT_MAIL_SERVRE", "x")
        .variable("CACHALOT_PUBLIC_ULR", "x")
        .variable("CACHALOT_TEST_MODEL", "x")
        .variable("CACHALOT_HOME", "x")
        .argument("drain_seconds", "--drain-seconds", "-1");
    case.check(&[
        ("1", "unknown key lisen; did you mean listen?"),
        ("2", "threads must be a whole number from 1 to 4096, got 0"),
        ("3", "loaded_max must be a whole number from 1 to 1000, got \"two\""),
        ("6", "unknown key mail.prot; did you mean mail.port?"),
        ("7", "mail.security must be \"tls\" or \"starttls\" or \"none\", got \"ssl\""),
        ("9", "unknown section [mali]; did you mean [mail]?"),
        ("13", "limits.answers_max must be a whole number from 1 to 65536, got 3.5"),
        ("14", "limits.body_bytes_max must be a whole number"),
        ("17", "tls.acme must be true or false, got \"yes\""),
        ("20", "proxy.trusted must be a list of texts such as [\"a\", \"b\"], got a list of 2"),
        ("21", "proxy.header must be \"x-forwarded-for\" or \"forwarded\", got \"x-real-ip\""),
        ("24", "log.filter must be a text"),
        ("CACHALOT_MAIL_PORT", "mail.port must be a whole number from 1 to 65535, got \"70000\""),
        ("CACHALOT_MAIL_SERVRE", "did you mean CACHALOT_MAIL_SERVER?"),
        ("CACHALOT_PUBLIC_ULR", "did you mean CACHALOT_PUBLIC_URL?"),
        ("--drain-seconds", "drain_seconds must be a whole number from 0 to 86400, got \"-1\""),
    ]);
}

#[test]
fn what_is_no_toml_has_its_line_too_and_the_rest_is_read() {
    Case::new("model = \nthreads = 0\n[mail\nserver = \"x\"\n[log]\nfilter = 3\n").check(&[
        ("1", "this is no TOML: string values must be quoted"),
        ("2", "threads must be"),
        ("3", "this is no TOML: unclosed table"),
        ("6", "log.filter must be"),
    ]);
    Case::new("threads = 1\nthreads = 2\n").check(&[("2", "duplicate key")]);
    Case::new("listen = [\"127.0.0.1:1\",\nloaded_max = 0\n")
        .check(&[("2", "this is no TOML: unexpected `=` in array")]);
    Case::new("listen = yes\nmodel = 'a\nthreads = 0").check(&[
        ("1", "must be quoted"),
        ("2", "invalid literal string"),
        ("3", "threads must be"),
    ]);
    // What could not be read may have been what another setting needs.
    Case::new("listen = \"0.0.0.0:443\"\n[tls\nacme = true\n").check(&[("2", "unclosed table")]);
    Case::new("lisen = 1\n[tls\nacme = true\n").check(&[("1", "unknown key"), ("2", "unclosed table")]);
    Case::new("tls = 3\noidc = 4\n[mail]\n[sessions.more]\n[oidc]\n").check(&[
        ("1", "tls must be a section"),
        ("4", "unknown key sessions.more"),
        ("5", "duplicate key"),
    ]);
    Case::new("[oidc]\nid = \"a\"\n[[mail]]\nport = 1\n")
        .check(&[("1", "oidc must be [[oidc]], once for each provider"), ("3", "mail must be a section")]);
}

#[test]
fn beyond_loopback_takes_tls_or_a_proxy() {
    for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        Case::new(&format!("model = \"a\"\nlisten = [\"127.0.0.1:1\", \"{listen}\"]\n"))
            .check(&[("2", "which can be reached from other machines")]);
        Case::new("").argument("listen", "--listen", listen).check(&[("--listen", "Set [tls]")]);
        let text = format!(
            "listen = \"{listen}\"\npublic_url = \"https://chat.example.org\"\n[proxy]\ntrusted = \"10.0.0.2\"\n"
        );
        assert_eq!(Case::new(&text).good().listen.len(), 1);
    }
    Case::new("listen = [\"8080\", \"127.0.0.1\", \"127.0.0.1:99999\", \"127.0.0.1:1\", \"127.0.0.1:1\"]")
        .check(&[
            ("1", "addresses and ports such as 127.0.0.1:8080 or [::1]:8080, got \"8080\""),
            ("1", "got \"127.0.0.1\""),
            ("1", "got \"127.0.0.1:99999\""),
            ("1", "has \"127.0.0.1:1\" twice"),
        ]);
    Case::new("listen = []").check(&[("1", "listen must have at least one address")]);
}

#[test]
fn the_public_url_is_a_scheme_and_a_host() {
    for good in [
        "https://chat.example.org",
        "https://chat.example.org:8443/",
        "https://[2001:db8::7]",
        "http://localhost:8080",
    ] {
        assert!(
            Case::new(&format!("public_url = \"{good}\"")).good().settings.public_url.is_some(),
            "{good}"
        );
    }
    for bad in [
        "chat.example.org",
        "ftp://chat.example.org",
        "https://",
        "https://chat.example.org/path",
        "https://chat.example.org/?a",
        "https://chat.example.org/#a",
        "https://a:b@chat.example.org",
        "https://chat example.org",
    ] {
        Case::new(&format!("\npublic_url = \"{bad}\""))
            .check(&[("2", "public_url must be https:// and a host")]);
    }
    let warnings = Case::new("public_url = \"http://chat.example.org\"").good().warnings;
    assert!(warnings[0].contains("reads every password"), "{warnings:?}");
    let warnings = Case::new("public_url = \"https://chat.example.org\"").good().warnings;
    assert!(warnings[0].contains("neither [tls] nor proxy.trusted"), "{warnings:?}");
}

#[test]
fn proxies_are_networks() {
    let text = "public_url = \"https://a.example\"\n[proxy]\ntrusted = [\"10.0.0.7/24\", \"::1\"]\n\
            header = \"forwarded\"\n";
    let proxy = Case::new(text).good().settings.proxy.unwrap();
    assert_eq!(proxy.trusted, ["10.0.0.0/24", "::1/128"].map(|network| network.parse().unwrap()));
    assert_eq!((proxy.header, proxy.protocol), (ForwardedHeader::Forwarded, false));
    let text = "public_url = \"https://a.example\"\n[proxy]\ntrusted = \"::1\"\nprotocol = true\n";
    assert!(Case::new(text).good().settings.proxy.unwrap().protocol);
    Case::new("[proxy]\nprotocol = true\n").check(&[("2", "of no use without proxy.trusted")]);
    Case::new("[proxy]\ntrusted = [\"proxy\", \"0.0.0.0/0\", \"10.0.0.0/33\", \"::/0\"]\n").check(&[
        ("2", "addresses or networks such as 10.0.0.2 or 10.0.0.0/24, got \"proxy\""),
        ("2", "would let anybody be anybody, got \"0.0.0.0/0\""),
        ("2", "got \"10.0.0.0/33\""),
        ("2", "would let anybody be anybody, got \"::/0\""),
    ]);
    Case::new("[proxy]\ntrusted = \"::1\"\n").check(&[("2", "public_url must be set with proxy.trusted")]);
    Case::new("[proxy]\ntrsuted = \"::1\"\nheader = \"forwarded\"\n")
        .check(&[("2", "did you mean proxy.trusted?")]);
    Case::new("[proxy]\nheader = \"forwarded\"\n").check(&[("2", "of no use without proxy.trusted")]);
}

#[test]
fn wider_prefixes_have_room_for_narrower_ones() {
    let limits =
        Case::new("[connections]\nper_network_max = 600\nidle_seconds = 5\n").good().settings.connections;
    assert_eq!((limits.open.narrow, limits.open.wide, limits.idle_timeout.as_secs()), (128, 600, 5));
    Case::new("[connections]\nper_network_max = 200\nnew_per_address_max = 2500\nreserved_percent = 95\n").check(&[
        ("2", "connections.per_network_max does not fit: there must be room for connections.per_site_max = 256"),
        ("3", "connections.new_per_address_max does not fit"),
        ("4", "connections.reserved_percent must be a whole number from 0 to 90"),
    ]);
}

#[test]
fn acme_wants_names() {
    let text = "listen = \"0.0.0.0:443\"\n[tls]\nacme = true\n\
            domains = [\"Chat.example.org\", \"www.example.org\"]\ndirectory_ca = \"ca.pem\"\n";
    let case = Case::new(text);
    let config = case.good();
    assert_eq!(config.settings.public_url.unwrap().as_str(), "https://chat.example.org/");
    assert_eq!(config.settings.domains, ["chat.example.org", "www.example.org"]);
    assert_eq!(config.warnings, [""; 0]);
    let Some(Certificate::Acme(acme)) = config.certificate else { panic!("no ACME") };
    assert_eq!(acme.folder, case.home.path().join("acme"));
    assert_eq!(acme.directory_ca, Some(case.home.path().join("ca.pem")));
    assert!(!acme.folder.exists(), "a check makes nothing");

    Case::new("[tls]\nacme = true\n").check(&[("2", "tls.domains must be set with tls.acme")]);
    let text = "[tls]\nacme = true\n\
            domains = [\"*.example.org\", \"192.0.2.1\", \"localhost\", \"a..b\"]\nemail = \"me\"\n\
                directory = \"http://a\"\ncertificate = \"x\"\nkey = \"y\"\n";
    Case::new(text).check(&[
        ("3", "got \"*.example.org\""),
        ("3", "got \"192.0.2.1\""),
        ("3", "got \"localhost\""),
        ("3", "got \"a..b\""),
        ("4", "an address such as admin@example.org, got \"me\""),
        ("5", "begins with https://, got \"http://a\""),
        ("6", "either files or ACME"),
        ("7", "either files or ACME"),
    ]);
    Case::new("[tls]\nemail = \"a@b.example\"\n").check(&[("2", "of no use without tls.acme")]);
    let text = "public_url = \"https://other.example\"\n[tls]\nacme = true\ndomains = \"chat.example.org\"\n";
    let warnings = Case::new(text).good().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("no other.example")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("port 443")), "{warnings:?}");
}

#[test]
fn certificates_are_read_at_once() {
    let text =
        "public_url = \"https://chat.example.org\"\n[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";
    Case::new(text).check(&[("3", "chain.pem can't be used: No such file")]);
    Case::new(text).file("chain.pem", "x", 0o644).check(&[("3", "must hold a chain of certificates in PEM")]);
    Case::new("[tls]\ncertificate = \"a\"\n").check(&[
        ("2", "tls.key must be set with tls.certificate"),
        ("2", "public_url must be set with tls.certificate"),
    ]);
    let text =
        "public_url = \"http://chat.example.org\"\n[tls]\nacme = true\ndomains = \"chat.example.org\"\n";
    Case::new(text).check(&[("1", "must begin with https:// where there is [tls]")]);
}

const MAIL: &str = "public_url = \"https://a.example\"\n[mail]\nserver = \"smtp.a.example\"\n\
        from = \"Cachalot <chat@a.example>\"\n";

#[test]
fn letters_have_a_server_and_a_sender() {
    let mail = Case::new(MAIL).good().settings.mail.unwrap();
    assert_eq!((mail.port, mail.security, mail.login), (465, MailSecurity::Tls, None));
    let text = format!("{MAIL}security = \"starttls\"\nusername = \"u\"\npassword = \"p\"\n");
    let mail = Case::new(&text).good().settings.mail.unwrap();
    assert_eq!((mail.port, mail.login), (587, Some(("u".to_owned(), "p".to_owned()))));

    Case::new("[mail]\nserver = \"a b\"\nusername = \"u\"\nsecurity = \"none\"\n").check(&[
        ("2", "public_url must be set with mail.server"),
        ("2", "mail.from must be set"),
        ("2", "a name such as smtp.example.org, got \"a b\""),
        ("3", "mail.password must be set with mail.username"),
        ("4", "may be none only for a server on this machine"),
    ]);
    let text = format!("{MAIL}server_ca = \"ca.pem\"\n");
    let case = Case::new(&text);
    assert_eq!(case.good().settings.mail.unwrap().server_ca, Some(case.home.path().join("ca.pem")));
    let text = MAIL.replace("smtp.a.example", "localhost") + "security = \"none\"\nserver_ca = \"ca.pem\"\n";
    Case::new(&text).check(&[("6", "mail.server_ca is of no use with")]);
    Case::new("[mail]\nport = 25\nfrom = \"x\"\n")
        .check(&[("2", "of no use without mail.server"), ("3", "of no use without mail.server")]);
    Case::new(&MAIL.replace("chat@a.example", "chat"))
        .check(&[("4", "must be an address such as Cachalot <")]);
}

#[test]
fn secrets_are_kept_where_nobody_else_reads_them() {
    let text = format!("{MAIL}username = \"u\"\npassword_file = \"secret\"\n");
    let login = Case::new(&text).file("secret", "krill\n", 0o600).good().settings.mail.unwrap().login;
    assert_eq!(login.unwrap().1, "krill");
    Case::new(&text).check(&[("6", "secret can't be read: No such file")]);
    for mode in [0o644, 0o640, 0o620] {
        Case::new(&text).file("secret", "krill\n", mode).check(&[("6", "chmod 600 it")]);
    }
    Case::new(&text).file("secret", "\n", 0o600).check(&[("6", "must hold one line of text")]);
    Case::new(&text).file("secret", "a\nb\n", 0o600).check(&[("6", "must hold one line of text")]);
    let both = format!("{text}password = \"p\"\n");
    Case::new(&both).file("secret", "krill", 0o600).check(&[("6", "can't be set beside mail.password")]);

    let text = format!("{MAIL}username = \"u\"\npassword = \"hunted\"\n");
    let mut case = Case::new(&text);
    case.sources.file.as_mut().unwrap().mode = 0o644;
    case.check(&[("6", "stands in a file with mode 644, which others may read: chmod 600")]);
    let config = case.variable("CACHALOT_MAIL_PASSWORD", "krill").good();
    assert_eq!(config.settings.mail.unwrap().login.unwrap().1, "krill");

    let mistakes = Case::new("[mail]\npassword = [\"hunted\"]\n").load().unwrap_err().to_string();
    assert!(!mistakes.contains("hunted"), "{mistakes}");
    let mistakes =
        Case::new("").variable("CACHALOT_MAIL_PASSWORD", "hun\u{7}ted").load().unwrap_err().to_string();
    assert!(!mistakes.contains("ted\""), "{mistakes}");
}

#[test]
fn providers_are_sections_of_which_there_are_several() {
    let text = "public_url = \"https://a.example\"\n[[oidc]]\nid = \"one\"\n\
            issuer = \"https://login.one.example\"\nclient_id = \"c\"\n\
                client_secret_file = \"secret\"\n[[oidc]]\nid = \"two-b\"\nname = \"Two\"\nissuer = \"http://10.0.0.1\"\nclient_id = \"d\"\n\
                private = true\ncreates_accounts = true\nemail_domains = [\"Two.example\"]\n";
    let providers = Case::new(text)
        .file("secret", "s", 0o600)
        .variable("CACHALOT_OIDC_TWO_B_CLIENT_SECRET", "t")
        .good()
        .settings
        .providers;
    assert_eq!(providers.len(), 2);
    let (one, two) = (&providers[0], &providers[1]);
    assert_eq!((one.name.as_str(), one.client_secret.as_deref(), one.private), ("one", Some("s"), false));
    assert_eq!((two.name.as_str(), two.client_secret.as_deref()), ("Two", Some("t")));
    assert!(two.private && two.creates_accounts && !one.creates_accounts);
    assert_eq!(two.email_domains, ["two.example"]);

    let text = "[[oidc]]\nid = \"A B\"\nissuer = \"http://one.example\"\n[[oidc]]\nid = \"x\"\n\
            issuer = \"https://x.example\"\nclient_id = \"c\"\n\
                sceret = 1\n[[oidc]]\nid = \"x\"\nissuer = \"https://x.example\"\nclient_id = \"c\"\n";
    Case::new(text).variable("CACHALOT_OIDC_NOBODY_CLIENT_ID", "x").check(&[
        ("1", "public_url must be set with [[oidc]]"),
        ("1", "oidc.client_id must be set in each [[oidc]]"),
        ("2", "lower-case letters, digits and -, got \"A B\""),
        ("3", "begins with https:// (or, with private = true, http://), got \"http://one.example\""),
        ("4", "public_url must be set with [[oidc]]"),
        ("8", "unknown key oidc.sceret"),
        ("9", "public_url must be set with [[oidc]]"),
        ("10", "must be another for each provider, got \"x\" twice"),
        ("CACHALOT_OIDC_NOBODY_CLIENT_ID", "unknown variable"),
    ]);
    let many = "[[oidc]]\nid = \"a\"\n".repeat(21);
    let mistakes = Case::new(&many).load().unwrap_err().to_string();
    assert!(mistakes.contains(":41: there may be at most 20 [[oidc]], got 21"), "{mistakes}");
}

#[test]
fn prices_are_sections_of_which_the_first_that_fits_counts() {
    let text = "[credit]\ncurrency = \"CNY\"\nsign_up = \"1.25\"\n[keys]\nper_user_max = 3\n\
            [[price]]\nmodel = \"r1\"\nclass = \"key\"\nhours = \"16:30-00:30\"\nhit = \"0.07\"\nmiss = \"0.275\"\n\
            output = \"1.095\"\n[[price]]\nhit = \"0\"\nmiss = \"1\"\noutput = \"2\"\n";
    let settings = Case::new(text).variable("CACHALOT_DATA_USAGE_DAYS_MAX", "7").good().settings;
    assert_eq!((settings.keys_max, settings.usage_days_max), (3, 7));
    assert_eq!(settings.sign_up_credit.to_string(), "1.25");
    let rate = |hit, miss, output| Rate { hit: Nanos(hit), miss: Nanos(miss), output: Nanos(output) };
    let night = Price {
        model: Some("r1".to_owned()),
        class: Some("key".to_owned()),
        hours: Some(Hours { from: 16 * 60 + 30, until: 30 }),
        rate: rate(70, 275, 1095),
    };
    let rest = Price { model: None, class: None, hours: None, rate: rate(0, 1000, 2000) };
    assert_eq!(settings.prices, Prices { currency: "CNY".to_owned(), rules: vec![night, rest] });

    let text = "[credit]\ncurrency = \"dollar\"\nsign_up = \"-1\"\n[[price]]\nclass = \"admin\"\nhours = \"24:00-1:00\"\n\
            hit = \"0.0001\"\nmiss = \"1e3\"\noutputs = \"1\"\n[[price]]\nhours = \"01:00-01:00\"\nhit = \"0\"\nmiss = 1\n\
            output = \"1000001\"\n";
    Case::new(text).variable("CACHALOT_PRICE_HIT", "1").check(&[
        ("2", "credit.currency must be three capital letters such as USD, got \"dollar\""),
        ("3", "credit.sign_up must be an amount in decimal"),
        ("4", "price.output must be set in each [[price]]"),
        ("5", "price.class must be \"*\" or \"key\" or \"session\", got \"admin\""),
        ("6", "two times of the day in UTC such as \"16:30-00:30\", not the same, got \"24:00-1:00\""),
        ("7", "with at most three digits after the point, got \"0.0001\""),
        ("8", "price.miss must be an amount in decimal"),
        ("9", "unknown key price.outputs; did you mean price.output?"),
        ("11", "not the same, got \"01:00-01:00\""),
        ("13", "price.miss must be a text in quotes"),
        ("14", "from 0 to 1000000, got \"1000001\""),
        ("CACHALOT_PRICE_HIT", "unknown variable"),
    ]);
    Case::new("[price]\nhit = \"1\"\n").check(&[("1", "price must be [[price]], once for each price")]);
    let explained = |text: &str| explain(&Case::new(text).sources, Some("price")).unwrap().0;
    let two = explained("[[price]]\nhit = \"1\"\n[[price]]\nhit = \"2\"\n");
    assert!(two.matches("#[[price]]").count() == 2 && two.contains("#hit = \"2\""), "{two}");
    assert!(!two.contains("Variable"), "{two}");
}

#[test]
fn sizes_fit_each_other() {
    Case::new(
        "[limits]\nbody_bytes_max = 2097152\nbodies_bytes_max = 1048576\nmessage_bytes_max = 4194304\n",
    )
    .check(&[
        ("2", "room for limits.message_bytes_max = 4194304, got 2097152"),
        ("3", "room for limits.body_bytes_max = 2097152, got 1048576"),
    ]);
    Case::new("[log]\nfilter = \"server=loud\"\n").check(&[("2", "log.filter must be levels")]);
}

#[test]
fn the_limits_of_logins_are_those_that_are_set_or_the_usual_ones() {
    assert_eq!(Case::new("").good().settings.defence, server::Defence::default());
    let text = "[logins]\nfailures_per_account_and_address = 1\nfailures_per_account = 2\nfailures_per_device = 3\n\
                failures_per_address = 4\nfailures_per_network = 5\naccounts_per_address = 6\n\
                stuffing_failures = 7\nstuffing_percent = 8\n";
    let limits = Case::new(text).good().settings.defence.login_limits;
    let expected = server::LoginLimits {
        pair: 1,
        account: 2,
        device: 3,
        narrow: 4,
        wide: 5,
        accounts_per_prefix: 6,
        stuffing_failures: 7,
        stuffing_share: 8,
    };
    assert_eq!(limits, expected);
    Case::new("[logins]\nstuffing_percent = 101\nfailures_per_device = 0\nfailures_per_network = 29\n")
        .check(&[
            ("2", "logins.stuffing_percent must be a whole number from 1 to 100, got 101"),
            ("3", "logins.failures_per_device must be a whole number from 1 to 1000000, got 0"),
            ("4", "there must be room for logins.failures_per_address = 30, got 29"),
        ]);
    Case::new("[logins]\nfailures_per_account_and_address = 21\n")
        .check(&[("2", "there must be room for logins.failures_per_account_and_address = 21, got 20")]);
}

#[test]
fn a_table_of_systems_is_read_when_it_is_named() {
    let systems = include_bytes!("../../../../golden/systems/systems.mmdb");
    let of = |file: &[u8], text: &str| {
        let case = Case::new(text);
        std::fs::write(case.home.path().join("asn.mmdb"), file).unwrap();
        case
    };
    let text = "[registration]\naccounts_per_asn = 7\n[defence]\nasn_file = \"asn.mmdb\"\n";
    let registration = of(systems, text).good().settings.registration;
    assert!(registration.systems.is_some() && registration.accounts_per_asn == 7);
    of(&systems[..systems.len() - 1], text).check(&[("4", "defence.asn_file can't be used")]);
    of(include_bytes!("../../../../golden/systems/countries.mmdb"), text)
        .check(&[("4", "must have the numbers of autonomous systems")]);
    Case::new(text).check(&[("4", "asn.mmdb can't be read")]);
    Case::new("[registration]\naccounts_per_asn = 7\n")
        .check(&[("2", "registration.accounts_per_asn is of no use without defence.asn_file")]);
}

/// What `explain` writes, as somebody takes all marks from it.
fn unmarked(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_explained_is_a_file_to_begin_with() {
    let (text, mistakes) = explain(&Sources::default(), None).unwrap();
    assert!(mistakes.is_empty());
    // As it is, it sets nothing.
    assert_eq!(Case::new(&text).good().settings, Case::new("").good().settings);
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
    let all = unmarked(&text);
    let table: toml::Table = all.parse().unwrap_or_else(|error| panic!("{error}\n{all}"));
    for setting in SETTINGS {
        let section = match table.get(setting.section) {
            Some(toml::Value::Array(providers)) => providers[0].as_table(),
            Some(section) => section.as_table(),
            None => Some(&table),
        };
        assert!(section.unwrap().contains_key(setting.key), "{} is not explained", setting.name());
    }
    // Every value in it is of its setting's kind.
    let mut mistakes = Mistakes::default();
    let file = ConfigFile { path: "all".into(), text: all, mode: 0o600 };
    read(&Sources { file: Some(file), ..Sources::default() }, &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    assert!(text.lines().all(|line| line.len() <= 100 || !line.starts_with("# ")), "{text}");
    assert!(SETTINGS.iter().all(|setting| setting.kind != Kind::Whole(0, 0)));
}

#[test]
fn what_is_in_force_is_shown_with_its_place_and_no_secret() {
    let text = format!(
        "{MAIL}username = \"u\"\npassword = \"hunted\"\n[[oidc]]\nid = \"a\"\nclient_secret = \"hunted\"\n"
    );
    let case = Case::new(&text).variable("CACHALOT_MAIL_PORT", "2525");
    let explained = |wanted| explain(&case.sources, wanted).unwrap().0;
    let mail = explained(Some("mail"));
    assert!(mail.contains("#[mail]") && !mail.contains("#[tls]"), "{mail}");
    assert!(mail.contains("#server = \"smtp.a.example\""), "{mail}");
    let port = explained(Some("mail.port"));
    assert!(port.contains("#port = 2525") && port.contains("Set by CACHALOT_MAIL_PORT."), "{port}");
    assert!(explained(Some("mail.password")).contains("cachalot.toml:6."));
    assert!(explained(Some("loaded_max")).contains("This is the default."));
    assert!(explained(Some("threads")).contains("Not set"));
    assert!(explained(Some("oidc.id")).contains("#[[oidc]]\n"));
    let all = explained(None);
    assert!(!all.contains("hunted") && all.matches("(hidden)").count() == 2, "{all}");
    let error = explain(&case.sources, Some("mail.prot")).unwrap_err();
    assert!(error.contains("did you mean mail.port?"), "{error}");
    assert!(explain(&case.sources, Some("")).is_err());
}

#[test]
fn the_file_is_read_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let read = |asked_for| read_file(path.clone(), asked_for);
    assert!(read(false).unwrap().is_none());
    assert!(read(true).unwrap_err().to_string().contains("can't be read"));
    std::fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
    assert!(read(false).unwrap_err().to_string().contains("c.toml:2: this is no UTF-8"));
    std::fs::write(&path, vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert!(read(false).unwrap_err().to_string().contains("at most 1048576 bytes"));
    std::fs::write(&path, "threads = 1\n").unwrap();
    assert_eq!(read(true).unwrap().unwrap().text, "threads = 1\n");
    assert_eq!(Place::File(Path::new("/a/b.toml").to_owned(), 1).path("c"), Path::new("/a/c"));
    assert_eq!(Place::File(Path::new("/a/b.toml").to_owned(), 1).path("/c"), Path::new("/c"));
}
