//! Many at once.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Site, within};

const CHATS: usize = 64;
const TURNS: usize = 3;

/// 64 conversations, each with a streamed answer at a time and its writes to the database: every text is whole, no
/// request fails, and at the end nothing is running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_chats_stream_at_once() {
    let site = Site::new().await;
    let chat = async |number: usize| {
        let model = if number.is_multiple_of(2) { "plain" } else { "thinker" };
        let expected = if number.is_multiple_of(2) { "Hello, whale! 🐋" } else { "Two km." };
        let made = site.client.post("/api/conversations", &json!({"model": model})).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let path = format!("/api/conversations/{}", made.json()["id"].as_str().unwrap());
        for _ in 0..TURNS {
            let asked = json!({"content": format!("question of {number}")});
            let turn = site.client.post(&format!("{path}/messages"), &asked).await;
            assert_eq!(turn.status, 201, "{}", turn.text());
            let id = turn.json()["assistant"]["id"].as_str().unwrap().to_owned();
            let stream = format!("{path}/messages/{id}/stream");
            let mut stream = site.client.open("GET", &stream, &[], Vec::new()).await;
            let done = stream.rest().await.pop().unwrap().json();
            assert_eq!((&done["content"], &done["status"]), (&json!(expected), &json!("complete")), "{done}");
        }
        let tree = site.client.get(&path).await.json();
        assert_eq!(tree["messages"].as_array().unwrap().len(), 2 * TURNS);
    };
    within("all chats end", join_all((0..CHATS).map(chat))).await;
    assert_eq!(site.running("plain") + site.running("thinker"), 0);
}

/// The same through the API of OpenAI and DeepSeek.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_completions_stream_at_once() {
    let site = Site::new().await;
    let asked = json!({"model": "plain", "messages": [{"role": "user", "content": "Hi"}], "stream": true});
    let chat = async |_| {
        let mut stream = site.client.open_post("/v1/chat/completions", &asked).await;
        let mut text = String::new();
        for event in stream.rest().await {
            if event.data != "[DONE]" {
                text.push_str(event.json()["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
            }
        }
        assert_eq!(text, "Hello, whale! 🐋");
    };
    within("all answers end", join_all((0..CHATS).map(chat))).await;
}
