//! Behind a proxy, and beyond loopback.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use base::{Rng, SystemClock};
use dialogue::{Hub, HubConfig};
use serde_json::json;
use server::{ForwardedHeader, Parts, Proxy, ServeError, Server, Settings};
use store::SqliteStore;
use tokio::net::TcpListener;

use crate::mail::log;
use crate::support::{ADMINISTRATOR, Client, Models, PASSWORD, Reply, Setup, Site, within};

const XFF: &str = "x-forwarded-for";
const NAME: &str = "chat.example.org";

/// Behind proxies of these networks, known as `https://chat.example.org`. Nobody is signed in.
fn behind(networks: &[&str], header: ForwardedHeader) -> Setup {
    let trusted = networks.iter().map(|network| network.parse().unwrap()).collect();
    let mut setup = Setup::with(|settings| {
        settings.proxy = Some(Proxy { trusted, header, protocol: false });
        settings.public_url = Some(format!("https://{NAME}/").parse().unwrap());
        settings.defence.login_limits.narrow = 2;
    });
    setup.administrator = false;
    setup
}

/// A failed login with this field, by the public name.
async fn guess(site: &Site, field: (&str, &str)) -> Reply {
    let body = serde_json::to_vec(&json!({"login": "nobody", "password": "wrong, but long"})).unwrap();
    let headers = [("host", NAME), ("content-type", "application/json"), field];
    Client::new(site.address).request("POST", "/api/login", &headers, body).await
}

/// The address under which the last event was noted.
async fn noted(site: &Site) -> String {
    site.store.audit_entries(None, 1).await.unwrap()[0].address.clone()
}

#[tokio::test]
async fn a_declared_proxy_says_for_whom_it_asks() {
    let site = behind(&["127.0.0.0/8"], ForwardedHeader::XForwardedFor).serve().await;
    for sent in ["203.0.113.7", "1.1.1.1, 203.0.113.7"] {
        guess(&site, (XFF, sent)).await.is_error(401, "wrong_login");
        assert_eq!(noted(&site).await, "203.0.113.7");
    }
    // Whatever that network says of itself, it has had its tries; another has not.
    for sent in ["203.0.113.7", "8.8.8.8, 203.0.113.7", "127.0.0.1,203.0.113.7, 127.0.0.1"] {
        guess(&site, (XFF, sent)).await.is_error(428, "challenge_required");
    }
    guess(&site, (XFF, "203.0.113.7, 198.51.100.2")).await.is_error(401, "wrong_login");
    assert_eq!(noted(&site).await, "198.51.100.2");
    // The field that is not the declared one says nothing.
    guess(&site, ("forwarded", "for=192.0.2.33")).await.is_error(401, "wrong_login");
    assert_eq!(noted(&site).await, "127.0.0.1");
}

#[tokio::test]
async fn forwarded_is_understood_too() {
    let site = behind(&["127.0.0.0/8"], ForwardedHeader::Forwarded).serve().await;
    let sent = "for=\"9.9.9.9, for=\"[2001:db8:1:2::7]:4711\";proto=https";
    guess(&site, ("forwarded", sent)).await.is_error(401, "wrong_login");
    assert_eq!(noted(&site).await, "2001:db8:1:2::7");
    guess(&site, (XFF, "192.0.2.33")).await.is_error(401, "wrong_login");
    assert_eq!(noted(&site).await, "127.0.0.1");
}

#[tokio::test]
async fn what_is_no_address_counts_for_the_proxy_itself() {
    let site = behind(&["127.0.0.0/8"], ForwardedHeader::XForwardedFor).serve().await;
    for sent in ["unknown", "203.0.113.7, evil"] {
        guess(&site, (XFF, sent)).await.is_error(401, "wrong_login");
        assert_eq!(noted(&site).await, "127.0.0.1");
    }
    guess(&site, (XFF, "203.0.113.300")).await.is_error(428, "challenge_required");
}

#[tokio::test]
async fn nobody_else_is_believed() {
    // This machine's own address is not among the declared ones.
    let site = behind(&["10.0.0.0/8"], ForwardedHeader::XForwardedFor).serve().await;
    for sent in ["203.0.113.7", "198.51.100.2"] {
        guess(&site, (XFF, sent)).await.is_error(401, "wrong_login");
        assert_eq!(noted(&site).await, "127.0.0.1");
    }
    guess(&site, (XFF, "192.0.2.33")).await.is_error(428, "challenge_required");
}

#[tokio::test]
async fn only_the_public_name_is_answered_to_those_who_come_through_it() {
    let site = behind(&["127.0.0.0/8"], ForwardedHeader::XForwardedFor).serve().await;
    let client = Client::new(site.address);
    let forwarded = (XFF, "203.0.113.7");
    let ask =
        async |headers: &[(&str, &str)]| client.request("GET", "/api/session", headers, Vec::new()).await;
    assert_eq!(ask(&[("host", NAME), forwarded]).await.status, 200);
    for host in ["evil.example", "localhost", "127.0.0.1:8080"] {
        let reply = ask(&[("host", host), forwarded]).await;
        reply.is_error(403, "forbidden_host");
        assert!(reply.text().contains(NAME), "{}", reply.text());
    }
    // A look from the machine itself, as of a health check.
    assert_eq!(ask(&[("host", "localhost:8080")]).await.status, 200);
    ask(&[("host", "evil.example")]).await.is_error(403, "forbidden_host");
    let origin = |origin| [("host", NAME), forwarded, ("origin", origin)];
    assert_eq!(ask(&origin("https://chat.example.org")).await.status, 200);
    ask(&origin("http://chat.example.org")).await.is_error(403, "forbidden_origin");
    ask(&origin("https://evil.example")).await.is_error(403, "forbidden_origin");
}

#[tokio::test]
async fn an_https_server_says_so_in_cookies_and_headers() {
    let site = behind(&["127.0.0.0/8"], ForwardedHeader::XForwardedFor).serve().await;
    let client = Client::new(site.address);
    let body = json!({"token": crate::support::SETUP_TOKEN, "name": ADMINISTRATOR, "password": PASSWORD});
    let reply = client.post("/api/setup", &body).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("__Host-cachalot-"), "{cookie}");
    let attributes: Vec<_> = cookie.split("; ").skip(1).collect();
    assert_eq!(attributes, ["Max-Age=2592000", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"]);
    // Said under the public name only: localhost is other servers' name too.
    assert_eq!(reply.header("strict-transport-security"), "");
    let named = client.request("GET", "/", &[("host", NAME)], Vec::new()).await;
    assert_eq!(named.header("strict-transport-security"), "max-age=31536000");
    let signed_in = client.signed_in(&reply);
    assert_eq!(signed_in.get("/api/models").await.status, 200);
    // Under the name without the prefix, which a neighbouring host could have planted, it is nobody's.
    let planted = Client { cookie: signed_in.cookie.map(|cookie| cookie.replace("__Host-", "")), ..client };
    planted.get("/api/models").await.is_error(401, "not_signed_in");

    let plain = Site::new().await;
    let reply = crate::support::sign_in(&Client::new(plain.address), ADMINISTRATOR).await;
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("cachalot-") && !cookie.contains("Secure"), "{cookie}");
    assert_eq!(reply.header("strict-transport-security"), "");
}

#[tokio::test]
async fn without_a_key_programs_are_this_machine_s_or_those_of_who_is_signed_in() {
    let site = behind(&["10.0.0.0/8"], ForwardedHeader::XForwardedFor).serve().await;
    let reply = crate::support::set_up(&Client::new(site.address)).await;
    let signed_in = Client::new(site.address).signed_in(&reply);
    let nobody = Client::new(site.address);
    for path in ["/v1/models", "/metrics"] {
        let ask = async |client: &Client, headers: &[(&str, &str)]| {
            client.request("GET", path, headers, Vec::new()).await
        };
        assert_eq!(ask(&nobody, &[]).await.status, 200, "{path} from this machine");
        // From this machine, but for others: by what they call it, or by what their proxy says.
        for headers in [
            vec![("host", NAME)],
            vec![(XFF, "203.0.113.7")],
            vec![(XFF, "127.0.0.1")],
            vec![("forwarded", "for=127.0.0.1")],
            vec![("via", "1.1 relay")],
        ] {
            ask(&nobody, &headers).await.is_error(401, "invalid_api_key");
            assert_eq!(ask(&signed_in, &headers).await.status, 200, "{path} {headers:?}");
        }
    }
    let asked = json!({"model": "plain", "messages": [{"role": "user", "content": "Hi"}]});
    let body = || serde_json::to_vec(&asked).unwrap();
    let headers = [("content-type", "application/json"), ("host", NAME)];
    let reply = nobody.request("POST", "/v1/chat/completions", &headers, body()).await;
    reply.is_error(401, "invalid_api_key");
    let reply = signed_in.request("POST", "/v1/chat/completions", &headers, body()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_proxy_on_this_machine_that_does_not_say_for_whom_opens_nothing() {
    let site = behind(&["127.0.0.0/8"], ForwardedHeader::XForwardedFor).serve().await;
    for path in ["/v1/models", "/metrics"] {
        Client::new(site.address).get(path).await.is_error(401, "invalid_api_key");
    }
}

async fn refusal(address: &str) -> ServeError {
    let store = SqliteStore::in_memory(Arc::new(SystemClock::new()), Rng::from_seed(1)).await.unwrap();
    let config = HubConfig { default_model: "plain".to_owned(), loaded_max: 1 };
    let server = Server::new(Parts {
        settings: Settings::default(),
        hub: Hub::new(Box::new(Models::default()), config),
        store: Arc::new(store),
        clock: Arc::new(SystemClock::new()),
        rng: Rng::from_seed(1),
        cookie_key: [5; 32],
        setup_token: None,
    });
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = TcpListener::bind(address).await.unwrap();
    let served = server.serve(vec![first, second], None, std::future::pending());
    within("it is refused", served).await.unwrap_err()
}

#[tokio::test]
async fn beyond_loopback_only_with_tls_or_a_proxy() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let error = refusal(address).await;
        assert!(matches!(error, ServeError::NotLoopback { .. }), "{error}");
        let shown = address.trim_end_matches('0');
        assert!(error.to_string().contains(shown) && error.to_string().contains("proxy.trusted"), "{error}");
    }
    let mut setup = behind(&["10.0.0.0/8"], ForwardedHeader::XForwardedFor);
    setup.listen = vec!["0.0.0.0:0"];
    let site = setup.serve().await;
    let port = site.address.port();
    let here = Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    assert_eq!(here.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn several_listeners_of_both_families() {
    let setup = Setup { listen: vec!["127.0.0.1:0", "[::1]:0"], ..Setup::default() };
    let site = setup.serve().await;
    for address in site.addresses {
        let client = Client { address, ..site.client.clone() };
        for _ in 0..3 {
            assert_eq!(client.get("/api/models").await.status, 200, "{address}");
        }
    }
    // One for both: an IPv4 address that is shown as an IPv6 one is still itself.
    let mut setup = behind(&["127.0.0.0/8"], ForwardedHeader::XForwardedFor);
    setup.listen = vec!["[::]:0"];
    let mut site = setup.serve().await;
    let port = site.address.port();
    let four = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for address in [four, SocketAddr::from((Ipv6Addr::LOCALHOST, port))] {
        assert_eq!(Client::new(address).get("/healthz").await.status, 200, "{address}");
    }
    site.address = four;
    guess(&site, (XFF, "203.0.113.7")).await.is_error(401, "wrong_login");
    assert_eq!(noted(&site).await, "203.0.113.7");
}

#[tokio::test]
async fn a_declared_proxy_names_its_requests_and_nobody_else_does() {
    let (log, _guard) = log();
    let given = async |site: &Site, fields: &[(&str, &str)]| {
        let client = Client::new(site.address);
        let reply = client.request("GET", "/api/session", fields, Vec::new()).await;
        reply.header("x-request-id").to_owned()
    };
    let site = behind(&["127.0.0.0/8"], ForwardedHeader::XForwardedFor).serve().await;
    let (longest, too_long) = ("a".repeat(128), "a".repeat(129));
    for name in ["01-Ab_c.", &longest] {
        assert_eq!(given(&site, &[("x-request-id", name), (XFF, "203.0.113.7"), ("host", NAME)]).await, name);
    }
    for name in ["", "1234567", &too_long, "with space", "a\"quoted\""] {
        let own = given(&site, &[("x-request-id", name)]).await;
        assert!(own.len() == 16 && own != name, "{name} became {own}");
    }
    let twice = given(&site, &[("x-request-id", "12345678"), ("x-request-id", "12345678")]).await;
    assert_eq!(twice.len(), 16);
    let open = Site::new().await;
    assert_eq!(given(&open, &[("x-request-id", "12345678")]).await.len(), 16);

    // What is logged for a request stands in its span.
    site.store.close().await.unwrap();
    let name = given(&site, &[("x-request-id", "of-the-proxy")]).await;
    assert_eq!(name, "of-the-proxy");
    let fields = [("x-request-id", "of-the-failure")];
    let reply = Client::new(site.address).request("GET", "/readyz", &fields, Vec::new()).await;
    assert_eq!(reply.status, 503);
    let login = json!({"login": "nobody", "password": PASSWORD});
    let fields = [("x-request-id", "of-the-login"), ("content-type", "application/json")];
    let body = serde_json::to_vec(&login).unwrap();
    let reply = Client::new(site.address).request("POST", "/api/login", &fields, body).await;
    assert_eq!(reply.status, 500);
    let text = log.text();
    let line = text
        .lines()
        .find(|line| line.contains(r#"request_id="of-the-login""#) && line.contains("failed"))
        .unwrap_or_else(|| panic!("{text}"));
    for part in
        [r#"request_id="of-the-login""#, r#"route="/api/login""#, r#"class="anonymous""#, "status=500"]
    {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}
