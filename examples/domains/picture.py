"""The pictures of examples/domains/results: SVG, without a library."""
from xml.sax.saxutils import escape

COLOURS = ("#1b1b1b", "#8a8a8a", "#c0392b", "#2471a3", "#b9770e", "#6c3483", "#1e8449", "#0e8c8c")
WIDTH, HEIGHT, LEFT, TOP, GAP = 330, 250, 62, 34, 30


def text(x, y, s, size=11, anchor="start", colour="#1b1b1b"):
    return '<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" fill="%s">%s</text>' % (x, y, size, anchor, colour, escape(s))


def line(x, y, u, v, colour, more=""):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" %s/>' % (x, y, u, v, colour, more)


def page(width, height, parts):
    return ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif">\n'
        '<rect width="%d" height="%d" fill="#ffffff"/>\n' % ((width, height) * 3)) + "\n".join(parts) + "\n</svg>\n"


def ticks(low, high):
    """Round numbers between, some five of them."""
    step = 1e-4
    while (high - low) / step > 6:
        step *= 2.5 if str(step)[-1] == "2" or "2e" in str(step) else 2
    first = int(low / step) + 1
    return [first * step + i * step for i in range(int((high - first * step) / step) + 1)]


def curves(domains, limit):
    """domains: {name: {method: [(share of the bytes, [value of each seed])]}}. A panel each."""
    methods = list(dict.fromkeys(m for d in domains.values() for m in d))
    colour = {m: COLOURS[i % len(COLOURS)] for i, m in enumerate(methods)}
    parts = []
    for i, (name, series) in enumerate(domains.items()):
        values = [v for points in series.values() for _, seeds in points for v in seeds]
        low, high = min(values), max(values)
        low, high = low - 0.06 * (high - low), high + 0.06 * (high - low)
        left, top = LEFT + (i % 2) * (WIDTH + LEFT + GAP), TOP + (i // 2) * (HEIGHT + TOP + GAP)

        def x(share):
            return left + (1.03 - share) / (1.03 - 0.36) * WIDTH

        def y(value):
            return top + (high - value) / (high - low) * HEIGHT

        parts += [text(left, top - 12, name, 13), '<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#8a8a8a"/>' % (
            left, top, WIDTH, HEIGHT)]
        for share in (1, 0.75, 0.6, 0.5, 0.4):
            parts += [line(x(share), top + HEIGHT, x(share), top + HEIGHT + 4, "#8a8a8a"),
                text(x(share), top + HEIGHT + 16, "%d %%" % (100 * share), 10, "middle")]
        for value in ticks(low, high):
            parts += [line(left - 4, y(value), left, y(value), "#8a8a8a"), text(left - 7, y(value) + 4, "%.3g" % value, 10, "end")]
        full = series.get("full tune")
        if full:
            mean = sum(full[0][1]) / len(full[0][1])
            parts += [line(left, y(mean), left + WIDTH, y(mean), "#1b1b1b", 'stroke-dasharray="2 3"')]
            if mean * (1 + limit) < high:
                parts += [line(left, y(mean * (1 + limit)), left + WIDTH, y(mean * (1 + limit)), "#c0392b", 'stroke-dasharray="2 3"'),
                    text(left + WIDTH - 4, y(mean * (1 + limit)) - 4, "+%g %%" % (100 * limit), 10, "end", "#c0392b")]
        for m, points in series.items():
            means = [(x(s), y(sum(v) / len(v)), v) for s, v in points]
            if len(means) > 1:
                parts.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>' % (
                    " ".join("%.1f,%.1f" % p[:2] for p in means), colour[m]))
            for px, py, seeds in means:
                parts += [line(px, y(min(seeds)), px, y(max(seeds)), colour[m], 'stroke-width="1.5"'),
                    '<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>' % (px, py, colour[m])]
    rows = (len(domains) + 1) // 2
    bottom = TOP + rows * (HEIGHT + TOP + GAP)
    for i, m in enumerate(methods):
        px, py = LEFT + (i % 4) * 190, bottom + 4 + (i // 4) * 18
        parts += ['<circle cx="%d" cy="%d" r="4" fill="%s"/>' % (px, py - 4, colour[m]), text(px + 9, py, m)]
    columns = min(2, len(domains))
    parts.append(text(LEFT, bottom + 48, "nats per byte against the share of the bytes that is left; bars: least and most of the seeds", 10))
    return page(max(LEFT + columns * (WIDTH + LEFT + GAP) - LEFT, LEFT + 4 * 190), bottom + 60, parts)


def orders(domains):
    """domains: {name: {seed: [unit]}}. A line for each chain, a box for each unit in the order they left."""
    parts, top, most = [], 34, 0
    parts += ['<rect x="110" y="8" width="14" height="14" fill="#2471a3"/>', text(129, 20, "attention"),
        '<rect x="210" y="8" width="14" height="14" fill="#c0392b"/>', text(229, 20, "MLP"), text(290, 20, "number: block")]
    for name, seeds in domains.items():
        for seed, units in sorted(seeds.items()):
            parts.append(text(8, top + 14, "%s, seed %s" % (name, seed)))
            for i, u in enumerate(units):
                _, layer, kind = u.split(".")
                px = 110 + 24 * i
                parts += ['<rect x="%d" y="%d" width="22" height="20" fill="%s"/>' % (px, top, "#2471a3" if kind == "attn" else "#c0392b"),
                    text(px + 11, top + 14, layer, 11, "middle", "#ffffff")]
            most = max(most, len(units))
            top += 24
        top += 10
    return page(120 + 24 * max(most, 12), top, parts)
