//! A whole drill, a few seconds long, against the plain server, which has no defence and speaks HTTP/2.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Clock as _, SystemClock};
use drill::{Admin, Choices, Cores, DrillError, Kind, Phase, Plan, Report, Site, Target};

struct Plain {
    child: Child,
    address: SocketAddr,
    token: String,
}

impl Plain {
    fn start() -> Self {
        // Cargo builds examples beside the folder of tests.
        let own = std::env::current_exe().unwrap();
        let program = own.parent().unwrap().parent().unwrap().join("examples/plain");
        let mut child = Command::new(&program).stdout(Stdio::piped()).spawn().unwrap();
        let (mut address, mut token) = (None, None);
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            if let Some(found) = line.strip_prefix("It listens on ") {
                address = Some(found.parse().unwrap());
            } else if let Some(found) = line.strip_prefix("/setup#") {
                token = Some(found.to_owned());
                break;
            }
        }
        Self { child, address: address.unwrap(), token: token.unwrap() }
    }

    fn site(&self, admin: Admin) -> Site {
        let target =
            Target::new(self.address, admin).unwrap().called("drill.example").with_process(self.child.id());
        Site {
            target,
            about: "plain".to_owned(),
            settings: BTreeMap::new(),
            connections_max: 64,
            cores: Cores::halved().unwrap(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// The whole answer.
    fn ask(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        let fields = "Host: x\r\nConnection: close\r\nContent-Type: application/json";
        write!(stream, "{head}\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn plan(attacks: &[Kind]) -> Plan {
    let choices = Choices {
        quick: true,
        seed: 3,
        strength: Some(1.0),
        attack_seconds: Some(3),
        attacks: attacks.to_vec(),
        server_cores: 1,
        ..Choices::default()
    };
    let mut plan = Plan::new(choices).unwrap();
    // Enough of them that each class comes.
    plan.people.chats_per_second = 5.0;
    plan.people.logins_per_second = 2.0;
    plan.people.newcomers_per_second = 2.0;
    plan
}

fn run(plan: Plan, site: Site, stop: impl Future<Output = ()>) -> (Result<Report, DrillError>, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let said = Mutex::new(Vec::new());
    let progress = |line: &str| said.lock().unwrap().push(line.to_owned());
    let report = runtime.block_on(drill::run(plan, site, stop, &progress));
    (report, said.into_inner().unwrap())
}

#[test]
fn everybody_comes_and_is_counted() {
    let mut plan = plan(&[]);
    plan.cost_of_each = Duration::from_millis(300);
    let plain = Plain::start();
    let site = plain.site(Admin::Setup(plain.token.clone()));
    let (report, said) = run(plan.clone(), site, std::future::pending());
    let report = report.unwrap();
    println!("{}", report.to_table());
    assert!(said.iter().any(|line| line.starts_with("attack: 3 s, http-flood, ")), "{said:?}");
    let phases: Vec<_> = report.phases.iter().map(|of| of.phase).collect();
    assert_eq!(phases, Phase::ALL);
    let calm = &report.phases[0];
    assert!(calm.chats.came > 3 && calm.chats.good == calm.chats.came, "{calm:?}");
    assert!(calm.logins.came > 0 && calm.logins.ok == calm.logins.came, "{calm:?}");
    assert!(calm.newcomers.came > 0 && calm.newcomers.accounts == calm.newcomers.came, "{calm:?}");
    assert_eq!(calm.chats.came, report.phases[1].chats.came, "attack and calm are paired");
    // Nothing is refused by a server without defences: attackers have accounts, and say so of every kind.
    assert!(report.summary.attacker_accounts.unwrap() > 0);
    for attack in &report.attacks {
        assert_eq!(attack.not_applicable, None, "it speaks HTTP/2");
        assert!(attack.count.sent > 0, "{attack:?}");
    }
    let of = |kind: Kind| &report.attacks.iter().find(|attack| attack.kind == kind).unwrap().count;
    assert!(of(Kind::HttpFlood).served > 0, "{:?}", of(Kind::HttpFlood));
    assert!(of(Kind::RegistrationFlood).served > 0, "{:?}", of(Kind::RegistrationFlood));
    assert_eq!(of(Kind::CredentialStuffing).served, 0, "{:?}", of(Kind::CredentialStuffing));
    assert!(of(Kind::Slowloris).held > 0, "{:?}", of(Kind::Slowloris));
    assert!(of(Kind::Sleepers).served > 0, "{:?}", of(Kind::Sleepers));
    // hyper ends connections whose headers never end.
    assert!(of(Kind::Continuation).cut > 0, "{:?}", of(Kind::Continuation));
    // It has no gate, and the drill doesn't invent one.
    for name in ["detect_seconds", "reopen_seconds", "account_budget"] {
        assert!(report.unmeasured[name].contains("no GET /status"), "{:?}", report.unmeasured);
    }
    let measured: Vec<_> = report.costs.iter().map(|cost| cost.kind).collect();
    assert_eq!(measured, plan.attacks);
    let stuffing = report.costs.iter().find(|cost| cost.kind == Kind::CredentialStuffing).unwrap();
    // A wrong password is refused after a hash, which takes milliseconds.
    assert!(stuffing.server_micros_per_refusal.unwrap() > 1000.0, "{stuffing:?}");
    assert!(report.samples.len() > 20 && report.samples.iter().all(|sample| sample.server.is_some()));
}

#[test]
fn nothing_is_left_on_a_server_that_is_somebody_s_even_if_the_drill_is_stopped() {
    let plain = Plain::start();
    let asked =
        format!(r#"{{"token":"{}","name":"ada","password":"krill at four hundred fathoms"}}"#, plain.token);
    let made = plain.ask("POST /api/setup HTTP/1.1", &asked);
    let cookie =
        made.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().split(';').next().unwrap();
    let users = || plain.ask(&format!("GET /api/admin/users HTTP/1.1\r\nCookie: {cookie}"), "");
    assert!(users().contains(r#""total":1,"#), "{}", users());
    let admin =
        || Admin::Login { name: "ada".to_owned(), password: "krill at four hundred fathoms".to_owned() };
    let (report, _) = run(plan(&[Kind::RegistrationFlood]), plain.site(admin()), std::future::pending());
    assert!(report.unwrap().summary.attacker_accounts.unwrap() > 0);
    assert!(users().contains(r#""total":1,"#), "{}", users());
    // Stopped when the accounts are there and people have come.
    let began = SystemClock::new();
    let stop = async {
        while !users().contains("-newcomer-") {
            assert!(began.monotonic() < Duration::from_secs(60), "nobody came");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (report, _) = run(plan(&[Kind::Viral]), plain.site(admin()), stop);
    assert!(matches!(report, Err(DrillError::Interrupted)), "{report:?}");
    assert!(users().contains(r#""total":1,"#), "{}", users());
}

#[test]
fn a_drill_that_is_stopped_ends_at_once() {
    let plain = Plain::start();
    let stop = async { tokio::time::sleep(Duration::from_millis(1)).await };
    let (report, _) = run(plan(&[Kind::Viral]), plain.site(Admin::Setup(plain.token.clone())), stop);
    assert!(matches!(report, Err(DrillError::Interrupted)), "{report:?}");
}
