"""The ten prompts: texts, and how many of their tokens are kept."""

ENGLISH = """The sea was flat that morning, and the harbour smelled of tar and oranges. Marion counted the crates twice, \
because the first count had given her forty-one and the bill said forty. "There is one too many," she told the mate. \
He shrugged. Nobody on the quay had ever complained of an orange too many. She wrote the number down all the same, \
for she had learned from her father that a small error left alone grows up into a large one.

By noon the wind had turned to the north-west and the pilot came aboard. He was a careful man with a grey beard, who \
spoke of currents as others speak of their cousins: this one was honest, that one was not to be trusted after dark. \
The ship was to carry the oranges to Bergen, then take on dried fish, and be home before the first ice. Eleven days \
out, nine days back, if nothing broke. Something always broke. In the spring it had been the windlass; last year, \
the cook's patience.

A sperm whale can stay below the surface for more than an hour and dive deeper than two thousand metres. It finds \
squid in complete darkness by listening to the echo of its own clicks, which are among the loudest sounds made by any \
animal. Between dives it rests at the surface for about ten minutes, breathing once every fifteen seconds or so, and \
then lifts its tail and is gone again. Whalers once reckoned that for each foot of its length the animal would blow \
once and stay under one minute. The rule is not exact, but it is not bad either.

Questions for the reader. First: how many crates should have been on the bill? Second: if the ship leaves on the 3rd \
of September and nothing breaks, on which day does it return? Third: what does the story say about small errors, and \
do you agree? Write no more than two hundred words, and begin with the second question, because its answer is a number \
and numbers are easy to check. The answer to the second question is the 23rd of September, since 3 + 11 + 9 = 23. \
The answer to the first is forty-one, or forty, depending on whom you ask; Marion would say that the oranges do not \
care what is written on paper, but that the owner of the oranges does, and that it is the owner who pays. As for the \
third question, there are two schools. The one holds that errors cancel: a crate too many today, a crate too few \
tomorrow, and in the long run the books are right. The other holds that they add up, and that the long run is exactly \
the place where nobody is left to explain them. Marion belongs to the second school, and so does the sea, which has never been known to forgive a crate. When they came home in the autumn there was ice on the ropes already."""

FRENCH = """Le cachalot est le plus grand des animaux à dents. Il plonge à plus de mille mètres, dans l'obscurité \
complète, où il chasse le calmar à l'écoute de ses propres échos. « Voilà un métier difficile », dit l'enfant."""

CHINESE = """抹香鲸是世界上最大的齿鲸,能够潜入两千米以下的深海。它用声音寻找食物,一次呼吸可以维持一个多小时。\
今天的天气很好,我们去海边看船吧。请问这本书多少钱?"""

RUST = '''/// Smallest index at which `needle` occurs in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}
'''

MIXED_CODE = '''import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Crate:
    fruit: str
    count: int
    weight_kg: float = 12.5


def total(crates: list[Crate]) -> float:
    """Weight of all crates, in kilograms."""
    return sum(crate.count * crate.weight_kg for crate in crates)


if __name__ == "__main__":
    crates = [Crate("orange", 41), Crate("lemon", 7, 10.0), Crate("fig", 3)]
    print(json.dumps({"total_kg": total(crates), "kinds": sorted({c.fruit for c in crates})}, indent=2))

SELECT ship.name, COUNT(*) AS crates, SUM(crate.weight_kg) AS weight
FROM ship JOIN crate ON crate.ship_id = ship.id
WHERE ship.port = 'Bergen' AND crate.fruit <> 'fig'
GROUP BY ship.name HAVING COUNT(*) > 10 ORDER BY weight DESC;

<ul class="crates"><li data-count="41">oranges &amp; lemons</li><li>figs</li></ul>
{"ok": true, "values": [1, -2.5, 3e8, null], "name": "\\u00e9t\\u00e9 \\ud83d\\udc33"}
for (let i = 0; i < crates.length; i += 1) { console.log(`${i}: ${crates[i].fruit}`); }
'''

CHAT_SHORT = """<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
<|im_start|>user
What is the capital of France?<|im_end|>
<|im_start|>assistant
"""

CHAT_LONG = """<|im_start|>system
You answer briefly and say when you are not sure.<|im_end|>
<|im_start|>user
I have 41 crates of oranges and each weighs 12.5 kg. How much is that in all?<|im_end|>
<|im_start|>assistant
41 × 12.5 kg = 512.5 kg.<|im_end|>
<|im_start|>user
And if three of them fall into the sea?<|im_end|>
<|im_start|>assistant
Then 38 crates are left: 38 × 12.5 kg = 475 kg.<|im_end|>
<|im_start|>user
Écris la même réponse en français, puis en une ligne de Python. 谢谢! 🐳<|im_end|>
<|im_start|>assistant
Il reste 38 caisses, soit 475 kg.

```python
print((41 - 3) * 12.5)
```<|im_end|>
<|im_start|>user
Thank you. Which animal is in the picture that I sent you?<|im_end|>
<|im_start|>assistant
"""

# (name, text, tokens kept; none for all)
PROMPTS = [
    ("one-token", "The", 1),
    ("two-tokens", "Once upon", 2),
    ("seven-tokens", "The capital of France is the city", 7),
    ("chat-short", CHAT_SHORT, None),
    ("rust-one-block", RUST, 32),
    ("french-one-over", FRENCH, 33),
    ("chinese", CHINESE, 100),
    ("chat-long", CHAT_LONG, None),
    ("code-mixed", MIXED_CODE, 370),
    ("english-long", ENGLISH, 600),
]
