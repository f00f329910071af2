use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use super::server::{Reply, Seen, Server, serve_file};
use super::{House, PullError, Request, catalog, model_bytes, sha256};

const ETAG: &str = "\"one\"";

#[test]
fn a_model_is_fetched_verified_and_not_fetched_twice() {
    let model = model_bytes(1);
    let (served, sum) = (model.clone(), sha256(&model));
    let server = Server::start(move |_, seen| serve_file(seen, &served, ETAG));
    let mut house = House::new();
    let catalog = catalog(model.len() as u64, &[(&server.url("/m.gguf"), Some(&sum))]);
    let pulled = house.pull(&catalog, "tiny").unwrap();
    assert!(!pulled.already);
    assert_eq!((pulled.model.sha256.as_str(), pulled.model.bytes), (sum.as_str(), model.len() as u64));
    assert_eq!(std::fs::read(&pulled.model.path).unwrap(), model);
    assert!(house.partial_files().is_empty());
    assert!(house.pull(&catalog, "tiny").unwrap().already);
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/m.gguf"));
    assert_eq!((seen[0].header("range"), seen[0].header("authorization")), (None, None));
    assert_eq!(seen[0].header("accept-encoding"), Some("identity"));
    let total = model.len() as u64;
    assert_eq!(house.progress.works, [("Downloading".to_owned(), 0, Some(total), total)]);
    assert!(house.progress.lines.contains(&"Note: take care".to_owned()));
}

#[test]
fn connections_that_break_are_gone_on_with() {
    let model = model_bytes(2);
    let (served, sum) = (model.clone(), sha256(&model));
    let server = Server::start(move |number, seen| {
        let reply = serve_file(seen, &served, ETAG);
        if number < 3 { reply.cut_at(150_000) } else { reply }
    });
    let mut house = House::new();
    let catalog = catalog(model.len() as u64, &[(&server.url("/m.gguf"), Some(&sum))]);
    house.pull(&catalog, "tiny").unwrap();
    let seen = server.seen();
    let starts: Vec<_> = seen.iter().map(Seen::range_start).collect();
    assert_eq!(starts, [None, Some(150_000), Some(300_000), Some(450_000)]);
    assert!(seen[1..].iter().all(|seen| seen.header("if-range") == Some(ETAG)));
}

/// A first run that gets `there` bytes and then no connection any more.
fn interrupted(house: &mut House, model: &[u8], there: usize) -> (Server, Arc<AtomicBool>, String) {
    let (served, works) = (model.to_vec(), Arc::new(AtomicBool::new(false)));
    let works_now = works.clone();
    let server = Server::start(move |number, seen| match (works_now.load(Ordering::SeqCst), number) {
        (true, _) => serve_file(seen, &served, ETAG),
        (false, 0) => serve_file(seen, &served, ETAG).cut_at(there),
        (false, _) => serve_file(seen, &served, ETAG).cut_at(0),
    });
    let location = server.url("/m.gguf");
    let error = house.failure(&catalog(1, &[(&location, None)]), "tiny");
    let total = model.len() as u64;
    assert!(
        matches!(error, PullError::Interrupted { at, total: Some(all), .. } if at == there as u64 && all == total),
        "{error}"
    );
    assert!(error.to_string().contains("run the command again to go on from there"), "{error}");
    (server, works, location)
}

#[test]
fn a_later_run_goes_on_where_the_first_stopped() {
    let (mut house, model) = (House::new(), model_bytes(3));
    let (server, works, location) = interrupted(&mut house, &model, 400_000);
    assert_eq!(house.partial_files().len(), 2, "the file and what is known of its origin stay");
    works.store(true, Ordering::SeqCst);
    let pulled = house.pull(&catalog(1, &[(&location, None)]), "tiny").unwrap();
    assert_eq!(std::fs::read(&pulled.model.path).unwrap(), model);
    let last = server.seen().pop().unwrap();
    assert_eq!((last.range_start(), last.header("if-range")), (Some(400_000), Some(ETAG)));
    assert_eq!(house.progress.works.last().unwrap().1, 400_000, "the bar begins where the first run stopped");
    assert!(house.partial_files().is_empty());
}

#[test]
fn a_file_that_was_complete_but_had_no_name_yet_gets_it() {
    let model = model_bytes(4);
    let (served, sum) = (model.clone(), sha256(&model));
    let server = Server::start(move |_, seen| serve_file(seen, &served, ETAG));
    let mut house = House::new();
    let location = server.url("/m.gguf");
    let (part, _) = house.library.partial_paths(&location.parse().unwrap());
    std::fs::write(part, &model).unwrap();
    house.pull(&catalog(model.len() as u64, &[(&location, Some(&sum))]), "tiny").unwrap();
    assert_eq!(server.seen()[0].range_start(), Some(model.len()));
}

#[test]
fn servers_that_ignore_ranges_are_understood() {
    let (mut house, model) = (House::new(), model_bytes(5));
    let (served, sum) = (model.clone(), sha256(&model));
    let server = Server::start(move |number, _| {
        let whole = Reply::ok(&served);
        if number == 0 { whole.cut_at(200_000) } else { whole }
    });
    let catalog = catalog(model.len() as u64, &[(&server.url("/m.gguf"), Some(&sum))]);
    house.pull(&catalog, "tiny").unwrap();
    assert_eq!(server.seen()[1].range_start(), Some(200_000));
    assert!(house.progress.lines.iter().any(|line| line.contains("from its beginning")));
}

#[test]
fn without_validator_and_checksum_nothing_old_is_used() {
    let (mut house, model) = (House::new(), model_bytes(6));
    let served = model.clone();
    let server = Server::start(move |number, seen| {
        let mut reply = serve_file(seen, &served, ETAG);
        reply.headers.retain(|(name, _)| name != "ETag");
        if number == 0 { reply.cut_at(200_000) } else { reply }
    });
    let pulled = house.pull(&catalog(1, &[(&server.url("/m.gguf"), None)]), "tiny").unwrap();
    assert_eq!(std::fs::read(&pulled.model.path).unwrap(), model);
    assert_eq!(server.seen()[1].range_start(), None);
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_anew() {
    let (mut house, old, new) = (House::new(), model_bytes(7), model_bytes(8));
    let (first, _, location) = interrupted(&mut house, &old, 300_000);
    drop(first);
    // The same place, now with another file: a good server, and one that ignores If-Range.
    for careless in [false, true] {
        let served = new.clone();
        let server = Server::start(move |_, seen| match (careless, seen.range_start()) {
            (true, Some(_)) => {
                let mut plain = seen.clone();
                plain.headers.retain(|(name, _)| name != "if-range");
                serve_file(&plain, &served, "\"two\"")
            }
            _ => serve_file(seen, &served, "\"two\""),
        });
        let here = server.url("/m.gguf");
        let (from, to) = (house.library.partial_paths(&location.parse().unwrap()), here.parse().unwrap());
        let (part, origin) = house.library.partial_paths(&to);
        std::fs::copy(&from.0, part).unwrap();
        std::fs::copy(&from.1, origin).unwrap();
        let request = Request { what: here, name: Some(format!("m{careless}")), ..Request::default() };
        let pulled = house.request(&catalog(1, &[("hf:a/b/c", None)]), &request).unwrap();
        assert_eq!(pulled.model.sha256, sha256(&new), "careless: {careless}");
    }
}

#[test]
fn a_wrong_sum_removes_the_file_and_the_next_source_is_tried() {
    let (mut house, model) = (House::new(), model_bytes(9));
    let (served, sum) = (model.clone(), sha256(&model));
    let server = Server::start(move |_, seen| match seen.path.as_str() {
        "/bad.gguf" => {
            let mut bad = served.clone();
            bad[500_000] ^= 1;
            serve_file(seen, &bad, ETAG)
        }
        "/gone.gguf" => Reply::status(404),
        _ => serve_file(seen, &served, ETAG),
    });
    let bytes = model.len() as u64;
    let bad = catalog(bytes, &[(&server.url("/bad.gguf"), Some(&sum))]);
    let error = house.failure(&bad, "tiny");
    assert!(matches!(&error, PullError::WrongSum { expected, .. } if *expected == sum), "{error}");
    assert!(house.partial_files().is_empty());
    assert!(house.library.installed().unwrap().is_empty());
    let urls = ["/bad.gguf", "/gone.gguf", "/good.gguf"].map(|path| server.url(path));
    let sources: Vec<_> = urls.iter().map(|url| (url.as_str(), Some(sum.as_str()))).collect();
    assert_eq!(house.pull(&catalog(bytes, &sources), "tiny").unwrap().model.source, urls[2]);
    let told = house.progress.lines.join("\n");
    assert!(told.contains("checksum is wrong") && told.contains("404 (there is no such file)"), "{told}");
}

#[test]
fn when_no_source_works_each_says_why() {
    let mut house = House::new();
    let server = Server::start(|number, _| Reply::status([404, 403, 503][number]));
    let urls = ["/a.gguf", "/b.gguf", "/c.gguf"].map(|path| server.url(path));
    let sources: Vec<_> = urls.iter().map(|url| (url.as_str(), None)).collect();
    let error = house.pull(&catalog(1, &sources), "tiny").unwrap_err().to_string();
    for (url, reason) in
        urls.iter().zip(["404 (there is", "403 (not allowed; for a gated", "503 (the server has"])
    {
        assert!(error.contains(&format!("{url}: the server answered {reason}")), "{error}");
    }
}

#[test]
fn no_network_is_told_as_such() {
    let mut house = House::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = house.failure(&catalog(1, &[(&format!("http://{closed}/m.gguf"), None)]), "tiny");
    assert!(matches!(&error, PullError::Network { host, .. } if *host == closed.to_string()), "{error}");
    let error =
        house.failure(&catalog(1, &[("http://no-such-host.invalid/m.gguf", None)]), "tiny").to_string();
    let expected = "no connection to no-such-host.invalid: the host was not found (is there a network?)";
    assert_eq!(error, expected);
}

#[test]
fn sizes_are_checked_before_the_first_byte() {
    let (mut house, model) = (House::new(), model_bytes(10));
    let (served, sum) = (model.clone(), sha256(&model));
    let server = Server::start(move |_, seen| match seen.path.as_str() {
        "/huge.gguf" => Reply { announced: Some(1 << 60), ..serve_file(seen, &served, ETAG) },
        _ => serve_file(seen, &served, ETAG),
    });
    let short = catalog(model.len() as u64 - 1, &[(&server.url("/m.gguf"), Some(&sum))]);
    let error = house.failure(&short, "tiny");
    assert!(matches!(error, PullError::WrongSize { given, .. } if given == model.len() as u64), "{error}");
    let error = house.failure(&catalog(1, &[(&server.url("/huge.gguf"), None)]), "tiny");
    assert!(matches!(error, PullError::NoSpace { needed, .. } if needed == 1 << 60), "{error}");
}

#[test]
fn a_body_without_a_length_is_taken() {
    let (mut house, model) = (House::new(), model_bytes(11));
    let served = model.clone();
    let server = Server::start(move |_, _| Reply { chunked: true, ..Reply::ok(&served) });
    let pulled = house.pull(&catalog(1, &[(&server.url("/m.gguf"), None)]), "tiny").unwrap();
    assert_eq!(pulled.model.sha256, sha256(&model));
    assert_eq!(house.progress.works[0].2, None);
}

#[test]
fn a_connection_that_goes_silent_is_given_up() {
    let (mut house, model) = (House::new(), model_bytes(12));
    house.settings.stall = std::time::Duration::from_millis(300);
    let served = model.clone();
    let server = Server::start(move |number, seen| {
        let reply = serve_file(seen, &served, ETAG);
        if number == 0 { Reply { stall: true, ..reply.cut_at(100_000) } } else { reply }
    });
    let pulled = house.pull(&catalog(1, &[(&server.url("/m.gguf"), None)]), "tiny").unwrap();
    assert_eq!(pulled.model.sha256, sha256(&model));
    assert_eq!(server.seen()[1].range_start(), Some(100_000));
}

#[test]
fn hugging_face_gets_the_token_and_nobody_else() {
    let (mut house, model) = (House::new(), model_bytes(13));
    let served = model.clone();
    let far = Server::start(move |_, seen| serve_file(seen, &served, ETAG));
    // Another host name, so another host.
    let elsewhere = format!("http://localhost:{}/far.gguf", far.port());
    let hub = Server::start(move |_, _| Reply::status(302).header("Location", &elsewhere));
    house.settings.hf.endpoint = Some(hub.url("/"));
    house.settings.hf.token = Some("secret".to_owned());
    let what = "hf:owner/repo@v2/dir/m.gguf";
    let pulled = house.pull(&catalog(1, &[("hf:a/b/c", None)]), what).unwrap();
    assert_eq!((pulled.model.name.as_str(), pulled.model.sha256), (what, sha256(&model)));
    let asked = &hub.seen()[0];
    assert_eq!(asked.path, "/owner/repo/resolve/v2/dir/m.gguf");
    assert_eq!(asked.header("authorization"), Some("Bearer secret"));
    assert_eq!(far.seen()[0].header("authorization"), None);
}

#[test]
fn the_first_download_is_pinned_when_no_checksum_is_known() {
    let (mut house, old, new) = (House::new(), model_bytes(14), model_bytes(15));
    let (changed, served) = (Arc::new(AtomicBool::new(false)), [old.clone(), new.clone()]);
    let now = changed.clone();
    let server = Server::start(move |_, seen| {
        serve_file(seen, &served[usize::from(now.load(Ordering::SeqCst))], ETAG)
    });
    let catalog = catalog(1, &[(&server.url("/m.gguf"), None)]);
    house.pull(&catalog, "tiny").unwrap();
    assert!(house.progress.lines.last().unwrap().ends_with(&sha256(&old)));
    house.library.remove("tiny").unwrap();
    changed.store(true, Ordering::SeqCst);
    let error = house.failure(&catalog, "tiny");
    assert!(matches!(&error, PullError::WrongPin { pinned, .. } if *pinned == sha256(&old)), "{error}");
    assert!(house.partial_files().is_empty());
    let request = Request { what: "tiny".to_owned(), repin: true, ..Request::default() };
    assert_eq!(house.request(&catalog, &request).unwrap().model.sha256, sha256(&new));
    house.library.remove("tiny").unwrap();
    house.pull(&catalog, "tiny").unwrap();
}

#[test]
fn a_page_that_is_no_model_is_not_pinned() {
    let mut house = House::new();
    let server = Server::start(|_, _| Reply::ok(b"<html>Please log in to your hotel's network</html>"));
    let catalog = catalog(1, &[(&server.url("/m.gguf"), None)]);
    let error = house.failure(&catalog, "tiny");
    assert!(matches!(error, PullError::NotAModel(_)), "{error}");
    assert!(house.partial_files().is_empty());
    assert_eq!(house.library.pin(&server.url("/m.gguf").parse().unwrap()).unwrap(), None);
}

#[test]
fn two_pulls_at_once_download_once() {
    let model = model_bytes(16);
    let (served, sum) = (model.clone(), sha256(&model));
    let server = Server::start(move |_, seen| serve_file(seen, &served, ETAG));
    let house = House::new();
    let catalog = catalog(model.len() as u64, &[(&server.url("/m.gguf"), Some(&sum))]);
    let barrier = Barrier::new(2);
    let mut already: Vec<bool> = std::thread::scope(|scope| {
        let pull = || {
            let mut progress = super::Recorder::default();
            let request = Request { what: "tiny".to_owned(), ..Request::default() };
            barrier.wait();
            super::pull_with(&house.settings, &house.library, &catalog, &request, &mut progress)
                .unwrap()
                .already
        };
        let (first, second) = (scope.spawn(pull), scope.spawn(pull));
        vec![first.join().unwrap(), second.join().unwrap()]
    });
    already.sort_unstable();
    assert_eq!(already, [false, true]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn the_query_of_a_url_is_kept_nowhere() {
    let (mut house, model) = (House::new(), model_bytes(17));
    let served = model.clone();
    let server = Server::start(move |_, seen| serve_file(seen, &served, ETAG));
    let catalog = catalog(1, &[("hf:nobody/nothing/x.gguf", None)]);
    let signed = server.url("/m.gguf?signature=secret");
    let pulled = house.pull(&catalog, &signed).unwrap();
    assert_eq!(server.seen()[0].path, "/m.gguf?signature=secret");
    assert_eq!(pulled.model.name, server.url("/m.gguf"));
    assert!(house.pull(&catalog, &signed).unwrap().already);
    // Another query may stand for another file.
    assert!(!house.pull(&catalog, &server.url("/m.gguf?signature=other")).unwrap().already);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = house.pull(&catalog, &format!("http://{closed}/m.gguf?signature=secret")).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(house.progress.lines.iter().all(|line| !line.contains("secret")), "{:?}", house.progress.lines);
    let mut folders = vec![house.library.home().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                assert!(!text.contains("secret"), "{}: {text}", path.display());
            }
        }
    }
}
