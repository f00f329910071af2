//! Ten thousand incidents of random shape in simulated time: attackers and honest people at the gate, the budget and
//! the waiting list. What fails says the seed and the shape; `SHAPE_SEED=n` runs that one alone and prints its moves; `SHAPES=n` runs so
//! many.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::Rng;
use defence::gate::WINDOW;
use defence::registration::{BudgetSettings, PlaceId, Standing};
use defence::{
    Answer, Concentration, Gate, GateSettings, Level, Moment, Network, Prefix, Proof, Registrar,
    RegistrarSettings, Signals, Source,
};

/// Which take some ten seconds on two cores.
const SHAPES: u64 = 10_000;
/// Seconds before an incident begins.
const CALM_S: u64 = 40;
/// Seconds after its end in which the gate must be open again.
const REOPENS_S: u64 = 120;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Calm,
    Flood,
    Pulses,
    Ramp,
    Viral,
    Mixture,
}

/// How attackers answer challenges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bots {
    /// With a native solver.
    Solve,
    /// With anything.
    Guess,
    /// Not at all.
    Ignore,
}

#[derive(Debug, Clone)]
struct Shape {
    kind: Kind,
    per_minute: u32,
    has_mail: bool,
    /// Honest people who come in a second, at all times.
    usual: f64,
    /// Attackers who come in a second while it lasts.
    attackers: f64,
    /// Honest people who come besides.
    crowd: f64,
    bots: Bots,
    /// Whether they have mailboxes.
    mailboxes: bool,
    prefixes: u32,
    /// Whether the server has a table of autonomous systems.
    has_systems: bool,
    /// Systems that honest people are in, down to the one of a whole country, and those of attackers.
    systems: (u32, u32),
    seconds: u64,
    /// Of pulses.
    on_s: u64,
    off_s: u64,
    /// What established users suffer while attackers get through, or a crowd.
    queue_delay: Duration,
    /// The level that ends it.
    harm_ends: Level,
    logins_failed: u32,
}

impl Shape {
    fn random(rng: &mut Rng) -> Self {
        use Kind::{Calm, Flood, Mixture, Pulses, Ramp, Viral};
        let kind = [Calm, Flood, Pulses, Ramp, Viral, Mixture][rng.below(6)];
        let per_minute = [30, 60, 120][rng.below(3)];
        let budget = f64::from(per_minute) / 60.0;
        let mut between = |from: f64, to: f64| from + (to - from) * f64::from(rng.next_f32());
        let usual = budget * between(0.05, 0.4);
        let attackers = budget
            * match kind {
                // Of fewer than some in a second, chance may leave out any number.
                Flood => between(10.0, 20.0).max(8.0 / budget),
                // From just under what is noticed to far above it.
                Pulses => between(0.5, 8.0),
                Ramp | Mixture => between(2.0, 12.0),
                Calm | Viral => 0.0,
            };
        let crowd = budget * if matches!(kind, Viral | Mixture) { between(1.0, 10.0) } else { 0.0 };
        Self {
            kind,
            per_minute,
            has_mail: rng.below(2) == 0,
            usual,
            attackers,
            crowd,
            bots: [Bots::Solve, Bots::Guess, Bots::Ignore][rng.below(3)],
            mailboxes: rng.below(2) == 0,
            prefixes: 1 << rng.below(17),
            has_systems: rng.below(2) == 0,
            systems: (1 << rng.below(12), 1 << rng.below(8)),
            seconds: 20 + rng.below(50) as u64,
            on_s: 3 + rng.below(20) as u64,
            off_s: 5 + rng.below(80) as u64,
            queue_delay: Duration::from_millis([0, 0, 2000][rng.below(3)]),
            harm_ends: [Level::WaitingList, Level::InviteOnly, Level::Suspended][rng.below(3)],
            logins_failed: [0, 0, 30][rng.below(3)],
        }
    }

    fn end_s(&self) -> u64 {
        let seconds =
            if self.kind == Kind::Pulses { 4 * (self.on_s + self.off_s) - self.off_s } else { self.seconds };
        CALM_S + seconds
    }

    /// The part of its strength that an incident has at a second.
    fn strength(&self, second: u64) -> f64 {
        if second < CALM_S || second >= self.end_s() {
            return 0.0;
        }
        let at = second - CALM_S;
        match self.kind {
            Kind::Calm => 0.0,
            Kind::Pulses => f64::from(u8::from(at % (self.on_s + self.off_s) < self.on_s)),
            Kind::Ramp => (at + 1) as f64 / self.seconds as f64,
            Kind::Flood | Kind::Viral | Kind::Mixture => 1.0,
        }
    }

    /// Bursts, each of which may move the gate up and down.
    fn bursts(&self) -> usize {
        match self.kind {
            Kind::Calm => 0,
            Kind::Pulses => 4,
            Kind::Flood | Kind::Ramp | Kind::Viral | Kind::Mixture => 1,
        }
    }
}

/// Somebody on their way to an account.
#[derive(Debug, Clone, Copy)]
struct Person {
    from: Source,
    proof: Proof,
    honest: bool,
    /// Answers challenges rightly.
    solves: bool,
    reads_mail: bool,
}

struct World {
    shape: Shape,
    rng: Rng,
    gate: Gate,
    registrar: Registrar,
    concentration: Concentration<Prefix>,
    by_system: Concentration<Network>,
    signals: Signals,
    now: Duration,
    /// People who come back, by the second in which they do.
    later: VecDeque<Vec<Person>>,
    honest: u32,
    served: u32,
    accounts: VecDeque<Duration>,
    called_at: Duration,
    highest: Level,
    moves: Vec<(u64, Level, Level)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_seed(seed);
        let shape = Shape::random(&mut rng);
        let (per_minute, per_asn) = (shape.per_minute, 5 * shape.per_minute);
        let budget = BudgetSettings { per_minute, per_asn, ..BudgetSettings::default() };
        let settings = RegistrarSettings { budget, has_mail: shape.has_mail, ..RegistrarSettings::default() };
        let registrar = Registrar::new(settings, &mut rng);
        let settings = GateSettings {
            accounts_per_minute: shape.per_minute,
            has_mail: shape.has_mail,
            ..GateSettings::default()
        };
        Self {
            gate: Gate::new(settings, Duration::ZERO),
            registrar,
            concentration: Concentration::new(WINDOW),
            by_system: Concentration::new(WINDOW),
            signals: Signals::default(),
            now: Duration::ZERO,
            later: VecDeque::new(),
            honest: 0,
            served: 0,
            accounts: VecDeque::new(),
            called_at: Duration::ZERO,
            highest: Level::Open,
            moves: Vec::new(),
            shape,
            rng,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        for second in 1..=self.shape.end_s() + REOPENS_S {
            self.now = Duration::from_secs(second);
            let strength = self.shape.strength(second);
            for person in self.later.pop_front().unwrap_or_default() {
                // Attackers stop at the end.
                if person.honest || strength > 0.0 || second < self.shape.end_s() {
                    self.ask(person)?;
                }
            }
            for _ in 0..self.count(self.shape.usual + self.shape.crowd * strength) {
                let person = self.honest_person();
                self.honest += 1;
                self.ask(person)?;
            }
            for _ in 0..self.count(self.shape.attackers * strength) {
                let person = self.attacker();
                self.ask(person)?;
            }
            self.tick(second, strength)?;
        }
        self.judge()
    }

    /// A Poisson number.
    fn count(&mut self, mean: f64) -> u32 {
        // Knuth's way, in parts, as e^-mean is nothing for large ones.
        let mut count = 0;
        let mut left = mean;
        while left > 0.0 {
            let limit = (-left.min(10.0)).exp();
            let mut product = 1.0;
            loop {
                product *= f64::from(self.rng.next_f32());
                if product <= limit {
                    break;
                }
                count += 1;
            }
            left -= 10.0;
        }
        count
    }

    fn honest_person(&mut self) -> Person {
        // One in five is at one of eight large sites, the others anywhere.
        let network = if self.rng.below(5) == 0 { self.rng.below(8) } else { self.rng.below(1 << 22) };
        let address = Ipv4Addr::from((0x2000_0000 + (network << 8) + self.rng.below(256)) as u32);
        let asn = 1000 + network as u32 % self.shape.systems.0;
        Person {
            from: self.source(address, asn),
            proof: Proof::default(),
            honest: true,
            solves: self.rng.below(50) != 0,
            reads_mail: true,
        }
    }

    fn attacker(&mut self) -> Person {
        let network = self.rng.below(self.shape.prefixes as usize);
        let address = Ipv4Addr::from((0x0a00_0000 + (network << 8) + self.rng.below(256)) as u32);
        let asn = 64_512 + network as u32 % self.shape.systems.1;
        Person {
            from: self.source(address, asn),
            proof: Proof::default(),
            honest: false,
            solves: self.shape.bots == Bots::Solve,
            reads_mail: self.shape.mailboxes,
        }
    }

    fn source(&self, address: Ipv4Addr, asn: u32) -> Source {
        Source { address: address.into(), asn: self.shape.has_systems.then_some(asn) }
    }

    fn come_back(&mut self, person: Person, after: Duration) {
        let seconds = after.as_secs() as usize;
        while self.later.len() <= seconds {
            self.later.push_back(Vec::new());
        }
        self.later[seconds].push(person);
    }

    fn ask(&mut self, mut person: Person) -> Result<(), String> {
        if person.proof == Proof::default() {
            self.signals.attempted += 1;
            self.concentration.add(Prefix::wide(person.from.address), self.now);
            self.by_system.add(person.from.network(), self.now);
        }
        let had_place = person.proof.place.is_some();
        match self.registrar.register(self.gate.level(), person.from, person.proof, self.now) {
            Answer::Make => {
                self.signals.completed += 1;
                self.served += u32::from(person.honest && !had_place);
                self.made()?;
            }
            Answer::SolveChallenge => self.solve(person),
            Answer::ShowEmail => {
                if person.reads_mail {
                    person.proof.email = true;
                    let after = Duration::from_secs(5 + self.rng.below(10) as u64);
                    self.come_back(person, after);
                }
            }
            Answer::Wait { place, ask_again, standing, about } => {
                if matches!(standing, Standing::Gone) || (about.is_zero() && had_place && ask_again.is_zero())
                {
                    return Err(format!("a place that is {standing:?}"));
                }
                self.served += u32::from(person.honest && !had_place);
                person.proof.place = Some(place);
                self.come_back(person, ask_again.max(Duration::from_secs(8)));
            }
            Answer::Refuse { retry_after, .. } => {
                if person.honest {
                    self.come_back(person, retry_after);
                }
            }
        }
        Ok(())
    }

    fn solve(&mut self, mut person: Person) {
        if person.solves {
            self.signals.challenges_passed += 1;
            person.proof.challenge = true;
            let after = Duration::from_secs(if person.honest { 1 + self.rng.below(3) as u64 } else { 0 });
            self.come_back(person, after);
        } else if person.honest {
            // It fails once, and works when tried again.
            self.signals.challenges_failed += 1;
            person.solves = true;
            self.come_back(person, Duration::from_secs(5));
        } else if self.shape.bots == Bots::Guess {
            self.signals.challenges_failed += 1;
        }
    }

    fn made(&mut self) -> Result<(), String> {
        self.accounts.push_back(self.now);
        while self.accounts.front().is_some_and(|at| self.now.saturating_sub(*at) >= Duration::from_secs(60))
        {
            self.accounts.pop_front();
        }
        let (made, budget) = (self.accounts.len(), self.shape.per_minute as usize);
        if made > budget { Err(format!("{made} accounts in a minute, budget {budget}")) } else { Ok(()) }
    }

    fn tick(&mut self, second: u64, strength: f64) -> Result<(), String> {
        let mut signals = std::mem::take(&mut self.signals);
        signals.prefix_concentration = self.concentration.share(self.now).0;
        signals.established_answered = 20;
        signals.logins_passed = 2;
        if self.shape.has_systems {
            signals.asn_concentration = Some(self.by_system.share(self.now).0);
        }
        if strength > 0.0 && self.shape.attackers > 0.0 {
            signals.logins_failed = self.shape.logins_failed;
        }
        // A crowd is a load too.
        if strength > 0.0 && self.shape.kind != Kind::Calm && self.gate.level() < self.shape.harm_ends {
            signals.queue_delay = self.shape.queue_delay;
        }
        let moment = Moment { monotonic: self.now, unix_ms: 1_800_000_000_000 + second as i64 * 1000 };
        if let Some(moved) = self.gate.tick(&signals, moment) {
            if moved.reasons.is_empty() {
                return Err(format!("a move without a reason at {second}"));
            }
            self.moves.push((second, moved.from, moved.to));
        }
        self.highest = self.highest.max(self.gate.level());
        let called: Vec<PlaceId> = self.registrar.tick(self.gate.level(), self.now);
        // Somebody is always called up while somebody may be.
        let may = self.gate.level() <= Level::WaitingList && self.registrar.waiting() > 0;
        if !may || !called.is_empty() {
            self.called_at = self.now;
        }
        let stalled = self.now.saturating_sub(self.called_at);
        if stalled > Duration::from_secs(10) {
            return Err(format!("nobody was called up for {stalled:?} at {second}"));
        }
        Ok(())
    }

    fn judge(&self) -> Result<(), String> {
        let check = |is: bool, what: String| if is { Ok(()) } else { Err(what) };
        let (shape, moves) = (&self.shape, &self.moves);
        check(self.gate.level() == Level::Open, format!("it is still {:?}", self.gate.level()))?;
        let steps = if shape.has_mail { 5 } else { 4 };
        // Up and down twice, as only the second time shows that it wasn't over, and then some steps for each pulse.
        let most = match shape.bursts() {
            0 => 0,
            1 => 2 * steps,
            bursts => 4 * steps + 4 * (bursts - 2),
        };
        check(moves.len() <= most, format!("{} moves, at most {most}", moves.len()))?;
        for pair in moves.windows(2) {
            let ((before, ..), (at, from, to)) = (pair[0], pair[1]);
            check(to > from || at - before >= 10, format!("down {} s after a move", at - before))?;
        }
        let first = moves.first().map(|(at, ..)| at.saturating_sub(CALM_S));
        if shape.kind == Kind::Flood {
            check(first.is_some_and(|after| after <= 3), format!("noticed after {first:?} s"))?;
        }
        if matches!(shape.kind, Kind::Viral | Kind::Calm) {
            check(self.highest <= Level::WaitingList, format!("it went to {:?}", self.highest))?;
        }
        // In a calm shape of a small budget nobody may have come.
        let is_enough = f64::from(self.served) >= 0.9 * f64::from(self.honest);
        check(is_enough, format!("{} of {} honest people were served", self.served, self.honest))
    }
}

fn check(seed: u64) -> Result<World, String> {
    let mut world = World::new(seed);
    match world.run() {
        Ok(()) => Ok(world),
        Err(what) => {
            let World { shape, moves, .. } = &world;
            Err(format!("SHAPE_SEED={seed}: {what}\n  {shape:?}\n  moves: {moves:?}"))
        }
    }
}

#[test]
fn incidents_of_any_shape() {
    let given = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    if let Some(seed) = given("SHAPE_SEED") {
        let world = check(seed).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{:?}\n{:?}\nserved {} of {}", world.shape, world.moves, world.served, world.honest);
        return;
    }
    let shapes = given("SHAPES").unwrap_or(SHAPES);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            let mut highest = [0_u32; 6];
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= shapes {
                    return (failures, highest);
                }
                match check(seed) {
                    Ok(world) => highest[world.highest as usize] += 1,
                    Err(failure) => failures.push(failure),
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let failures: Vec<_> = results.iter().flat_map(|(failures, _)| failures).collect();
    for failure in failures.iter().take(10) {
        eprintln!("{failure}");
    }
    assert!(failures.is_empty(), "{} of {shapes} shapes failed", failures.len());
    // The shapes are such that every level is the highest of some.
    let highest = |level: Level| results.iter().map(|(_, highest)| highest[level as usize]).sum::<u32>();
    for level in [Level::Open, Level::Challenge, Level::WaitingList, Level::InviteOnly, Level::Suspended] {
        assert!(highest(level) > 50, "{level:?}: {}", highest(level));
    }
}
