"""The hand-written model of tests/unit/fake_model.c once more, from its description: logits of a token
list; `score TEXT` and `predict QUESTION` print what the binary should, from plain definitions."""
import json
import math
import struct
import sys

VOCAB, START, CONTEXT = 259, 257, 96


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def logits(tokens):
    h = (2166136261 + len(tokens) - 1) & 0xFFFFFFFF
    for t in tokens:
        h = ((h ^ t) * 16777619) & 0xFFFFFFFF
    out = []
    for v in range(VOCAB):
        x = ((h ^ (v * 2654435761 & 0xFFFFFFFF)) * 2246822519) & 0xFFFFFFFF
        bias = 8 if v == 258 or v == 32 or 97 <= v <= 122 else 0
        out.append(f32((x >> 22) / 256 + bias))
    return out


def nll(tokens, i):
    row = logits(tokens[:i])
    most = max(row)
    return math.log(math.fsum(math.exp(x - most) for x in row)) - (row[tokens[i]] - most)


def score(text):
    tokens, room, sum_nll, n = list(text), CONTEXT - 1, 0.0, 0
    for at in range(0, len(tokens), room):
        window = [START] + tokens[at:at + room]
        sum_nll += sum(nll(window, i) for i in range(1, len(window)))
        n += len(window) - 1
    return {"tokens": n, "nll": sum_nll / n, "perplexity": math.exp(sum_nll / n)}


def predict(question):
    prompt = [START] + list(b"Q: %s A:" % question)
    sums = {}
    for choice in ("yes", "no", "maybe"):
        tokens = prompt + list((" " + choice).encode())
        sums[choice] = sum(nll(tokens, i) for i in range(len(prompt), len(tokens)))
    all_of_them = sum(math.exp(-x) for x in sums.values())
    return {"choice": min(sums, key=sums.get),
            "probability": {k: math.exp(-x) / all_of_them for k, x in sums.items()}}


def near(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(near(a[k], b[k]) for k in a)
    return a == b or (isinstance(a, float) and abs(a - b) < 1e-10 * abs(b))


if sys.argv[1] == "score":
    with open(sys.argv[2], "rb") as f:
        wants = [score(f.read())]
else:
    wants = [predict(q.encode()) for q in sys.argv[2:]]
gots = [json.loads(line) for line in sys.stdin]
if len(gots) != len(wants) or not all(near(w, g) for w, g in zip(wants, gots)):
    print("want %s\ngot %s" % (wants, gots))
    sys.exit(1)
