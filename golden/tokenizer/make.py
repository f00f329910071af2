"""Writes 10,000 lines in several scripts, and what the reference tokenizers make of them.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 gguf==0.19.0 numpy protobuf
    pip install llama-cpp-python==0.3.36        # optional: a second opinion, see below
    python golden/tokenizer/make.py MODEL.gguf  # SmolLM2-135M-Instruct.Q4_1.gguf, from `cachalot pull`

- SmolLM2: the vocabulary of the model file and the pre-tokenizer of its tokenizer.json, in the `tokenizers` library.
- The other pre-tokenizers of byte-level BPE: their vocabularies are not at hand everywhere, so a small one is trained
  here with the very pre-tokenizer (and normaliser) that the model's tokenizer.json declares, and is kept with the ids.
- SentencePiece BPE: a small model trained here with the sentencepiece library, which is also the reference.

Where llama-cpp-python can be imported, each vocabulary is also written as a GGUF file without weights and every line
tokenised by llama.cpp; how many lines differ is printed. A few do where llama.cpp departs from the models' own
tokenizers (it does not normalise for Qwen2, say): the reference stays the models' own.

Files: lines.jsonl (one JSON string per line), <name>.vocab.json (what the GGUF file would say), <name>.ids.json: the
ids of the first lines, and for every 10 lines the first 16 digits of the SHA-256 of their ids (each as 4 bytes, little
endian; after each line ff ff ff ff).
"""

import hashlib
import json
import pathlib
import random
import struct
import sys
import tempfile
import unicodedata

import gguf
import sentencepiece
import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).resolve().parent
LINES = 10_000
SHOWN = 300

WORDS = {
    "english": """the of and to in a is that for it as was with be by on not he this are or his from at which but have an
        they you were her she there would their we him been has when who will more no if out so said what up its about
        into than them can only other new some could time these two may then do first any my now such like our over man
        me even most made after also did many before must through back years where much your way well down should
        because each just those people mister how too little state good very make world still own see men work long
        get here between both life being under never day same another know while last might us great old year off come
        since against go came right used take three whale deepest ocean diving don't I'll we've they're it's you'd I'm
        cannot WON'T it'S O'Neill's rock'n'roll""",
    "french": """le de un à être et en avoir que pour dans ce il qui ne sur se pas plus par je avec tout faire son mettre
        autre on mais nous comme ou si leur y dire elle devoir avant deux même prendre aussi celui donner bien où fois
        vous encore nouveau aller cela entre premier vouloir déjà grand mon me moins aucun lui temps très savoir falloir
        voir quelque sans raison notre dont non an monde jour monsieur demander alors après trouver personne rendre part
        dernier venir pendant passer peu lequel suite bon comprendre depuis point ainsi heure rester l'été d'œuvre
        qu'est-ce c'était Noël façon garçon naïve cœur ÉTÉ ÇA""",
    "russian": """и в не на я быть он с что а по это она этот к но они мы весь который из у который то за свой что весь
        год от так о для ты же все тот мочь вы человек такой его сказать только или ещё бы себя один как уже до время
        если сам когда другой вот говорить наш мой знать стать при чтобы дело жизнь кто первый очень два день её новый
        рука даже во со раз где там под можно ну какой после их работа без самый потом надо хотеть ли слово идти большой
        КИТ Ёлка объём""",
    "arabic": """من في على إلى أن هذا التي الذي عن مع هذه كان قد ما لا كل بعد أو بين ذلك حيث عند لم قبل إذا كما غير أي يوم
        عام أكثر حتى هو هي هناك منذ كانت العالم الماء البحر الحوت السَّلامُ عَلَيْكُم مَرْحَبًا ٱلْعَرَبِيَّة ١٢٣٤ ۵۶ لله ﷲ ﻻ""",
    "hindi": """और का है में की के यह से को पर इस हैं एक कि नहीं भी था वह कर लिए तो ही या अपने हो साथ गया कहा जो बाद तक
        समय दिन लोग बहुत काम जब नमस्ते दुनिया क्षत्रिय ज्ञान श्री हिन्दी १२३ ॐ विद्यार्थी""",
    "other": """שלום עולם Ελληνικά γεια σου κόσμε สวัสดีชาวโลก tiếng Việt thế giới Türkçe İstanbul ışık ქართული ሰላም 안녕하세요
        세계 한국어 გამარჯობა Հայերեն বাংলা தமிழ் తెలుగు ខ្មែរ မြန်မာ ᏣᎳᎩ ǅ ǆ ʻokina ẞ straße Łódź žluťoučký ÅÄÖ ø æ đ ħ ŋ""",
}
CHINESE = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经十三之进着等部度家"
    "电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与关各重新线内数正心反你明"
    "看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想已通并提直题党程展五果料象员革位入常文总次品式活设及管特件长求老头基资边"
    "流路级少图山统接知较将组见计别她手角期根论运农指几九区强放决西被干做必战先回则任取据处队南给色光门即保治北造百规热领七海口东导器压志世金增争济阶"
    "鯨鯊龍龥㐀㒥豈𠀀𪚥"
)
JAPANESE = "これはひらがなとカタカナのテストですがんばってーヴェネツィア、。「」々〆ゟヿ"
CODE = [
    "def main(argv: list[str]) -> int:",
    "    return {k: v for k, v in zip(a, b) if v != None}",
    "\tif (x == 0x1F && !y) { z += 1; } // comment",
    "for (int i = 0; i < n; ++i) sum += a[i] * b[i];",
    "#include <stdio.h>\n#define MAX(a, b) ((a) > (b) ? (a) : (b))\n",
    "fn f<'a, T: Clone>(x: &'a mut [T]) -> Option<&'a T> { x.first() }",
    "SELECT count(*) FROM t WHERE id IN (1, 22, 333, 4444) -- ok",
    '<div class="a b" data-x=\'1\'>&nbsp;&#x1F600;</div>',
    'echo "$HOME" | sed -e "s/\\\\/x/g" > /dev/null 2>&1',
    '{"key": [1, 2.5, -3e10, null, true], "é": "\\u00e9\\n"}',
    "https://example.org/a/b?c=d&e=%20f#g user@example.com C:\\\\Windows\\\\System32",
    "        \n\n    \t  x\r\n\r\n  y   \n",
    "===== ---- ____ **** //// \\\\\\\\ !!!??? ...,,, ((())) [[]] {{}} <<>> && || ~~ `` ^^ %% $$ ## @@",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case x1y2z3 v1.2.3-rc.4+build5",
    "\\frac{a}{b} \\int_0^\\infty e^{-x^2}\\,dx = \\sqrt{\\pi}/2",
]
EMOJI = [
    "😀", "🐳", "🐋", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👨🏿‍🚀", "🇫🇷", "🇨🇳🇺🇸", "❤️", "☎", "1️⃣", "🧑‍💻", "🤷‍♀️", "✨", "©", "™", "€", "→", "≠", "∑", "½", "²",
    "Ⅷ", "①", "㊗", "🀄", "𝔘𝔫𝔦", "𝟘𝟙",
]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\u0085", "\v", "\f", "\x1c", "\u202f", "\ufeff"]
SPECIAL = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<s>", "</s>", "<unk>", "<0x41>", "<|eot_id|>",
    "<｜User｜>", "<｜end▁of▁sentence｜>", "[INST]", "<repo_name>", "▁", "Ġ", "Ċ",
]


def make_lines():
    rng = random.Random(20260101)
    words = {name: text.split() for name, text in WORDS.items()}

    def sentence(name, count):
        picked = [rng.choice(words[name]) for _ in range(count)]
        text = " ".join(picked)
        if rng.random() < 0.6:
            text = text[:1].upper() + text[1:]
        return text + rng.choice(["", ".", "!", "?", "…", ";", ":", ' "', ")", "\n"])

    def characters(alphabet, count):
        return "".join(rng.choice(alphabet) for _ in range(count))

    def number():
        return rng.choice(
            [
                str(rng.randrange(10 ** rng.randrange(1, 13))),
                f"{rng.uniform(-1e6, 1e6):.{rng.randrange(8)}f}",
                f"{rng.randrange(1_000_000_000):,}",
                f"{rng.randrange(24):02}:{rng.randrange(60):02}",
                f"{rng.randrange(1900, 2100)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 32):02}",
                f"{rng.randrange(100)}%",
                "".join(rng.choice("٠١٢٣٤٥٦٧٨٩०१२३४५一二三½¾²³Ⅳ௧") for _ in range(rng.randrange(1, 6))),
            ]
        )

    def any_unicode():
        while True:
            code = rng.choice([rng.randrange(0x80), rng.randrange(0x3000), rng.randrange(0x10000), rng.randrange(0x110000)])
            # Characters that older Unicode tables lack would test the age of tables.
            if not 0xD800 <= code <= 0xDFFF and unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs"):
                if unicodedata.ucd_3_2_0.category(chr(code)) != "Cn":
                    return chr(code)

    def mixed():
        pieces = []
        for _ in range(rng.randrange(2, 12)):
            kind = rng.randrange(8)
            if kind == 0:
                pieces.append(rng.choice(SPACES) * rng.randrange(1, 5))
            elif kind == 1:
                pieces.append(rng.choice(EMOJI))
            elif kind == 2:
                pieces.append(number())
            elif kind == 3:
                pieces.append(characters(CHINESE, rng.randrange(1, 8)))
            elif kind == 4:
                pieces.append(rng.choice(SPECIAL))
            elif kind == 5:
                pieces.append(characters("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~。，！？「」“”‘’", rng.randrange(1, 6)))
            else:
                pieces.append(rng.choice(words[rng.choice(list(words))]))
            if rng.random() < 0.5:
                pieces.append(" ")
        return "".join(pieces)

    def decomposed():
        return unicodedata.normalize(rng.choice(["NFD", "NFKD", "NFC"]), sentence(rng.choice(["french", "other", "hindi", "arabic"]), 6))

    makers = [
        (16, lambda: sentence("english", rng.randrange(1, 25))),
        (10, lambda: sentence("french", rng.randrange(1, 20))),
        (10, lambda: characters(CHINESE, rng.randrange(1, 40)) + rng.choice(["", "。", "！", "，", " ", "\n"])),
        (3, lambda: characters(JAPANESE, rng.randrange(1, 30))),
        (8, lambda: sentence("arabic", rng.randrange(1, 15))),
        (7, lambda: sentence("hindi", rng.randrange(1, 15))),
        (8, lambda: sentence("russian", rng.randrange(1, 15))),
        (5, lambda: sentence("other", rng.randrange(1, 12))),
        (10, lambda: rng.choice(["", " ", "\t", "    "]) + rng.choice(CODE) + rng.choice(["", "\n", "  ", "\n\n"])),
        (5, lambda: "".join(rng.choice(EMOJI) + rng.choice(["", " ", "a"]) for _ in range(rng.randrange(1, 12)))),
        (4, lambda: "".join(chr(rng.choice([*range(32), 127, *range(0x80, 0xA0)])) + rng.choice(["", "a", " "]) for _ in range(rng.randrange(1, 20)))),
        (7, lambda: rng.choice([" ", "", "x"]).join(number() for _ in range(rng.randrange(1, 8)))),
        (6, lambda: "".join(rng.choice(SPACES) * rng.randrange(1, 9) + rng.choice(["", "a", "1", "é", "."]) for _ in range(rng.randrange(1, 8)))),
        (12, mixed),
        (5, lambda: "".join(any_unicode() for _ in range(rng.randrange(1, 40)))),
        (4, decomposed),
        (3, lambda: rng.choice(["a", "é", "中", "🐳", "ab", "!", "=", "-", "\n", " ", "0", "aA", "▁", "ﬁ"]) * rng.randrange(1, 200)),
        (2, lambda: "".join(rng.choice(SPECIAL) + rng.choice(["", " ", "x"]) for _ in range(rng.randrange(1, 6)))),
    ]
    weights = [weight for weight, _ in makers]
    lines = ["", " ", "\n", "a", "Hello, world!", "<|im_start|>user\nHi<|im_end|>\n"]
    while len(lines) < LINES:
        lines.append(rng.choices(makers, weights)[0][1]())
    return lines


# The pre-tokenizers as the models' tokenizer.json declare them.
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = """41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C 38E-3A1
    3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A
    1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4
    1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128
    212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D
    A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3
    104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"""
CASED = "".join("-".join(chr(int(end, 16)) for end in item.split("-")) for item in CASED.split())
DEEPSEEK_LLM = [
    "[\r\n]",
    r"\s?[" + CASED + "]+",
    r"\s?[!-/:-~" + "\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    r"\s+$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
]
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
]


def pipeline(name):
    def split(pattern):
        return pre_tokenizers.Split(Regex(pattern), "isolated")

    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    steps = {
        "smollm": [digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)],
        "qwen2": [split(QWEN2), plain],
        "llama-bpe": [split(LLAMA3), plain],
        "deepseek-llm": [*map(split, DEEPSEEK_LLM), digits, plain],
        "deepseek-v3": [*map(split, DEEPSEEK_V3), plain],
    }[name]
    return pre_tokenizers.Sequence(steps)


def byte_level(name, tokens=None, merges=None, types=None):
    """A reference tokenizer over a given vocabulary."""
    vocab = {token: id for id, token in enumerate(tokens) if types is None or types[id] == 1}
    model = models.BPE(vocab, [tuple(merge.split(" ")) for merge in merges], ignore_merges=name == "llama-bpe")
    reference = Tokenizer(model)
    reference.pre_tokenizer = pipeline(name)
    reference.decoder = decoders.ByteLevel()
    if name == "qwen2":
        reference.normalizer = normalizers.NFC()
    return reference


def train_byte_level(name, lines):
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pipeline(name)
    if name == "qwen2":
        trained.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    trained.train_from_iterator(lines, trainer)
    state = json.loads(trained.to_str())["model"]
    tokens = sorted(state["vocab"], key=state["vocab"].get)
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in state["merges"]]
    special = ["<|begin|>", "<|end|>", "<think>"]
    return {
        "model": "gpt2",
        "pre": name,
        "tokens": tokens + special,
        "token_types": [1] * len(tokens) + [3, 3, 4],
        "merges": merges,
        "scores": [],
        "bos": len(tokens),
        "eos": len(tokens) + 1,
    }


def train_sentencepiece(lines):
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder, "text")
        text.write_text("\n".join(line.replace("\n", " ").replace("\r", " ").replace("\0", " ") for line in lines), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=f"{folder}/model", model_type="bpe", vocab_size=2500, byte_fallback=True,
            character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False,
            add_dummy_prefix=True, split_digits=True, allow_whitespace_only_pieces=True, num_threads=1,
            max_sentence_length=100_000, minloglevel=2,
        )
        reference = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/model.model")
    count = reference.get_piece_size()
    kinds = [
        2 if reference.is_unknown(id) else 3 if reference.is_control(id) else 6 if reference.is_byte(id) else 5 if reference.is_unused(id) else 1
        for id in range(count)
    ]
    facts = {
        "model": "llama",
        "pre": "default",
        "tokens": [reference.id_to_piece(id) for id in range(count)],
        "token_types": kinds,
        "merges": [],
        "scores": [reference.get_score(id) for id in range(count)],
        "bos": reference.bos_id(),
        "eos": reference.eos_id(),
        "unknown": reference.unk_id(),
    }
    return reference, facts


def llama_cpp(facts, lines, path=None):
    """What llama.cpp makes of the lines, or None without it."""
    try:
        import llama_cpp
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = f"{folder}/vocab.gguf"
            writer = gguf.GGUFWriter(path, "llama")
            writer.add_context_length(512)
            writer.add_embedding_length(64)
            writer.add_block_count(1)
            writer.add_feed_forward_length(64)
            writer.add_head_count(1)
            writer.add_layer_norm_rms_eps(1e-5)
            writer.add_tokenizer_model(facts["model"])
            writer.add_tokenizer_pre(facts["pre"])
            writer.add_token_list(facts["tokens"])
            writer.add_token_types(facts["token_types"])
            if facts["scores"]:
                writer.add_token_scores(facts["scores"])
            if facts["merges"]:
                writer.add_token_merges(facts["merges"])
            writer.add_bos_token_id(facts["bos"])
            writer.add_eos_token_id(facts["eos"])
            if "unknown" in facts:
                writer.add_unk_token_id(facts["unknown"])
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.close()
        model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
        return [model.tokenize(line.encode(), add_bos=False, special=False) for line in lines]


def write(name, facts, lines, ids, with_vocab=True, path=None):
    hashes = []
    for start in range(0, len(ids), 10):
        sum = hashlib.sha256()
        for line in ids[start : start + 10]:
            sum.update(b"".join(struct.pack("<I", id) for id in line) + b"\xff" * 4)
        hashes.append(sum.hexdigest()[:16])
    if with_vocab:
        (HERE / f"{name}.vocab.json").write_text(json.dumps(facts, ensure_ascii=True) + "\n")
    (HERE / f"{name}.ids.json").write_text(json.dumps({"lines": len(ids), "first": ids[:SHOWN], "hashes": hashes}) + "\n")
    second = llama_cpp(facts, lines, path)
    differ = "not asked" if second is None else [number for number, (a, b) in enumerate(zip(ids, second)) if a != b]
    count = differ if second is None else f"differs on {len(differ)} lines"
    print(f"{name}: {sum_lengths(ids)} tokens; llama.cpp {count}")
    for number in [] if second is None else differ[:3]:
        print("   ", number, ascii(lines[number][:60]), ids[number][:12], second[number][:12])


def sum_lengths(ids):
    return sum(map(len, ids))


def main():
    model = pathlib.Path(sys.argv[1])
    lines = make_lines()
    assert len(lines) == LINES
    (HERE / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    fields = gguf.GGUFReader(model).fields
    facts = {key: fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges", "token_type")}
    reference = byte_level("smollm", facts["tokens"], facts["merges"], facts["token_type"])
    ids = [reference.encode(line, add_special_tokens=False).ids for line in lines]
    write("smollm2", None, lines, ids, with_vocab=False, path=model)

    for name in ("qwen2", "llama-bpe", "deepseek-llm", "deepseek-v3"):
        facts = train_byte_level(name, lines)
        reference = byte_level(name, facts["tokens"], facts["merges"], facts["token_types"])
        write(name, facts, lines, [reference.encode(line, add_special_tokens=False).ids for line in lines])

    reference, facts = train_sentencepiece(lines)
    # NUL ends a text in sentencepiece's Python binding no more than anywhere else, but it is dropped on the way in.
    write("sentencepiece", facts, lines, [reference.encode(line) for line in lines])


if __name__ == "__main__":
    main()
