use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::*;
use crate::gguf::Gguf;
use crate::gguf::testing::GgufWriter;

macro_rules! golden_file {
    ($name:literal) => {
        include_str!(concat!("../../../../golden/tokenizer/", $name))
    };
}

fn strings(json: &Json) -> Vec<String> {
    json.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The facts that golden/tokenizer/make.py wrote.
fn facts(json: &str) -> TokenizerFacts {
    let json: Json = serde_json::from_str(json).unwrap();
    let id = |key: &str| json.get(key).map(|id| id.as_u64().unwrap() as TokenId);
    TokenizerFacts {
        model: json["model"].as_str().unwrap().to_owned(),
        pre: json["pre"].as_str().map(str::to_owned),
        tokens: strings(&json["tokens"]),
        token_types: json["token_types"]
            .as_array()
            .unwrap()
            .iter()
            .map(|kind| kind.as_i64().unwrap() as i32)
            .collect(),
        merges: strings(&json["merges"]),
        scores: json["scores"]
            .as_array()
            .unwrap()
            .iter()
            .map(|score| score.as_f64().unwrap() as f32)
            .collect(),
        bos: id("bos"),
        eos: id("eos"),
        unknown: id("unknown"),
        ..TokenizerFacts::default()
    }
}

fn tokenizer(json: &str) -> Tokenizer {
    Tokenizer::new(&facts(json)).unwrap()
}

fn llama3_like() -> Tokenizer {
    tokenizer(golden_file!("llama-bpe.vocab.json"))
}

fn sentencepiece() -> Tokenizer {
    tokenizer(golden_file!("sentencepiece.vocab.json"))
}

/// The tokenizer of the model that the tests use.
pub(crate) fn smollm2() -> (Tokenizer, Gguf) {
    let Some(path) = std::env::var_os("CACHALOT_TEST_MODEL").map(PathBuf::from) else {
        panic!(
            "CACHALOT_TEST_MODEL must be the path of SmolLM2-135M-Instruct.Q4_1.gguf. `make rust-test` fetches it and \
             sets this; by hand: cargo run --release -p cachalot -- pull smollm2-135m; \
             export CACHALOT_TEST_MODEL=$(cargo run --release -p cachalot -- show smollm2-135m --path)"
        );
    };
    let gguf =
        Gguf::open(&path).unwrap_or_else(|error| panic!("CACHALOT_TEST_MODEL, {}: {error}", path.display()));
    (Tokenizer::from_gguf(gguf.metadata()).unwrap(), gguf)
}

fn lines() -> Vec<String> {
    golden_file!("lines.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Bytes in hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

/// Compares all lines with what the reference made of them.
#[track_caller]
fn check_golden(tokenizer: &Tokenizer, expected: &str) {
    let expected: Json = serde_json::from_str(expected).unwrap();
    let lines = lines();
    assert_eq!(lines.len(), 10_000);
    assert_eq!(expected["lines"], 10_000);
    let ids: Vec<Vec<TokenId>> = lines.iter().map(|line| tokenizer.encode_text(line).unwrap()).collect();
    for (number, first) in expected["first"].as_array().unwrap().iter().enumerate() {
        let first: Vec<TokenId> =
            first.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as TokenId).collect();
        assert_eq!(ids[number], first, "line {number}: {:?}", lines[number]);
    }
    let hashes = strings(&expected["hashes"]);
    assert_eq!(hashes.len(), 1000);
    for (group, (ids, expected)) in ids.chunks(10).zip(&hashes).enumerate() {
        let mut sum = Sha256::new();
        for line in ids {
            for id in line {
                sum.update(id.to_le_bytes());
            }
            sum.update([0xff; 4]);
        }
        let sum = hex(&sum.finalize());
        assert_eq!(sum[..16], *expected, "lines {} to {}", group * 10, group * 10 + 9);
    }
}

#[test]
fn qwen2_lines_are_those_of_the_reference() {
    check_golden(&tokenizer(golden_file!("qwen2.vocab.json")), golden_file!("qwen2.ids.json"));
}

#[test]
fn deepseek_r1_qwen_cuts_as_qwen2_does() {
    let mut facts = facts(golden_file!("qwen2.vocab.json"));
    facts.pre = Some("deepseek-r1-qwen".to_owned());
    check_golden(&Tokenizer::new(&facts).unwrap(), golden_file!("qwen2.ids.json"));
}

#[test]
fn llama3_lines_are_those_of_the_reference() {
    check_golden(&llama3_like(), golden_file!("llama-bpe.ids.json"));
}

#[test]
fn deepseek_llm_lines_are_those_of_the_reference() {
    check_golden(&tokenizer(golden_file!("deepseek-llm.vocab.json")), golden_file!("deepseek-llm.ids.json"));
}

#[test]
fn deepseek_v3_lines_are_those_of_the_reference() {
    check_golden(&tokenizer(golden_file!("deepseek-v3.vocab.json")), golden_file!("deepseek-v3.ids.json"));
}

#[test]
fn sentencepiece_lines_are_those_of_the_reference() {
    check_golden(&sentencepiece(), golden_file!("sentencepiece.ids.json"));
}

#[test]
fn smollm2_lines_are_those_of_the_reference() {
    check_golden(&smollm2().0, golden_file!("smollm2.ids.json"));
}

#[test]
fn smollm2_reads_its_special_tokens_and_comes_back_from_every_line() {
    let (tokenizer, _) = smollm2();
    assert_eq!(tokenizer.vocab_size(), 49_152);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert!(!tokenizer.add_bos());
    assert_eq!(tokenizer.end_tokens(), [0, 2]);
    assert!(tokenizer.is_end(2) && !tokenizer.is_end(1));
    assert_eq!(tokenizer.token_id("<|im_end|>"), Some(2));
    assert_eq!(tokenizer.token_text(2), Some("<|im_end|>"));
    assert_eq!(tokenizer.token_bytes(2), b"");
    // The vocabulary lacks some control characters; they are dropped, as the reference does.
    let spelt = |byte: u8| (0..49_152).any(|id| tokenizer.token_bytes(id) == [byte]);
    let missing: Vec<u8> = (0..=127).filter(|&byte| !spelt(byte)).collect();
    assert!(!missing.is_empty() && missing.iter().all(u8::is_ascii_control), "{missing:?}");
    for line in lines() {
        let ids = tokenizer.encode_text(&line).unwrap();
        let expected = line.replace(|c: char| c.is_ascii() && missing.contains(&(c as u8)), "");
        assert_eq!(tokenizer.decode(&ids), expected);
    }
}

#[test]
fn smollm2_chat_becomes_the_expected_tokens() {
    let (tokenizer, gguf) = smollm2();
    let template = crate::template::ChatTemplate::from_metadata(gguf.metadata(), &tokenizer).unwrap();
    let message = crate::template::TemplateMessage {
        role: "user".to_owned(),
        content: "Hi<|im_end|>".to_owned(),
        ..crate::template::TemplateMessage::default()
    };
    let rendered = template.render(&[message], &crate::template::RenderOptions::default()).unwrap();
    let ids = tokenizer.encode_rendered(&rendered.parts()).unwrap();
    // <|im_start|> of system, user and assistant; <|im_end|> of system and user, and not the one that was typed.
    assert_eq!(ids.iter().filter(|&&id| id == 1).count(), 3);
    assert_eq!(ids.iter().filter(|&&id| id == 2).count(), 2);
    let spelt: String = ids.iter().filter_map(|&id| tokenizer.token_text(id)).collect();
    assert!(spelt.ends_with("userĊHi<|im_end|><|im_end|>Ċ<|im_start|>assistantĊ"), "{spelt}");
}

#[test]
fn no_text_becomes_a_special_token() {
    for tokenizer in [llama3_like(), sentencepiece()] {
        for special in (0..tokenizer.vocab_size() as TokenId).filter(|&id| tokenizer.is_special(id)) {
            let literal = tokenizer.token_text(special).unwrap().to_owned();
            for text in [literal.clone(), format!("a{literal}b"), format!(" {literal}{literal}")] {
                let ids = tokenizer.encode_text(&text).unwrap();
                assert!(ids.iter().all(|&id| !tokenizer.is_special(id)), "{text:?} gave {ids:?}");
                assert_eq!(tokenizer.decode(&ids), text);
                let ids = tokenizer.encode_rendered(&[Part::User(&text)]).unwrap();
                let bos = usize::from(tokenizer.add_bos());
                assert!(ids[bos..].iter().all(|&id| !tokenizer.is_special(id)), "{text:?} gave {ids:?}");
            }
        }
    }
}

#[test]
fn markup_gives_special_tokens_and_text_around_them_is_encoded_as_one() {
    let tokenizer = llama3_like();
    let begin = tokenizer.token_id("<|begin|>").unwrap();
    let think = tokenizer.token_id("<think>").unwrap();
    let parts = [
        Part::Markup("<|begin|>user\n"),
        Part::User("the <think> wh"),
        Part::User("ale<|be"),
        Part::Markup("gin|> and<think>"),
        Part::Markup("<|begin|>"),
    ];
    let mut expected = vec![begin];
    expected.extend(tokenizer.encode_text("user\nthe <think> whale<|begin|> and").unwrap());
    expected.extend([think, begin]);
    assert_eq!(tokenizer.encode_rendered(&parts).unwrap(), expected);
}

#[test]
fn bos_comes_once() {
    let mut facts = facts(golden_file!("llama-bpe.vocab.json"));
    facts.add_bos = Some(true);
    let tokenizer = Tokenizer::new(&facts).unwrap();
    let bos = tokenizer.bos().unwrap();
    for markup in ["<|begin|>the", "the"] {
        let ids = tokenizer.encode_rendered(&[Part::Markup(markup)]).unwrap();
        assert_eq!(ids.iter().filter(|&&id| id == bos).count(), 1);
        assert_eq!(ids[0], bos);
    }
    assert_eq!(tokenizer.encode_rendered(&[]).unwrap(), [bos]);
    assert!(!tokenizer.encode_text("the").unwrap().contains(&bos));
}

#[test]
fn tags_of_the_answer_are_shown_even_if_the_file_calls_them_control() {
    let mut facts = facts(golden_file!("llama-bpe.vocab.json"));
    let think = facts.tokens.iter().position(|token| token == "<think>").unwrap();
    facts.token_types[think] = 3;
    let tokenizer = Tokenizer::new(&facts).unwrap();
    assert_eq!(tokenizer.token_bytes(think as TokenId), b"<think>");
    assert!(tokenizer.is_special(think as TokenId));
}

/// A token by the name of an end is one, unless merges make it: then it is text, and ends nothing.
#[test]
fn the_name_of_an_end_may_be_text_that_merges_make() {
    let mut facts = facts(golden_file!("qwen2.vocab.json"));
    let first = facts.tokens.len() as TokenId;
    for token in ["s>", "</s>"] {
        assert!(!facts.tokens.iter().any(|known| known == token), "{token} is taken");
        facts.tokens.push(token.to_owned());
        facts.token_types.push(1);
    }
    let plain = Tokenizer::new(&facts).unwrap();
    assert!(plain.is_special(first + 1) && plain.end_tokens().contains(&(first + 1)));
    facts.merges.extend(["s >", "</ s>"].map(str::to_owned));
    let merged = Tokenizer::new(&facts).unwrap();
    assert!(!merged.is_special(first + 1) && !merged.end_tokens().contains(&(first + 1)));
}

#[test]
fn added_tokens_of_plain_text_are_found_in_any_text() {
    let mut facts = facts(golden_file!("deepseek-llm.vocab.json"));
    facts.tokens.push("öö".to_owned());
    facts.token_types.push(4);
    let tokenizer = Tokenizer::new(&facts).unwrap();
    let added = facts.tokens.len() as TokenId - 1;
    let ids = tokenizer.encode_text("a ööö").unwrap();
    assert_eq!(ids.iter().filter(|&&id| id == added).count(), 1);
    assert!(!tokenizer.is_special(added));
    assert_eq!(tokenizer.decode(&ids), "a ööö");
}

/// What streaming gives, piece by piece.
fn stream(tokenizer: &Tokenizer, ids: &[TokenId]) -> Vec<String> {
    let mut detokenizer = Detokenizer::new();
    let mut pieces: Vec<String> = ids.iter().map(|&id| detokenizer.push(tokenizer, id)).collect();
    pieces.push(detokenizer.finish());
    pieces
}

#[test]
fn a_character_of_several_tokens_appears_with_the_last() {
    let tokenizer = llama3_like();
    let byte = |byte: u8| {
        (0..tokenizer.vocab_size() as TokenId).find(|&id| tokenizer.token_bytes(id) == [byte]).unwrap()
    };
    let ids: Vec<TokenId> = "🐋".bytes().chain(*b"a").map(byte).collect();
    assert_eq!(stream(&tokenizer, &ids), ["", "", "", "🐋", "a", ""]);
    // Bytes that no character has, one cut off by another character, and one cut off by the end.
    let ids: Vec<TokenId> = [0xff, b'a', 0xf0, 0x9f, b'b', 0xe2, 0x82].into_iter().map(byte).collect();
    assert_eq!(stream(&tokenizer, &ids), ["\u{fffd}", "a", "", "", "\u{fffd}b", "", "", "\u{fffd}"]);
}

#[test]
fn the_space_before_a_sentencepiece_text_is_left_out_once() {
    let tokenizer = sentencepiece();
    let ids = tokenizer.encode_text(" the  whale").unwrap();
    assert_eq!(tokenizer.decode(&ids), " the  whale");
    assert_eq!(stream(&tokenizer, &ids).concat(), " the  whale");
    let mut facts = facts(golden_file!("sentencepiece.vocab.json"));
    facts.add_space_prefix = Some(false);
    let bare = Tokenizer::new(&facts).unwrap();
    let ids = bare.encode_text("the").unwrap();
    assert_ne!(ids, tokenizer.encode_text("the").unwrap());
    assert_eq!(bare.decode(&ids), "the");
}

#[test]
fn sentencepiece_joins_the_leftmost_of_equals_and_takes_unused_tokens_apart() {
    let tokens = ["<unk>", "a", "b", "aa", "aaa", "ab", "abab"];
    let facts = TokenizerFacts {
        model: "llama".to_owned(),
        tokens: tokens.map(str::to_owned).to_vec(),
        token_types: vec![2, 1, 1, 1, 1, 1, 5],
        scores: vec![0.0, -9.0, -9.0, -1.0, -2.0, -1.0, -0.5],
        unknown: Some(0),
        add_space_prefix: Some(false),
        ..TokenizerFacts::default()
    };
    let tokenizer = Tokenizer::new(&facts).unwrap();
    let check = |text: &str, expected: &[&str]| {
        let ids = tokenizer.encode_text(text).unwrap();
        let texts: Vec<&str> = ids.iter().filter_map(|&id| tokenizer.token_text(id)).collect();
        assert_eq!(texts, expected, "{text}");
    };
    check("aaaaa", &["aa", "aaa"]);
    check("aab", &["aa", "b"]);
    check("abab", &["ab", "ab"]);
    check("axb", &["a", "<unk>", "b"]);
}

proptest! {
    #[test]
    fn streaming_gives_what_decoding_gives(ids in prop::collection::vec(0_u32..2600, 0..60)) {
        for tokenizer in [llama3_like(), sentencepiece()] {
            prop_assert_eq!(stream(&tokenizer, &ids).concat(), tokenizer.decode(&ids));
        }
    }

    #[test]
    fn any_text_comes_back(text in any::<String>()) {
        for tokenizer in [llama3_like(), sentencepiece()] {
            let ids = tokenizer.encode_text(&text).unwrap();
            prop_assert_eq!(tokenizer.decode(&ids), &text[..]);
        }
    }
}

#[track_caller]
fn check_refused(change: impl Fn(&mut TokenizerFacts), expected: &str) {
    for vocab in [golden_file!("llama-bpe.vocab.json"), golden_file!("sentencepiece.vocab.json")] {
        let mut facts = facts(vocab);
        change(&mut facts);
        let error = Tokenizer::new(&facts).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{error:?}");
    }
}

#[test]
fn contradictory_vocabularies_are_refused() {
    check_refused(|facts| facts.tokens.clear(), "0 tokens");
    check_refused(|facts| facts.tokens = vec![String::new(); TOKENS_MAX + 1], "2097153 tokens");
    check_refused(|facts| facts.tokens[5] = facts.tokens[6].clone(), "tokens 5 and 6 have the same text");
    check_refused(|facts| facts.token_types.truncate(7), "token_type has 7 entries");
    check_refused(|facts| facts.bos = Some(9_999_999), "bos_token_id is 9999999");
    check_refused(|facts| facts.eom = Some(u32::MAX), "eom_token_id is 4294967295");
    check_refused(|facts| facts.model = "t5".to_owned(), "\"t5\"; supported are");
}

/// A vocabulary of plain letters and `specials`, as a file has it.
fn file_with(specials: &[String], kind: i32) -> GgufWriter {
    let mut tokens: Vec<&str> = vec!["<unk>", "a", "b"];
    tokens.extend(specials.iter().map(String::as_str));
    let mut kinds = vec![2, 1, 1];
    kinds.resize(tokens.len(), kind);
    GgufWriter::new()
        .key("tokenizer.ggml.model", "llama")
        .key("tokenizer.ggml.scores", vec![0.0_f32; tokens.len()])
        .key("tokenizer.ggml.tokens", tokens)
        .key("tokenizer.ggml.token_type", kinds)
}

fn from_file(writer: &GgufWriter) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_gguf(Gguf::from_bytes(writer.finish()).unwrap().metadata())
}

/// What is found whole costs memory many times its length, so both are bounded.
#[test]
fn special_tokens_have_a_bounded_length() {
    let check = |specials: &[String], kind, expected: &str| {
        let error = from_file(&file_with(specials, kind)).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected));
    };
    for kind in [2, 3, 4] {
        let expected = "token 3 is special and has 1048576 bytes; allowed are 512";
        check(&["x".repeat(1 << 20)], kind, expected);
        check(&["é".repeat(257)], kind, "token 3 is special and has 514 bytes; allowed are 512");
        let many: Vec<String> = (0..3000).map(|number| format!("{number:0500}")).collect();
        check(&many, kind, "the special tokens have 1500005 bytes together; allowed are 1048576");
        assert!(from_file(&file_with(&["x".repeat(512)], kind)).is_ok());
    }
    // Ordinary text may be long; what the metadata names may not, whatever its kind.
    for kind in [1, 5] {
        let long = file_with(&["x".repeat(513)], kind);
        assert!(from_file(&long).is_ok());
        let error = from_file(&long.key("tokenizer.ggml.bos_token_id", 3_u32)).err().unwrap().to_string();
        assert_eq!(error, "token 3 is special and has 513 bytes; allowed are 512");
    }
}

/// A DFA, which the automaton's makers choose for so few, would take 50 MB.
#[test]
fn the_automaton_of_the_longest_special_tokens_is_small() {
    let specials: Vec<String> = (0..99_u64)
        .map(|seed| {
            (0..255).map(|at| char::from_u32(0x80 + ((seed * 31 + at * 7) % 0x700) as u32).unwrap()).collect()
        })
        .collect();
    let tokenizer = from_file(&file_with(&specials, 4)).unwrap();
    let bytes = tokenizer.markup.automaton.as_ref().unwrap().memory_usage();
    assert!(bytes < 4 << 20, "{bytes} bytes");
    assert_eq!(tokenizer.encode_rendered(&[Part::Markup(&specials[7])]).unwrap(), [10]);
}

/// Lengths are compared before a list is copied: each of these has an element that the copy would refuse.
#[test]
fn lengths_are_checked_before_lists_are_copied() {
    let check = |writer: GgufWriter, expected: &str| {
        let error = from_file(&writer).err().unwrap().to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    };
    let tokens = || GgufWriter::new().key("tokenizer.ggml.tokens", vec!["a", "b"]);
    check(
        tokens().key("tokenizer.ggml.token_type", vec![i64::MAX; 3]),
        "token_type has 3 entries for 2 tokens",
    );
    check(tokens().key("tokenizer.ggml.scores", vec![1_u8; 3]), "scores has 3 entries for 2 tokens");
    let many = vec![0_u8; MERGES_MAX + 1];
    check(tokens().key("tokenizer.ggml.merges", many), "4194305 merges; allowed are 1 to 4194304");
    let many = vec![0_u8; TOKENS_MAX + 1];
    check(GgufWriter::new().key("tokenizer.ggml.tokens", many), "2097153 tokens; allowed are 1 to 2097152");
}

#[test]
fn contradictory_merges_and_scores_are_refused() {
    let check = |vocab: &str, change: &dyn Fn(&mut TokenizerFacts), expected: &str| {
        let mut facts = facts(vocab);
        change(&mut facts);
        let error = Tokenizer::new(&facts).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{error:?}");
    };
    let bpe = golden_file!("llama-bpe.vocab.json");
    check(bpe, &|facts| facts.pre = None, "supported are smollm");
    check(bpe, &|facts| facts.pre = Some("gpt-2".to_owned()), "\"gpt-2\"; supported are smollm");
    check(bpe, &|facts| facts.merges[3] = "ab".to_owned(), "entry 3 is \"ab\"");
    check(bpe, &|facts| facts.merges[3] = "a ".to_owned(), "entry 3 is \"a \"");
    check(bpe, &|facts| facts.merges[3] = "a nonsense".to_owned(), "entry 3 needs the token \"nonsense\"");
    check(bpe, &|facts| facts.merges[3] = "z z".to_owned(), "entry 3 needs the token \"zz\"");
    // A merge that would make a special token out of text.
    let making_special = |facts: &mut TokenizerFacts| {
        let merge = facts.merges[3].replace(' ', "");
        let made = facts.tokens.iter().position(|token| *token == merge).unwrap();
        facts.token_types[made] = 3;
    };
    check(bpe, &making_special, "entry 3 needs the token");
    let spm = golden_file!("sentencepiece.vocab.json");
    check(spm, &|facts| facts.scores.truncate(2), "scores has 2 entries");
    check(spm, &|facts| facts.scores[9] = f32::NAN, "token 9 has the score NaN");
    check(spm, &|facts| facts.tokens[5] = "<0xZZ>".to_owned(), "byte token 5");
}

#[test]
fn long_runs_are_encoded_without_loss() {
    for tokenizer in [llama3_like(), sentencepiece()] {
        for unit in ["a", " ", "é", "🐋", "\n", "1", "the ", "<think>", "▁"] {
            let text = unit.repeat((1 << 20) / unit.len());
            let ids = tokenizer.encode_text(&text).unwrap();
            // SentencePiece writes a space as this very character, so it cannot be told from one.
            let expected = if tokenizer.adds_space_prefix() { text.replace('▁', " ") } else { text };
            assert!(tokenizer.decode(&ids) == expected, "{unit:?} did not come back");
        }
        let error = tokenizer.encode_text(&"a".repeat(TEXT_BYTES_MAX + 1)).unwrap_err();
        assert!(matches!(error, TokenizerError::TextTooLong { .. }));
    }
}
