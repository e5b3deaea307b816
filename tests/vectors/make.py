#!/usr/bin/env python3
"""Training of tiny models by PyTorch, in double precision: what tests/unit/torch_test.c compares with.

    pip install torch xxhash && python3 tests/vectors/make.py

writes tests/vectors/NAME.safetensors, one for each case below. In it, F64 unless said otherwise:

    layers width ... rms-eps theta      the model
    has.attn has.mlp (layers)           1 where a block has that half
    trains (layers), embeddings         1 where a block, or embedding, final norm and head, train
    rows batch steps rate warm-up decay weight-decay clip
                                        decay 0 constant, 1 linear, 2 cosine; step i takes records
                                        i * batch .. i * batch + batch - 1, modulo their number
    rank alpha seed                     of low-rank additions; rank 0: none
    distill temperature                 share of the loss; 0: none
    length (records, 2), token          tokens of prompt and of answer; all of them
    w.NAME, parent.NAME F32             weights at the start, canonical names
    logits (answer tokens, V)           at the start, of all records in order
    loss norm (steps)                   before each step; the gradient's norm before clipping
    first.NAME second.NAME              gradients of steps 0 and 1, of what trains
    after.NAME                          weights behind the last step; low-rank additions merged too

Weights are rounded to f32 before anything is computed with them, results where they are written.
"""
import json
import math
import os
import struct

import numpy
import torch
import torch.nn.functional as F
import xxhash

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

BASE = dict(layers=2, width=8, ffn=9, heads=2, kv=1, head=4, vocab=11, tied=1, theta=10000.0, rope=0,
            no_attn=(), no_mlp=(), trains=None, embeddings=1, rows=24, batch=3, records=7, steps=10,
            rate=5e-3, warm_up=0.0, decay=0, weight_decay=0.0, clip=0.0, rank=0, alpha=0.0, distill=0.0,
            temperature=1.0)
CASES = {
    'mha-tied': dict(layers=1, heads=2, kv=2),
    'gqa-untied': dict(width=10, ffn=18, heads=4, kv=2, head=6, vocab=19, tied=0, warm_up=0.3, decay=1,
                       weight_decay=0.1, clip=0.5),
    'dropped': dict(layers=3, heads=3, no_attn=(1,), no_mlp=(2,), trains=(1, 2), decay=2, warm_up=0.2,
                    clip=1.0, rope=1),
    'frozen': dict(layers=3, tied=0, trains=(1,), embeddings=0, decay=1, weight_decay=0.01, theta=100.0),
    'no-attention': dict(layers=1, no_attn=(0,), tied=0),
    'no-mlp': dict(layers=1, no_mlp=(0,), rows=11, batch=7, rope=2),
    'lora': dict(heads=4, kv=2, no_mlp=(0,), trains=(1,), embeddings=0, rank=2, alpha=4.0,
                 weight_decay=0.1, clip=0.5, decay=2),
    'lora-embeddings': dict(layers=1, tied=0, rank=3, alpha=3.0, decay=1, warm_up=0.2),
    'distill': dict(no_attn=(1,), trains=(1,), distill=0.3, temperature=2.0, clip=1.0),
    'distill-all': dict(layers=1, tied=0, no_attn=(0,), distill=1.0, decay=1),
    'lora-distill': dict(layers=1, no_mlp=(0,), rank=2, alpha=8.0, embeddings=0, distill=0.5, temperature=3.0),
}


def random_weights(c, generator):
    D, F_, V, Q, K = c['width'], c['ffn'], c['vocab'], c['heads'] * c['head'], c['kv'] * c['head']

    def matrix(out, inner, scale=1.0):
        return torch.randn(out, inner, generator=generator) * scale / math.sqrt(inner)

    def norm():
        return 1 + 0.2 * torch.randn(D, generator=generator)

    w = {'embed': torch.randn(V, D, generator=generator) * 0.5}
    for i in range(c['layers']):
        b = f'blk.{i}.'
        w |= {b + 'attn.norm': norm(), b + 'attn.q': matrix(Q, D), b + 'attn.k': matrix(K, D),
              b + 'attn.v': matrix(K, D), b + 'attn.o': matrix(D, Q), b + 'mlp.norm': norm(),
              b + 'mlp.gate': matrix(F_, D), b + 'mlp.up': matrix(F_, D), b + 'mlp.down': matrix(D, F_)}
    w['norm'] = norm()
    if not c['tied']:
        w['head'] = matrix(V, D)
    return {n: t.float().double() for n, t in w.items()}


def block_of(name):
    return int(name.split('.')[1]) if name.startswith('blk.') else None


def gone(c, name):
    i = block_of(name)
    return i is not None and i in (c['no_attn'] if '.attn.' in name else c['no_mlp'])


def frequencies(c):
    """rope 0: plain, 1: linear by 4, 2: llama3 with 8, 1, 4 and 32 (as in Hugging Face's modeling_rope_utils)."""
    inverse = 1 / c['theta'] ** (torch.arange(0, c['head'], 2) / c['head'])
    if c['rope'] == 1:
        return inverse / 4
    if c['rope'] == 2:
        factor, low, high, context = 8.0, 1.0, 4.0, 32
        wavelength = 2 * math.pi / inverse
        smooth = (context / wavelength - low) / (high - low)
        blended = (1 - smooth) * inverse / factor + smooth * inverse
        scaled = torch.where(wavelength > context / low, inverse / factor, inverse)
        between = (wavelength <= context / low) & (wavelength >= context / high)
        return torch.where(between, blended, scaled)
    return inverse


def turn(c, x):
    """x (heads, T, head), halves as Hugging Face has them."""
    angle = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), frequencies(c).float().double())
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Model(torch.nn.Module):
    """Parameters under canonical names, a slash first and for each dot; with additions, blocks are frozen."""

    def __init__(self, c, weights, trains=lambda name: False, additions=None):
        super().__init__()
        self.c = c
        for name, t in weights.items():
            self.put(name, t, trains(name) and (not additions or block_of(name) is None))
        for name, (a, b) in (additions or {}).items():
            self.put(name + '.lora-a', a, True)
            self.put(name + '.lora-b', b, True)

    def put(self, name, t, trains):
        self.register_parameter('/' + name.replace('.', '/'), torch.nn.Parameter(t.clone(), trains))

    def get(self, name):
        return getattr(self, '/' + name.replace('.', '/'), None)

    def trained(self):
        return {n[1:].replace('/', '.'): p for n, p in self.named_parameters() if p.requires_grad}

    def effective(self, name):
        a, w = self.get(name + '.lora-a'), self.get(name)
        return w if a is None else w + self.c['alpha'] / self.c['rank'] * self.get(name + '.lora-b') @ a

    def linear(self, name, x):
        a, y = self.get(name + '.lora-a'), F.linear(x, self.get(name))
        if a is None:
            return y
        return y + self.c['alpha'] / self.c['rank'] * F.linear(F.linear(x, a), self.get(name + '.lora-b'))

    def norm(self, name, x):
        return F.rms_norm(x, (self.c['width'],), self.get(name), 1e-5)

    def forward(self, tokens):
        c, x = self.c, self.get('embed')[tokens]
        for i in range(c['layers']):
            b = f'blk.{i}.'
            if self.get(b + 'attn.norm') is not None:
                h = self.norm(b + 'attn.norm', x)
                q, k, v = (self.linear(b + 'attn.' + n, h).unflatten(-1, (-1, c['head'])).transpose(0, 1)
                           for n in 'qkv')
                o = F.scaled_dot_product_attention(turn(c, q)[None], turn(c, k)[None], v[None], is_causal=True,
                                                   enable_gqa=True)[0]
                x = x + self.linear(b + 'attn.o', o.transpose(0, 1).flatten(1))
            if self.get(b + 'mlp.norm') is not None:
                h = self.norm(b + 'mlp.norm', x)
                h = F.silu(self.linear(b + 'mlp.gate', h)) * self.linear(b + 'mlp.up', h)
                x = x + self.linear(b + 'mlp.down', h)
        return F.linear(self.norm('norm', x), self.get('embed' if c['tied'] else 'head'))


def splitmix(state):
    mask = 2 ** 64 - 1
    while True:
        state = (state + 0x9e3779b97f4a7c15) & mask
        z = state
        z = ((z ^ z >> 30) * 0xbf58476d1ce4e5b9) & mask
        z = ((z ^ z >> 27) * 0x94d049bb133111eb) & mask
        yield z ^ z >> 31


def additions_of(c, weights, trains):
    """A: uniform in +-1 / sqrt(inputs), as compiler/model/train_lora.c draws it; B: 0."""
    made = {}
    for name, w in weights.items():
        if c['rank'] and trains(name) and block_of(name) is not None and w.dim() == 2:
            lo = xxhash.xxh3_128_intdigest(name.encode()) & (2 ** 64 - 1)
            draw = splitmix(lo ^ (c['seed'] * 0xd1342543de82ef95 & (2 ** 64 - 1)))
            inputs = w.shape[1]
            a = [(2 * ((next(draw) >> 11) * 2.0 ** -53) - 1) / math.sqrt(inputs) for _ in range(c['rank'] * inputs)]
            a = torch.tensor(a).view(c['rank'], inputs).float().double()
            made[name] = a, torch.zeros(w.shape[0], c['rank'])
    return made


def scheduler(c, optimizer):
    lr = torch.optim.lr_scheduler
    warm = math.floor(c['warm_up'] * c['steps'])
    left = c['steps'] - warm
    down = [lambda: lr.ConstantLR(optimizer, 1.0, 1), lambda: lr.LinearLR(optimizer, 1.0, 0.0, left),
            lambda: lr.CosineAnnealingLR(optimizer, left)][c['decay']]
    if not warm:
        return down()
    up = lr.LinearLR(optimizer, 1 / (warm + 1), 1.0, warm)
    return lr.SequentialLR(optimizer, [up, down()], [warm])


def answer_logits(model, record):
    prompt, tokens = record
    return model(tokens[:-1])[prompt - 1:]


def loss_of(c, model, parent, records):
    """The mean over answer tokens: (1 - d) nll + d T^2 KL(parent || model)."""
    loss, count = 0, 0
    for prompt, tokens in records:
        logits = answer_logits(model, (prompt, tokens))
        d, t = c['distill'], c['temperature']
        loss = loss + (1 - d) * F.cross_entropy(logits, tokens[prompt:], reduction='sum')
        if d:
            with torch.no_grad():
                want = F.log_softmax(answer_logits(parent, (prompt, tokens)) / t, -1)
            have = F.log_softmax(logits / t, -1)
            loss = loss + d * t * t * F.kl_div(have, want, reduction='sum', log_target=True)
        count += len(tokens) - prompt
    return loss / count


def run_case(c):
    generator = torch.Generator().manual_seed(c['seed'])
    whole = random_weights(c, generator)
    blocks = range(c['layers']) if c['trains'] is None else c['trains']

    def trains(name):
        return c['embeddings'] == 1 if block_of(name) is None else block_of(name) in blocks

    records = []
    for i in range(c['records']):
        prompt, answer = 1 + i % 4, 1 + (i * 5 + 3) % 7
        records.append((prompt, torch.randint(0, c['vocab'], (prompt + answer,), generator=generator)))
    weights = {n: t for n, t in whole.items() if not gone(c, n)}
    parent = None
    if c['distill']:
        parent = Model(c, whole)
        # As behind a round: what trains has moved.
        weights = {n: (t * (1 + 0.1 * torch.randn(t.shape, generator=generator))).float().double()
                   if trains(n) else t for n, t in weights.items()}
    model = Model(c, weights, trains, additions_of(c, weights, trains))
    trained = model.trained()
    groups = [{'params': [p for p in trained.values() if p.dim() == 2], 'weight_decay': c['weight_decay']},
              {'params': [p for p in trained.values() if p.dim() == 1], 'weight_decay': 0.0}]
    optimizer = torch.optim.AdamW([g for g in groups if g['params']], lr=c['rate'], betas=(0.9, 0.999), eps=1e-8)
    rates = scheduler(c, optimizer)
    blocks_with = {h: [float(i not in c['no_' + h]) for i in range(c['layers'])] for h in ('attn', 'mlp')}
    out = {n: c[k] for n, k in {
        'layers': 'layers', 'width': 'width', 'ffn': 'ffn', 'heads': 'heads', 'kv-heads': 'kv',
        'head-dim': 'head', 'vocab': 'vocab', 'tied': 'tied', 'theta': 'theta', 'rope': 'rope',
        'embeddings': 'embeddings', 'rows': 'rows', 'batch': 'batch', 'steps': 'steps', 'rate': 'rate',
        'warm-up': 'warm_up', 'decay': 'decay', 'weight-decay': 'weight_decay', 'clip': 'clip', 'rank': 'rank',
        'alpha': 'alpha', 'seed': 'seed', 'distill': 'distill', 'temperature': 'temperature'}.items()}
    out |= {'has.attn': blocks_with['attn'], 'has.mlp': blocks_with['mlp'],
            'trains': [float(i in blocks) for i in range(c['layers'])],
            'length': [[p, len(t) - p] for p, t in records], 'token': torch.cat([t for _, t in records])}
    for name, t in weights.items():
        out['w.' + name] = t.float()
    for name, t in whole.items() if c['distill'] else ():
        # What is not there is the model's own.
        if name not in weights or not torch.equal(t, weights[name]):
            out['parent.' + name] = t.float()
    with torch.no_grad():
        out['logits'] = torch.cat([answer_logits(model, r) for r in records]).float()
    losses, norms = [], []
    for step in range(c['steps']):
        taken = [records[(step * c['batch'] + k) % len(records)] for k in range(c['batch'])]
        optimizer.zero_grad()
        loss = loss_of(c, model, parent, taken)
        loss.backward()
        for name, p in trained.items():
            if step < 2:
                out[('second.' if step else 'first.') + name] = p.grad.float().clone()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), c['clip'] or math.inf).item())
        optimizer.step()
        rates.step()
    out['loss'], out['norm'] = losses, norms
    for name in [*trained, *(n for n in weights if model.get(n + '.lora-a') is not None)]:
        out['after.' + name] = model.effective(name).detach().float()
    return out


def write(path, tensors):
    header, data = {}, b''
    # Aligned to nothing but read in place: eight bytes an element first.
    arrays = {n: t.numpy() if isinstance(t, torch.Tensor) and t.dtype == torch.float32
              else numpy.asarray(t, dtype='<f8') for n, t in tensors.items()}
    for name, a in sorted(arrays.items(), key=lambda x: -x[1].itemsize):
        header[name] = {'dtype': 'F32' if a.itemsize == 4 else 'F64', 'shape': list(a.shape),
                        'data_offsets': [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + data)


for number, (name, case) in enumerate(CASES.items()):
    folder = os.path.dirname(os.path.abspath(__file__))
    write(os.path.join(folder, name + '.safetensors'), run_case({**BASE, 'seed': number + 1, **case}))
