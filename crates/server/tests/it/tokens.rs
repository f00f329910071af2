//! Tokens of texts and back, in vLLM's form.

use serde_json::{Value, json};

use crate::support::{Keyed, Site};

const TOKENIZE: &str = "/tokenize";
const DETOKENIZE: &str = "/detokenize";
const INFO: &str = "/tokenizer_info";

#[tokio::test]
async fn a_text_becomes_tokens_and_text_again() {
    let site = Site::new().await;
    let text = "Ahoy, <|end|> \u{e9}!";
    let asked = json!({"model": "plain", "prompt": text, "return_token_strs": true});
    let reply = site.client.post(TOKENIZE, &asked).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = reply.json();
    let tokens = reply["tokens"].as_array().unwrap();
    assert_eq!(reply["count"], tokens.len());
    assert_eq!(reply["token_strs"].as_array().unwrap().len(), tokens.len());
    assert_eq!(reply["token_strs"][0], "A");
    let back = site.client.post(DETOKENIZE, &json!({"model": "plain", "tokens": tokens})).await;
    assert_eq!(back.json(), json!({"prompt": text}));
    // The same ids are taken as a prompt.
    let asked = json!({"model": "plain", "prompt": tokens, "max_tokens": 1});
    let usage = site.client.post("/v1/completions", &asked).await.json()["usage"].clone();
    assert_eq!(usage["prompt_tokens"], tokens.len());
    // Nobody names a model: the server's.
    let reply = site.client.post(TOKENIZE, &json!({"prompt": "ab"})).await.json();
    assert_eq!((&reply["tokens"], &reply["token_strs"]), (&json!([97, 98]), &Value::Null));
    assert!(reply["max_model_len"].as_u64().unwrap() > 100);
}

#[tokio::test]
async fn a_special_token_is_one_token() {
    let site = Site::new().await;
    let info = site.client.get(&format!("{INFO}?model=thinker")).await;
    assert_eq!(info.status, 200, "{}", info.text());
    assert_eq!((&info.json()["model"], &info.json()["bos_token"]), (&json!("thinker"), &Value::Null));
    assert!(info.json()["vocab_size"].as_u64().unwrap() > 256);
    let asked = json!({"model": "thinker", "prompt": "<think>a", "add_special_tokens": false});
    let tokens = site.client.post(TOKENIZE, &asked).await.json()["tokens"].clone();
    assert_eq!(tokens.as_array().unwrap().len(), 2, "{tokens}");
    let back = site.client.post(DETOKENIZE, &json!({"model": "thinker", "tokens": tokens})).await;
    assert_eq!(back.json()["prompt"], "<think>a");
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let site = Site::new().await;
    let check = async |path: &str, asked: Value, status: u16, says: &str| {
        let reply = site.client.post(path, &asked).await;
        assert_eq!(reply.status, status, "{asked}: {}", reply.text());
        assert!(reply.text().contains(says), "{says}: {}", reply.text());
    };
    check(TOKENIZE, json!({}), 400, "prompt is missing").await;
    check(TOKENIZE, json!({"prompt": 3}), 400, "prompt").await;
    check(TOKENIZE, json!({"prompt": "a", "model": "nobody"}), 404, "installed are: plain").await;
    check(DETOKENIZE, json!({"tokens": [1, 70000]}), 422, "70000").await;
    check(DETOKENIZE, json!({"tokens": [-1]}), 400, "tokens[0]").await;
    site.client.get(&format!("{INFO}?model=nobody")).await.is_error(404, "model_not_found");
    site.client.get(&format!("{INFO}?model=a&model=b")).await.is_error(422, "invalid_parameter");
}

#[tokio::test]
async fn a_key_for_other_models_is_refused() {
    let site = Site::new().await;
    let key = Keyed::new(&site.client, &json!({"models": ["thinker"]})).await;
    key.post(TOKENIZE, &json!({"model": "plain", "prompt": "a"})).await.is_error(403, "model_not_allowed");
    key.post(DETOKENIZE, &json!({"tokens": [1]})).await.is_error(403, "model_not_allowed");
    key.get(INFO).await.is_error(403, "model_not_allowed");
    assert_eq!(key.post(TOKENIZE, &json!({"model": "thinker", "prompt": "a"})).await.status, 200);
}
