use proptest::prelude::*;

use super::*;

/// The filters of [`SamplingParams`] as their documentation says them, in `f64` and with full sorts. Returns the
/// probability of each token. `slack` moves every threshold a little.
fn reference(params: &SamplingParams, logits: &[f32], slack: f64) -> Vec<f64> {
    let scaled: Vec<f64> =
        logits.iter().map(|&logit| f64::from(logit) / f64::from(params.temperature)).collect();
    let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut probabilities: Vec<f64> = scaled.iter().map(|logit| (logit - largest).exp()).collect();
    normalize(&mut probabilities);
    if params.top_k > 0 {
        keep_best(&mut probabilities, |probability| -probability, |kept, _| kept < params.top_k);
    }
    if params.top_p < 1.0 {
        let wanted = f64::from(params.top_p) + slack;
        keep_best(&mut probabilities, |probability| -probability, |_, mass| mass < wanted);
    }
    if params.min_p > 0.0 {
        let largest = probabilities.iter().copied().fold(0.0, f64::max);
        for probability in &mut probabilities {
            if *probability < (f64::from(params.min_p) + slack) * largest {
                *probability = 0.0;
            }
        }
        normalize(&mut probabilities);
    }
    if params.typical_p < 1.0 {
        let entropy: f64 = probabilities.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        let wanted = f64::from(params.typical_p) + slack;
        keep_best(&mut probabilities, |p| (-p.ln() - entropy - slack).abs(), |_, mass| mass < wanted);
    }
    probabilities
}

/// Keeps tokens by ascending key, then id, while `more(number kept, their mass)`; at least one.
fn keep_best(probabilities: &mut [f64], key: impl Fn(f64) -> f64, more: impl Fn(usize, f64) -> bool) {
    let mut order: Vec<usize> = (0..probabilities.len()).filter(|at| probabilities[*at] > 0.0).collect();
    order.sort_by(|&a, &b| key(probabilities[a]).total_cmp(&key(probabilities[b])).then(a.cmp(&b)));
    let (mut kept, mut mass) = (0, 0.0);
    for at in order {
        if kept == 0 || more(kept, mass) {
            kept += 1;
            mass += probabilities[at];
        } else {
            probabilities[at] = 0.0;
        }
    }
    normalize(probabilities);
}

fn normalize(probabilities: &mut [f64]) {
    let total: f64 = probabilities.iter().sum();
    for probability in probabilities {
        *probability /= total;
    }
}

/// The tokens left, but for those that `f32` takes as impossible.
fn ids_kept(probabilities: &[f64]) -> Vec<usize> {
    (0..probabilities.len()).filter(|at| probabilities[*at] > 1e-30).collect()
}

/// The probabilities that the sampler gives after its filters.
fn filtered(params: &SamplingParams, logits: &[f32]) -> Vec<f64> {
    let mut sampler = Sampler::new();
    let max = math::max_checked(logits).unwrap();
    sampler.filter(params, logits, max);
    assert!(sampler.ids.is_sorted());
    let total: f64 = sampler.weights.iter().map(|&weight| f64::from(weight)).sum();
    let mut probabilities = vec![0.0; logits.len()];
    for (at, weight) in sampler.weights.iter().enumerate() {
        let id = sampler.ids.get(at).map_or(at, |id| *id as usize);
        probabilities[id] = f64::from(*weight) / total;
    }
    probabilities
}

/// Compares the sampler with the reference; false if the case is too near a threshold for `f32` to tell.
fn conforms(params: &SamplingParams, logits: &[f32]) -> bool {
    let expected = reference(params, logits, 0.0);
    let kept = ids_kept(&expected);
    if [-2e-5, 2e-5].iter().any(|slack| ids_kept(&reference(params, logits, *slack)) != kept) {
        return false;
    }
    let given = filtered(params, logits);
    assert_eq!(ids_kept(&given), kept, "{params:?}");
    for (given, expected) in given.iter().zip(&expected) {
        assert!((given - expected).abs() < 1e-5, "{given} is not {expected} with {params:?}");
    }
    true
}

fn pick(params: &SamplingParams, logits: &[f32], tokens: &[TokenId], prompt_tokens: usize) -> GeneratedToken {
    let mut state = SamplerState::new(params.clone(), 1);
    let mut work = logits.to_vec();
    let picked = Sampler::new().pick(&mut state, &mut work, tokens, prompt_tokens).unwrap();
    assert!(
        work.iter().zip(logits).all(|(a, b)| a.to_bits() == b.to_bits()),
        "the logits are as they were before"
    );
    picked
}

/// Logits of about the spread that models have, from a fixed stream.
fn random_logits(count: usize, spread: f32, seed: u64) -> Vec<f32> {
    let mut rng = base::Rng::from_seed(seed);
    // The sum of 12 uniform numbers is nearly normal with a variance of 1.
    (0..count).map(|_| spread * ((0..12).map(|_| rng.next_f32()).sum::<f32>() - 6.0)).collect()
}

fn any_logits() -> impl Strategy<Value = Vec<f32>> {
    let smooth = prop::collection::vec(-12.0_f32..12.0, 1..400);
    let with_ties = prop::collection::vec((-40_i32..40).prop_map(|x| x as f32 * 0.25), 1..400);
    let with_impossible =
        prop::collection::vec(prop_oneof![Just(f32::NEG_INFINITY), -5.0_f32..5.0, -5.0_f32..5.0], 1..400)
            .prop_map(|mut logits| {
                logits[0] = 0.5;
                logits
            });
    prop_oneof![smooth, with_ties, with_impossible]
}

fn any_filters() -> impl Strategy<Value = SamplingParams> {
    let top_k = prop_oneof![Just(0_usize), 1_usize..500];
    let top_p = prop_oneof![Just(1.0_f32), 0.0_f32..1.0];
    let min_p = prop_oneof![Just(0.0_f32), 0.0_f32..1.0, 0.0_f32..0.1];
    let typical_p = prop_oneof![Just(1.0_f32), Just(1.0_f32), 0.0_f32..1.0];
    (0.1_f32..3.0, top_k, top_p, min_p, typical_p).prop_map(
        |(temperature, top_k, top_p, min_p, typical_p)| SamplingParams {
            temperature,
            top_k,
            top_p,
            min_p,
            typical_p,
            ..SamplingParams::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_combination_of_filters_is_as_the_reference(params in any_filters(), logits in any_logits()) {
        prop_assume!(conforms(&params, &logits));
    }

    #[test]
    fn what_is_picked_is_among_what_is_left(
        params in any_filters(),
        logits in any_logits(),
        seed in any::<u64>(),
        tokens in 1_usize..50,
    ) {
        let params = SamplingParams { seed: Some(seed), ..params };
        let id = pick(&params, &logits, &vec![0; tokens], 1).id as usize;
        prop_assert!(logits[id] > f32::NEG_INFINITY);
        prop_assert!(filtered(&params, &logits)[id] > 0.0);
    }

    #[test]
    fn penalties_and_bias_are_as_the_reference(
        tokens in prop::collection::vec(0_u32..40, 1..80),
        prompt_share in 0.0_f64..1.0,
        window in prop_oneof![Just(usize::MAX), 0_usize..90],
        repetition_penalty in 0.5_f32..2.0,
        presence_penalty in -2.0_f32..2.0,
        frequency_penalty in -2.0_f32..2.0,
        logit_bias in prop::collection::vec((0_u32..40, -3.0_f32..3.0), 0..5),
    ) {
        let logits = random_logits(40, 3.0, 9);
        let prompt_tokens = (tokens.len() as f64 * prompt_share) as usize;
        let params = SamplingParams {
            repetition_penalty, presence_penalty, frequency_penalty, penalty_window: window,
            logit_bias: logit_bias.clone(), ..SamplingParams::greedy()
        };
        let start = tokens.len().saturating_sub(window);
        let mut expected: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        for (id, logit) in expected.iter_mut().enumerate() {
            if tokens[start..].contains(&(id as TokenId)) {
                let penalty = f64::from(repetition_penalty);
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
            let answer = &tokens[start.max(prompt_tokens)..];
            let times = answer.iter().filter(|token| **token == id as TokenId).count();
            if times > 0 {
                *logit -= f64::from(presence_penalty) + f64::from(frequency_penalty) * times as f64;
            }
            *logit += logit_bias.iter().filter(|(biased, _)| *biased == id as TokenId)
                .map(|(_, bias)| f64::from(*bias)).sum::<f64>();
        }
        let id = pick(&params, &logits, &tokens, prompt_tokens).id as usize;
        let largest = expected.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(expected[id] > largest - 1e-4, "{} is picked, {largest} is largest", expected[id]);
    }
}

#[test]
fn filters_conform_on_vocabularies_of_real_size() {
    let base = SamplingParams::default();
    let cases = [
        SamplingParams { top_p: 0.95, temperature: 0.6, ..base.clone() },
        SamplingParams { top_p: 0.5, ..base.clone() },
        SamplingParams { top_k: 40, top_p: 0.9, ..base.clone() },
        SamplingParams { top_k: 20_000, top_p: 0.9, ..base.clone() },
        SamplingParams { min_p: 0.05, ..base.clone() },
        SamplingParams { typical_p: 0.9, ..base.clone() },
        SamplingParams { top_p: 0.99, min_p: 0.01, typical_p: 0.8, temperature: 1.5, ..base.clone() },
    ];
    for (seed, spread) in [(1, 3.0), (2, 1.0), (3, 0.01)] {
        let logits = random_logits(49_152, spread, seed);
        for params in &cases {
            // So many tokens are alike that a few more or fewer at a threshold are a matter of rounding; they
            // weigh little.
            let pairs = filtered(params, &logits).into_iter().zip(reference(params, &logits, 0.0));
            let distance: f64 = pairs.map(|(given, expected)| (given - expected).abs()).sum();
            assert!(
                distance < 5e-4,
                "the distributions are {distance} apart with {params:?}, spread {spread}"
            );
        }
    }
}

#[test]
fn each_filter_keeps_what_its_definition_says() {
    // Probabilities 1/2, 1/4, 1/8, 1/16, 1/16.
    let logits = [4.0_f32, 3.0, 2.0, 1.0, 1.0].map(|power| power * std::f32::consts::LN_2);
    let check = |change: &dyn Fn(&mut SamplingParams), expected: &[usize]| {
        let mut params = SamplingParams::default();
        change(&mut params);
        assert_eq!(ids_kept(&filtered(&params, &logits)), expected, "{params:?}");
    };
    check(&|p| p.top_k = 1, &[0]);
    check(&|p| p.top_k = 4, &[0, 1, 2, 3]);
    check(&|p| p.top_k = 9, &[0, 1, 2, 3, 4]);
    check(&|p| p.top_p = 0.0, &[0]);
    check(&|p| p.top_p = 0.49, &[0]);
    check(&|p| p.top_p = 0.51, &[0, 1]);
    check(&|p| p.top_p = 0.9, &[0, 1, 2, 3]);
    check(&|p| p.top_p = 0.99, &[0, 1, 2, 3, 4]);
    check(&|p| p.min_p = 0.3, &[0, 1]);
    check(&|p| p.min_p = 1.0, &[0]);
    // Entropy is 1.875 bits: surprises 1, 2, 3, 4, 4 are 0.875, 0.125, 1.125, 2.125, 2.125 away.
    check(&|p| p.typical_p = 0.0, &[1]);
    check(&|p| p.typical_p = 0.2, &[1]);
    check(&|p| p.typical_p = 0.7, &[0, 1]);
    check(&|p| p.typical_p = 0.8, &[0, 1, 2]);
    check(&|p| p.typical_p = 0.93, &[0, 1, 2, 3]);
    // Top-p counts within what top-k left: 4/7, 2/7, 1/7.
    check(&|p| (p.top_k, p.top_p) = (3, 0.55), &[0]);
    check(&|p| (p.top_k, p.top_p) = (3, 0.6), &[0, 1]);
    // Sharper: 4/5 and 1/5 of these two.
    check(&|p| (p.temperature, p.top_p) = (0.5, 0.7), &[0]);
}

#[test]
fn greedy_takes_the_first_of_the_largest() {
    let greedy = SamplingParams::greedy();
    let check = |logits: &[f32], expected| assert_eq!(pick(&greedy, logits, &[0], 1).id, expected);
    check(&[1.0], 0);
    check(&[1.0, 3.0, 3.0, 2.0], 1);
    check(&[f32::NEG_INFINITY, f32::NEG_INFINITY, -1e30], 2);
    check(&[-0.0, 0.0], 0);
    let mut long = random_logits(49_152, 3.0, 4);
    (long[40_000], long[45_000]) = (99.0, 99.0);
    check(&long, 40_000);
    // Filters don't touch it, bias and penalties do.
    let params = SamplingParams { top_k: 1, logit_bias: vec![(3, 2.0)], ..greedy.clone() };
    assert_eq!(pick(&params, &[1.0, 3.0, 3.0, 2.0], &[0], 1).id, 3);
    let params = SamplingParams { frequency_penalty: 0.6, ..greedy };
    assert_eq!(pick(&params, &[1.0, 3.0, 3.0, 2.0], &[1, 1, 1], 1).id, 2, "two of the three were generated");
}

#[test]
fn a_near_zero_temperature_is_almost_greedy() {
    for temperature in [1e-3, 1e-30, f32::MIN_POSITIVE, 1e-45] {
        for top_p in [1.0, 0.9] {
            let params = SamplingParams { temperature, top_p, ..SamplingParams::default() };
            for tokens in 1..50 {
                assert_eq!(pick(&params, &[1.0, 5.0, 4.0, f32::NEG_INFINITY], &vec![0; tokens], 1).id, 1);
            }
        }
    }
}

#[test]
fn broken_logits_are_errors() {
    for params in [SamplingParams::greedy(), SamplingParams::default()] {
        let check = |logits: &mut [f32], expected| {
            let mut state = SamplerState::new(params.clone(), 1);
            assert_eq!(Sampler::new().pick(&mut state, logits, &[0], 1), Err(expected));
        };
        check(&mut [0.0, f32::NAN, 1.0], SampleError::NotFinite);
        check(&mut [0.0, f32::INFINITY], SampleError::NotFinite);
        check(&mut [f32::NEG_INFINITY; 3], SampleError::NothingPossible);
        check(&mut [], SampleError::NothingPossible);
    }
}

#[test]
fn draws_depend_on_seed_and_index_only() {
    let logits = random_logits(1000, 2.0, 5);
    let params = SamplingParams { seed: Some(77), top_p: 0.95, ..SamplingParams::default() };
    let draws = |params: &SamplingParams, tokens: std::ops::Range<usize>, prompt_tokens: usize| {
        let mut state = SamplerState::new(params.clone(), 5);
        let mut sampler = Sampler::new();
        let mut pick = |tokens: usize| {
            let history: Vec<TokenId> = (0..tokens as TokenId).collect();
            sampler.pick(&mut state, &mut logits.clone(), &history, prompt_tokens).unwrap().id
        };
        tokens.map(&mut pick).collect::<Vec<_>>()
    };
    let all = draws(&params, 10..40, 10);
    assert_eq!(draws(&params, 10..40, 10), all);
    assert_eq!(draws(&params, 20..40, 10), all[10..], "starting later, as after a preemption");
    assert_eq!(draws(&params, 3..33, 3), all, "another prompt");
    let other = SamplingParams { seed: Some(78), ..params.clone() };
    assert_ne!(draws(&other, 10..40, 10), all);
    let unseeded = SamplingParams { seed: None, ..params };
    let fallback = SamplingParams { seed: Some(5), ..unseeded.clone() };
    assert_eq!(draws(&unseeded, 10..40, 10), draws(&fallback, 10..40, 10));
}

#[test]
fn draws_follow_the_distribution() {
    let logits = random_logits(30, 1.5, 6);
    let base = SamplingParams { seed: Some(2024), ..SamplingParams::default() };
    let cases = [
        base.clone(),
        SamplingParams { temperature: 0.6, ..base.clone() },
        SamplingParams { temperature: 1.7, top_p: 0.9, ..base.clone() },
        SamplingParams { top_k: 12, min_p: 0.02, ..base.clone() },
        SamplingParams { typical_p: 0.8, ..base.clone() },
    ];
    for params in cases {
        let expected = reference(&params, &logits, 0.0);
        let draws = 100_000;
        let mut counts = vec![0.0; logits.len()];
        let mut state = SamplerState::new(params.clone(), 0);
        let mut sampler = Sampler::new();
        let history = vec![0; draws];
        for index in 0..draws {
            let id = sampler.pick(&mut state, &mut logits.clone(), &history[..index], 0).unwrap().id;
            counts[id as usize] += 1.0;
        }
        let mut chi_squared = 0.0;
        for (count, probability) in counts.iter().zip(&expected) {
            let wanted = probability * draws as f64;
            if wanted > 0.0 {
                chi_squared += (count - wanted) * (count - wanted) / wanted;
            } else {
                assert!(*count <= 0.0, "a token was drawn that was filtered out");
            }
        }
        // 29 degrees of freedom at most: 1 in 10,000 honest samplers would be above 66.
        assert!(chi_squared < 66.0, "chi squared {chi_squared} with {params:?}");
    }
}

#[test]
fn log_probabilities_are_the_models() {
    let logits = random_logits(5000, 3.0, 7);
    let exact_total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let exact = |id: TokenId| f64::from(logits[id as usize]) - exact_total.ln();
    let mut by_logit: Vec<TokenId> = (0..5000).collect();
    by_logit.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
    let params = SamplingParams {
        temperature: 0.3,
        top_k: 3,
        repetition_penalty: 1.5,
        presence_penalty: 1.0,
        logit_bias: vec![(17, 50.0)],
        seed: Some(3),
        ..SamplingParams::default()
    };
    for alternatives in [0, 1, 5, 20] {
        let params = SamplingParams { logprobs: Some(alternatives), ..params.clone() };
        let picked = pick(&params, &logits, &[by_logit[0], by_logit[1], by_logit[2]], 1);
        assert_eq!(picked.id, 17, "the bias decides");
        assert!((f64::from(picked.logprob) - exact(17)).abs() < 1e-4);
        assert_eq!(picked.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), by_logit[..alternatives]);
        for (id, logprob) in picked.top {
            assert!((f64::from(logprob) - exact(id)).abs() < 1e-4);
        }
    }
    assert!(pick(&SamplingParams::default(), &logits, &[0], 1).logprob.is_nan());
    // Fewer possible tokens than asked for.
    let params = SamplingParams { logprobs: Some(5), ..SamplingParams::greedy() };
    let picked = pick(&params, &[f32::NEG_INFINITY, 1.0, 1.0], &[0], 1);
    assert_eq!((picked.id, picked.top.len()), (1, 2));
    assert!((picked.logprob - 0.5_f32.ln()).abs() < 1e-6);
}

fn mask_of(vocab_size: usize, words: &[u32]) -> TokenMask {
    let mut mask = TokenMask::new(vocab_size);
    for (word, &given) in mask.words_mut().iter_mut().zip(words) {
        *word = given;
    }
    mask
}

fn pick_among(
    params: &SamplingParams,
    logits: &[f32],
    mask: &TokenMask,
    tokens: &[TokenId],
    prompt_tokens: usize,
) -> Result<GeneratedToken, SampleError> {
    let mut state = SamplerState::new(params.clone(), 1);
    Sampler::new().pick_among(&mut state, logits, mask, tokens, prompt_tokens)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_masked_pick_is_that_of_logits_without_the_rest(
        params in any_filters(),
        greedy in any::<bool>(),
        logits in any_logits(),
        words in prop::collection::vec(prop_oneof![Just(0), Just(u32::MAX), any::<u32>()], 13),
        seed in any::<u64>(),
        tokens in prop::collection::vec(0_u32..40, 1..50),
        repetition_penalty in 0.5_f32..2.0,
        presence_penalty in -2.0_f32..2.0,
    ) {
        let mask = mask_of(logits.len(), &words);
        let masked: Vec<f32> = logits
            .iter()
            .enumerate()
            .map(|(id, &logit)| if mask.contains(id as TokenId) { logit } else { f32::NEG_INFINITY })
            .collect();
        let temperature = if greedy { 0.0 } else { params.temperature };
        let params = SamplingParams {
            temperature,
            seed: Some(seed),
            repetition_penalty,
            presence_penalty,
            logit_bias: vec![(3, 4.0)],
            logprobs: Some(3),
            ..params
        };
        let given = pick_among(&params, &logits, &mask, &tokens, 1);
        if masked.iter().all(|&logit| logit == f32::NEG_INFINITY) {
            prop_assert_eq!(given, Err(SampleError::NothingAllowed));
            return Ok(());
        }
        let expected = pick(&params, &masked, &tokens, 1).id;
        // Log-probabilities are the model's own, over all tokens.
        let state = SamplerState::new(params, 1);
        let told = Sampler::new().forced(&state, &logits, expected);
        prop_assert_eq!(given, told);
    }
}

#[test]
fn a_mask_of_everything_changes_nothing_and_one_of_nothing_is_an_error() {
    let logits = random_logits(1000, 3.0, 8);
    let mut mask = TokenMask::new(1000);
    for params in [SamplingParams::greedy(), SamplingParams { top_p: 0.9, ..SamplingParams::default() }] {
        let params = SamplingParams { logprobs: Some(2), ..params };
        mask.fill();
        for tokens in 1..40 {
            let history = vec![7; tokens];
            let free = pick(&params, &logits, &history, 1);
            assert_eq!(pick_among(&params, &logits, &mask, &history, 1), Ok(free));
        }
        // A mask of a smaller vocabulary allows nothing beyond it.
        let small = mask_of(64, &[0, u32::MAX]);
        let picked = pick_among(&params, &logits, &small, &[7], 1).unwrap();
        assert!((32..64).contains(&picked.id));
        mask.clear();
        assert_eq!(pick_among(&params, &logits, &mask, &[7], 1), Err(SampleError::NothingAllowed));
        // What the model takes for impossible does not become possible by being the only thing allowed.
        mask.allow(3);
        let mut without = logits.clone();
        without[3] = f32::NEG_INFINITY;
        assert_eq!(pick_among(&params, &without, &mask, &[7], 1), Err(SampleError::NothingAllowed));
        // A broken model is one behind every mask.
        without[900] = f32::NAN;
        assert_eq!(pick_among(&params, &without, &mask, &[7], 1), Err(SampleError::NotFinite));
    }
}

#[test]
fn a_forced_token_is_taken_without_a_draw_and_weighed_where_that_is_wanted() {
    let logits = random_logits(1000, 3.0, 9);
    let exact_total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let mut sampler = Sampler::new();
    let silent = SamplerState::new(SamplingParams::default(), 1);
    let token = sampler.forced(&silent, &logits, 5).unwrap();
    assert!(token.id == 5 && token.logprob.is_nan() && token.top.is_empty());
    let asks = SamplerState::new(SamplingParams { logprobs: Some(2), ..SamplingParams::default() }, 1);
    let token = sampler.forced(&asks, &logits, 5).unwrap();
    assert!((f64::from(token.logprob) - (f64::from(logits[5]) - exact_total.ln())).abs() < 1e-4);
    assert_eq!((token.id, token.top.len()), (5, 2));
    assert_eq!(sampler.weigh(&logits, 5, 2), Ok(token));
    assert_eq!(sampler.forced(&asks, &logits, 1000), Err(SampleError::NothingAllowed));
    assert_eq!(sampler.weigh(&logits, 1000, 2), Err(SampleError::NothingAllowed));
    assert_eq!(sampler.forced(&silent, &[0.0, f32::NAN], 0), Err(SampleError::NotFinite));
}
