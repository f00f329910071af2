use models::batch::KV_BLOCK_TOKENS;

use super::*;
use crate::events::{EngineUsage, GeneratedToken};

const CONFIG: SchedulerConfig = SchedulerConfig {
    kv_blocks: 100,
    step_tokens_max: 20,
    running_max: 4,
    waiting_max: 10,
    length_max: 1000,
    scored_rows_max: 16,
};

/// A scheduler whose model always picks token 7, and whose clock counts steps in milliseconds.
struct Bench {
    scheduler: Scheduler,
    plan: Plan,
    next_id: u64,
    steps: u64,
}

impl Bench {
    fn new(config: SchedulerConfig) -> Self {
        Self { scheduler: Scheduler::new(config), plan: Plan::default(), next_id: 0, steps: 0 }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.steps)
    }

    /// With a scope of its own: what others have read is not to be had.
    fn submit(&mut self, prompt_tokens: usize, tokens_max: usize, priority: Priority) -> SequenceId {
        let mut scope = [1; 16];
        scope[..8].copy_from_slice(&self.next_id.to_be_bytes());
        self.submit_in(CacheScope(scope), prompt_tokens, tokens_max, priority)
    }

    fn submit_in(
        &mut self,
        scope: CacheScope,
        prompt_tokens: usize,
        tokens_max: usize,
        priority: Priority,
    ) -> SequenceId {
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        let prompt = vec![1; prompt_tokens];
        let request =
            Request { id, prompt, tokens_max, end_tokens: vec![9], priority, scope, score_prompt: false };
        self.scheduler.submit(request, self.now()).unwrap();
        id
    }

    /// Plans a step: `id:start..end`, with a `!` where logits are wanted.
    fn plan(&mut self) -> String {
        self.steps += 1;
        let now = self.now();
        self.scheduler.plan(now, &mut self.plan);
        self.scheduler.assert_conserved();
        let show = |row: &PlanRow| {
            format!("{}:{}..{}{}", row.id.0, row.start, row.end, if row.wants_logits { "!" } else { "" })
        };
        self.plan.rows().iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn commit(&mut self, pick: impl Fn(SequenceId) -> Picked) -> Vec<(SequenceId, SequenceEvent)> {
        let pick = |row: &PlanRow| if row.wants_logits { pick(row.id) } else { Picked::Read };
        let mut picked = self.plan.rows().iter().map(pick).collect();
        let mut events = Vec::new();
        self.scheduler.commit(self.now(), &self.plan, &mut picked, &mut events);
        self.scheduler.assert_conserved();
        events
    }

    fn step(&mut self) -> String {
        let plan = self.plan();
        self.commit(|_| token(7));
        plan
    }

    fn started(&self) -> Vec<(u64, u128)> {
        self.plan.started.iter().map(|started| (started.id.0, started.queued.as_millis())).collect()
    }
}

fn token(id: TokenId) -> Picked {
    Picked::Token(GeneratedToken { id, logprob: 0.0, top: Vec::new() })
}

#[test]
fn tokens_go_first_and_prompts_fill_the_step() {
    let mut bench = Bench::new(CONFIG);
    bench.submit(3, 50, Priority::High);
    assert_eq!(bench.step(), "0:0..3!");
    bench.submit(30, 50, Priority::High);
    bench.submit(10, 50, Priority::High);
    assert_eq!(bench.step(), "0:3..4! 1:0..19");
    assert_eq!(bench.started(), [(1, 1), (2, 1)]);
    assert_eq!(bench.step(), "0:4..5! 1:19..30!", "a part of 2 would only hold up what 1 begins with");
    assert_eq!(bench.step(), "0:5..6! 1:30..31! 2:0..10!");
    assert_eq!(bench.started(), []);
    assert_eq!(bench.step(), "0:6..7! 1:31..32! 2:10..11!");
    // Where less than half of what there is room for ends, a part of the next fills the step.
    bench = Bench::new(CONFIG);
    for tokens in [4, 5, 30] {
        bench.submit(tokens, 50, Priority::High);
    }
    assert_eq!(bench.step(), "0:0..4! 1:0..5! 2:0..11");
}

#[test]
fn a_step_smaller_than_its_tokens_still_reads_prompts() {
    let mut bench = Bench::new(SchedulerConfig { step_tokens_max: 2, ..CONFIG });
    for _ in 0..3 {
        bench.submit(1, 50, Priority::High);
    }
    bench.submit(3, 50, Priority::High);
    assert_eq!(bench.step(), "0:0..1! 1:0..1! 2:0..1! 3:0..1");
    assert_eq!(bench.step(), "0:1..2! 1:1..2! 2:1..2! 3:1..2");
    assert_eq!(bench.step(), "0:2..3! 1:2..3! 2:2..3! 3:2..3!");
}

#[test]
fn prompts_are_read_by_class_then_arrival_and_the_passed_over_have_turns() {
    let mut bench = Bench::new(CONFIG);
    bench.submit(900, 50, Priority::Low);
    bench.submit(25, 50, Priority::Normal);
    bench.submit(25, 50, Priority::Normal);
    assert_eq!(bench.step(), "1:0..20");
    bench.submit(600, 50, Priority::High);
    let mut read = 0;
    let mut in_order = |bench: &mut Bench, steps: usize| {
        for _ in 0..steps {
            assert_eq!(bench.step(), format!("3:{read}..{}", read + 20));
            read += 20;
        }
    };
    in_order(&mut bench, 7);
    // By now 0 and 2 were passed over eight times, and 1 seven times. One of them has a turn in nine steps.
    assert_eq!(bench.step(), "2:0..20");
    in_order(&mut bench, 8);
    assert_eq!(bench.step(), "0:0..20");
    in_order(&mut bench, 8);
    assert_eq!(bench.step(), "1:20..25! 2:20..25!", "both of them");
    assert_eq!(bench.step(), "3:460..480", "and their answers wait for the prompt");
}

#[test]
fn admission_keeps_places_and_spare_blocks() {
    let config = SchedulerConfig { kv_blocks: 10, length_max: 320, step_tokens_max: 500, ..CONFIG };
    let mut bench = Bench::new(config);
    // 4 blocks, then 3: with one to spare for each of the two, 9 are spoken for.
    bench.submit(4 * KV_BLOCK_TOKENS, 1, Priority::High);
    bench.submit(3 * KV_BLOCK_TOKENS, 50, Priority::High);
    // 2 blocks and 3 to spare don't fit, and the 1 after it doesn't overtake.
    bench.submit(2 * KV_BLOCK_TOKENS, 50, Priority::High);
    bench.submit(1, 50, Priority::High);
    assert_eq!(bench.step(), "0:0..128! 1:0..96!");
    assert_eq!((bench.scheduler.running(), bench.scheduler.waiting()), (1, 2), "the first has ended");
    assert_eq!(bench.step(), "1:96..97! 3:0..1! 2:0..64!");
    // No more than running_max.
    for _ in 0..3 {
        bench.submit(1, 50, Priority::High);
    }
    bench.step();
    assert_eq!(
        (bench.scheduler.running(), bench.scheduler.waiting()),
        (3, 3),
        "spare blocks for a fourth lack"
    );
    let mut bench = Bench::new(CONFIG);
    for _ in 0..6 {
        bench.submit(1, 50, Priority::High);
    }
    bench.step();
    assert_eq!((bench.scheduler.running(), bench.scheduler.waiting()), (4, 2));
}

#[test]
fn the_lowest_and_youngest_makes_room_and_comes_back() {
    let config = SchedulerConfig { kv_blocks: 11, length_max: 256, step_tokens_max: 500, ..CONFIG };
    let mut bench = Bench::new(config);
    bench.submit(100, 100, Priority::Normal);
    bench.submit(32, 100, Priority::Low);
    bench.submit(31, 100, Priority::Normal);
    assert_eq!(bench.step(), "0:0..100! 2:0..31! 1:0..32!");
    assert_eq!(bench.scheduler.blocks_free(), 5);
    for _ in 2..62 {
        bench.step();
    }
    assert_eq!((bench.scheduler.blocks_free(), bench.scheduler.preemptions()), (0, 0));
    // At its 161st token the first needs a block: the low one goes, though the third is younger.
    assert_eq!(bench.step(), "0:160..161! 2:91..92!");
    assert_eq!((bench.scheduler.preemptions(), bench.scheduler.waiting()), (1, 1));
    let (tokens, prompt_tokens) = bench.scheduler.tokens(SequenceId(1)).unwrap();
    assert_eq!((prompt_tokens, &tokens[32..]), (32, &[7; 61][..]), "its answer is kept");
    // Its 3 blocks with those to spare don't fit yet.
    assert_eq!(bench.step(), "0:161..162! 2:92..93!");
    // It is read again when the first is gone, but for the blocks that nobody needed meanwhile, and goes on where it was.
    bench.scheduler.finish(SequenceId(0), FinishReason::Cancelled, Duration::ZERO);
    assert_eq!(bench.step(), "2:93..94! 1:64..93!");
    assert_eq!(bench.started(), [], "it had started before");
    assert_eq!(bench.step(), "1:93..94! 2:94..95!", "it is now of the class above, where it is older");
}

#[test]
fn nobody_is_admitted_in_a_step_that_preempted() {
    let config = SchedulerConfig { kv_blocks: 8, length_max: 256, step_tokens_max: 500, ..CONFIG };
    let mut bench = Bench::new(config);
    bench.submit(120, 100, Priority::Low);
    assert_eq!(bench.step(), "0:0..120!");
    bench.submit(64, 100, Priority::High);
    assert_eq!(bench.step(), "1:0..64!", "the low one's answer waits for the prompt");
    bench.submit(1, 100, Priority::High);
    for _ in 3..35 {
        bench.step();
    }
    assert_eq!((bench.scheduler.blocks_free(), bench.scheduler.waiting()), (0, 1));
    // The low one gives up its five blocks, the high one takes one; the waiting one would fit at once.
    assert_eq!(bench.step(), "1:96..97!");
    assert_eq!((bench.scheduler.preemptions(), bench.scheduler.blocks_free()), (1, 4));
    assert_eq!(bench.step(), "1:97..98! 2:0..1!");
}

#[test]
fn who_needs_a_block_and_is_last_makes_room_itself() {
    let config = SchedulerConfig { kv_blocks: 4, length_max: 128, step_tokens_max: 500, ..CONFIG };
    let mut bench = Bench::new(config);
    bench.submit(20, 100, Priority::High);
    bench.step();
    bench.submit(10, 100, Priority::High);
    for _ in 0..86 {
        bench.step();
    }
    // The older has 3 blocks since its 65th token; the younger can't have a second.
    assert_eq!(bench.scheduler.preemptions(), 1);
    let older = bench.scheduler.tokens(SequenceId(0)).unwrap().0.len();
    assert_eq!(older, 107, "the older never paused");
    while !bench.scheduler.is_empty() {
        bench.step();
    }
    assert_eq!(bench.scheduler.blocks_free(), 4);
}

#[test]
fn a_sequence_begins_where_the_cache_ends() {
    let mut bench = Bench::new(SchedulerConfig { step_tokens_max: 500, ..CONFIG });
    let scope = CacheScope([7; 16]);
    let submit = |bench: &mut Bench, scope, tokens| bench.submit_in(scope, tokens, 3, Priority::High);
    let mut ends = std::collections::BTreeMap::new();
    let mut run = |bench: &mut Bench| {
        while !bench.scheduler.is_empty() {
            bench.plan();
            for (id, event) in bench.commit(|_| token(7)) {
                if let SequenceEvent::Finished { usage, .. } = event {
                    ends.insert(id.0, usage.cached_tokens);
                }
            }
        }
        ends.values().copied().collect::<Vec<_>>()
    };
    submit(&mut bench, scope, 100);
    assert_eq!(bench.step(), "0:0..100!");
    // While the first still runs: three full blocks, and at least the last token is computed.
    submit(&mut bench, scope, 98);
    submit(&mut bench, scope, 96);
    submit(&mut bench, CacheScope([8; 16]), 98);
    assert_eq!(bench.step(), "0:100..101! 1:96..98! 2:64..96! 3:0..98!");
    assert_eq!(run(&mut bench), [0, 96, 64, 0]);
    // After all have ended, full blocks stay.
    assert_eq!((bench.scheduler.blocks_free(), bench.scheduler.blocks_cached()), (100, 6));
    submit(&mut bench, scope, 97);
    assert_eq!(bench.step(), "4:96..97!");
    assert_eq!(run(&mut bench), [0, 96, 64, 0, 96]);
}

#[test]
fn what_is_cached_makes_room_for_what_runs() {
    let config = SchedulerConfig { kv_blocks: 4, length_max: 128, step_tokens_max: 500, ..CONFIG };
    let mut bench = Bench::new(config);
    for _ in 0..3 {
        bench.submit(70, 1, Priority::High);
        bench.step();
        assert!(bench.scheduler.is_empty());
    }
    assert_eq!((bench.scheduler.blocks_free(), bench.scheduler.blocks_cached()), (4, 3));
    bench.submit(127, 1, Priority::High);
    assert_eq!(bench.step(), "3:0..127!");
    assert_eq!((bench.scheduler.blocks_free(), bench.scheduler.blocks_cached()), (4, 3));
    assert_eq!(bench.scheduler.preemptions(), 0);
}

#[test]
fn events_follow_the_picks() {
    let mut bench = Bench::new(CONFIG);
    let ids = [2, 2, 2, 40].map(|tokens| bench.submit(tokens, 2, Priority::High));
    assert_eq!(bench.plan(), "0:0..2! 1:0..2! 2:0..2! 3:0..14");
    // The first is cancelled while the model runs.
    bench.scheduler.finish(ids[0], FinishReason::Cancelled, bench.now());
    bench.scheduler.assert_conserved();
    let events = bench.commit(|id| match id.0 {
        1 => token(9),
        2 => token(8),
        _ => Picked::Failed("broken".to_owned()),
    });
    let usage = |generated_tokens, prefill, decode| EngineUsage {
        prompt_tokens: 2,
        cached_tokens: 0,
        generated_tokens,
        queued: Duration::from_millis(1),
        prefill: Duration::from_millis(prefill),
        decode: Duration::from_millis(decode),
    };
    let finished = |reason, usage| SequenceEvent::Finished { reason, usage };
    let Picked::Token(eight) = token(8) else { unreachable!() };
    assert_eq!(
        events,
        [
            (ids[1], finished(FinishReason::EndToken, usage(0, 0, 0))),
            (ids[2], SequenceEvent::Token(eight.clone())),
        ]
    );
    assert_eq!(bench.plan(), "2:2..3! 3:14..33");
    let events = bench.commit(|_| token(8));
    assert_eq!(
        events,
        [(ids[2], SequenceEvent::Token(eight)), (ids[2], finished(FinishReason::Length, usage(2, 0, 1))),]
    );
    // A row can fail that wants no logits.
    let mut bench = Bench::new(CONFIG);
    let id = bench.submit(50, 2, Priority::High);
    assert_eq!(bench.plan(), "0:0..20");
    let mut events = Vec::new();
    let mut picked = vec![Picked::Failed("broken".to_owned())];
    bench.scheduler.commit(Duration::ZERO, &bench.plan, &mut picked, &mut events);
    let reason = FinishReason::Failed("broken".to_owned());
    assert!(
        matches!(&events[..], [(of, SequenceEvent::Finished { reason: why, .. })] if *of == id && *why == reason)
    );
    assert!(bench.scheduler.is_empty());
}

#[test]
fn the_queue_is_bounded() {
    let mut bench = Bench::new(SchedulerConfig { running_max: 1, waiting_max: 2, ..CONFIG });
    for _ in 0..3 {
        bench.submit(2, 2, Priority::High);
    }
    let more = Request {
        id: SequenceId(99),
        prompt: vec![1],
        tokens_max: 1,
        end_tokens: Vec::new(),
        priority: Priority::High,
        scope: CacheScope::default(),
        score_prompt: false,
    };
    assert_eq!(bench.scheduler.submit(more.clone(), Duration::ZERO), Err(QueueFull));
    bench.scheduler.finish(SequenceId(1), FinishReason::Cancelled, Duration::ZERO);
    assert_eq!(bench.scheduler.submit(more, Duration::ZERO), Ok(()));
    assert_eq!(bench.scheduler.ids().map(|id| id.0).collect::<Vec<_>>(), [0, 2, 99]);
}

#[test]
fn lower_classes_leave_the_highest_a_part_of_places_and_blocks() {
    let mut bench = Bench::new(CONFIG);
    for _ in 0..4 {
        bench.submit(1, 50, Priority::Normal);
    }
    bench.step();
    assert_eq!(bench.started(), [(0, 1), (1, 1), (2, 1)], "three of four places");
    bench.submit(1, 50, Priority::High);
    bench.step();
    assert_eq!(bench.started(), [(4, 1)], "who comes first waits for nobody's answer");
    // 75 of 100 blocks: the second of those would leave too few.
    let mut bench = Bench::new(SchedulerConfig { length_max: 2000, ..CONFIG });
    for priority in [Priority::Lowest, Priority::Lowest, Priority::High] {
        bench.submit(40 * KV_BLOCK_TOKENS, 50, priority);
    }
    bench.step();
    assert_eq!(bench.started(), [(2, 1)]);
    let mut bench = Bench::new(SchedulerConfig { length_max: 2000, ..CONFIG });
    bench.submit(40 * KV_BLOCK_TOKENS, 50, Priority::Lowest);
    bench.submit(40 * KV_BLOCK_TOKENS, 50, Priority::Lowest);
    bench.step();
    assert_eq!(bench.started(), [(0, 1)]);
    bench.submit(40 * KV_BLOCK_TOKENS, 50, Priority::High);
    bench.step();
    assert_eq!(bench.started(), [(2, 1)]);
}

#[test]
fn a_place_in_a_full_queue_is_given_up_by_who_has_not_begun() {
    let mut bench = Bench::new(SchedulerConfig { running_max: 1, waiting_max: 2, ..CONFIG });
    bench.submit(1, 50, Priority::Lowest);
    bench.step();
    bench.submit(1, 50, Priority::Normal);
    assert_eq!(bench.scheduler.make_room(Priority::High, bench.now()), None, "there is room");
    bench.submit(1, 50, Priority::Normal);
    assert_eq!(bench.scheduler.make_room(Priority::Normal, bench.now()), None, "nobody waits who is below");
    let now = bench.now();
    let (id, event) = bench.scheduler.make_room(Priority::High, now).unwrap();
    assert_eq!(id, SequenceId(2), "the one that came last");
    assert!(matches!(event, SequenceEvent::Finished { reason: FinishReason::Displaced, .. }));
    bench.submit(1, 50, Priority::High);
    bench.scheduler.assert_conserved();
    let (id, _) = bench.scheduler.make_room(Priority::High, now).unwrap();
    assert_eq!(id, SequenceId(1));
}

#[test]
fn within_a_class_who_had_less_goes_first() {
    let mut bench = Bench::new(SchedulerConfig { running_max: 1, ..CONFIG });
    let [much, little] = [CacheScope([1; 16]), CacheScope([2; 16])];
    bench.submit_in(much, 600, 1, Priority::High);
    while bench.scheduler.running() > 0 || bench.scheduler.waiting() > 0 {
        bench.step();
    }
    bench.submit_in(much, 30, 1, Priority::High);
    bench.submit_in(much, 30, 1, Priority::High);
    bench.submit_in(little, 30, 1, Priority::High);
    assert_eq!(bench.step(), "3:0..20");
    assert_eq!(bench.step(), "3:20..30!");
    assert_eq!(bench.step(), "1:0..20", "the earlier of the other two");
}

#[test]
fn who_had_much_and_runs_for_long_gives_way_and_goes_on_later() {
    let mut bench = Bench::new(SchedulerConfig { running_max: 2, step_tokens_max: 512, ..CONFIG });
    let [much, little] = [CacheScope([1; 16]), CacheScope([2; 16])];
    bench.submit_in(much, 500, 100, Priority::High);
    bench.submit_in(much, 500, 100, Priority::High);
    bench.step();
    bench.submit_in(little, 3, 2, Priority::High);
    let plan = bench.step();
    assert!(plan.contains("2:0..3!") && !plan.contains("1:"), "the younger gave way: {plan}");
    assert_eq!(bench.scheduler.preemptions(), 1);
    bench.step();
    let plan = bench.step();
    assert!(plan.contains("1:480..500!"), "it begins where the cache ends: {plan}");
    // Of two who had as much, nobody gives way.
    bench.steps += RUN_MIN.as_millis() as u64;
    bench.submit_in(much, 3, 2, Priority::High);
    bench.step();
    assert_eq!(bench.scheduler.preemptions(), 1);
}

#[test]
fn a_lower_class_gives_way_whatever_it_had() {
    let mut bench = Bench::new(CONFIG);
    let ids: Vec<_> = (0..3).map(|_| bench.submit(3, 500, Priority::Low)).collect();
    bench.submit(3, 500, Priority::High);
    bench.steps += RUN_MIN.as_millis() as u64;
    bench.step();
    bench.submit(3, 500, Priority::High);
    bench.step();
    bench.submit(3, 500, Priority::High);
    bench.steps += RUN_MIN.as_millis() as u64;
    bench.step();
    assert_eq!((bench.scheduler.running(), bench.scheduler.preemptions()), (4, 1));
    assert!(bench.scheduler.waiting.remove(Rank { class: 2, arrival: 2 }, ids[2]), "the youngest");
}

#[test]
fn steps_are_short_while_several_users_are_about() {
    let mut bench = Bench::new(SchedulerConfig { step_tokens_max: 200, ..CONFIG });
    // A token takes a millisecond.
    let step = |bench: &mut Bench| {
        let plan = bench.plan();
        bench.steps += bench.plan.tokens() as u64;
        bench.commit(|_| token(7));
        plan
    };
    bench.submit(900, 50, Priority::High);
    assert_eq!(step(&mut bench), "0:0..200");
    assert_eq!(step(&mut bench), "0:200..400", "alone");
    bench.submit(600, 50, Priority::High);
    assert_eq!(step(&mut bench), "0:400..415");
    bench.submit(100, 50, Priority::High);
    assert_eq!(
        step(&mut bench),
        "2:0..100!",
        "who had little is not cut, and nobody's prompt makes it longer"
    );
    assert_eq!(step(&mut bench), "2:100..101!");
    assert_eq!(step(&mut bench), "2:101..102!");
    assert_eq!(step(&mut bench), "2:102..103! 0:415..430");
}

#[test]
fn parts_of_prompts_of_who_had_much_leave_three_steps_of_four_to_the_others() {
    let mut bench = Bench::new(SchedulerConfig { step_tokens_max: 64, ..CONFIG });
    bench.submit(900, 50, Priority::High);
    assert_eq!(bench.step(), "0:0..64");
    bench.submit(9, 8, Priority::High);
    let steps: Vec<_> = (0..8).map(|_| bench.step()).collect();
    assert_eq!(steps[0], "1:0..9!", "its first token doesn't wait for them");
    let has_part: Vec<_> = steps.iter().map(|step| step.contains(" 0:")).collect();
    assert_eq!(has_part, [false, false, false, true, false, false, false, true]);
    // Alone again, and beside one who had as much, they fill the step.
    assert_eq!(bench.step(), "0:190..254");
    let mut much = Bench::new(SchedulerConfig { step_tokens_max: 64, ..CONFIG });
    let [one, other] = [CacheScope([1; 16]), CacheScope([2; 16])];
    much.submit_in(one, 300, 50, Priority::High);
    (0..5).for_each(|_| drop(much.step()));
    much.submit_in(other, 400, 50, Priority::High);
    assert_eq!(much.step(), "0:300..301! 1:0..63");
}

#[test]
fn a_step_with_a_part_of_a_prompt_leaves_the_way_to_short_ones() {
    let mut bench = Bench::new(SchedulerConfig { step_tokens_max: 64, ..CONFIG });
    let user = |number: u8| CacheScope([number; 16]);
    let leaves = |bench: &Bench, priority, scope, tokens| {
        bench.scheduler.leaves_way(&bench.plan, priority, scope, &vec![1; tokens], bench.now())
    };
    bench.submit_in(user(1), 900, 50, Priority::Normal);
    bench.plan();
    assert!(leaves(&bench, Priority::Normal, user(2), 20));
    assert!(!leaves(&bench, Priority::Normal, user(2), 300), "it is as long");
    assert!(!leaves(&bench, Priority::Normal, user(1), 20), "the same user's");
    assert!(!leaves(&bench, Priority::Low, user(2), 20), "of a lower class");
    bench.commit(|_| token(7));
    let answered = bench.submit_in(user(3), 9, 50, Priority::High);
    bench.step();
    while !bench.plan().contains(" 0:") {
        assert!(!leaves(&bench, Priority::High, user(2), 20), "it is short as it is");
        bench.commit(|_| token(7));
    }
    assert!(bench.plan.rows().iter().any(|row| row.id == answered && row.is_answer()));
    assert!(leaves(&bench, Priority::High, user(2), 20), "the answer's token comes a step later");
    assert!(!leaves(&bench, Priority::Normal, user(2), 20), "not for one of a lower class");
}

#[test]
fn a_class_that_was_passed_over_and_does_not_fit_holds_nobody_up() {
    let mut bench = Bench::new(SchedulerConfig { running_max: 2, step_tokens_max: 512, ..CONFIG });
    let [much, little] = [CacheScope([1; 16]), CacheScope([2; 16])];
    bench.submit_in(much, 600, 300, Priority::High);
    bench.submit_in(much, 600, 300, Priority::High);
    bench.submit(600, 5, Priority::Low);
    bench.step();
    for _ in 0..=PASSED_OVER_MAX {
        bench.submit_in(little, 2, 1, Priority::High);
        let plan = bench.step();
        assert!(plan.contains(":0..2!"), "{plan}");
        bench.step();
    }
    let waits =
        bench.scheduler.waiting.remove(Rank { class: Priority::Low as usize, arrival: 2 }, SequenceId(2));
    assert!(!waits, "it had the next place that was free");
}
