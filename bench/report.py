"""report.py: the result of bench.py as a Markdown table and an SVG chart."""
import math

from engines import PEERS

LABELS = {"ort": "ONNX Runtime", "ov-f32": "OpenVINO f32", "ov-default": "OpenVINO default"}
COLORS = {"ort": "#4878a8", "ov-f32": "#d08040"}


def cell(row, key, form="{:.3g}"):
    return form.format(row[key]) if key in row else "fails" if "error" in row else "-"


def ratio(t, peer):
    """Peer time over hone's, or None."""
    mine, theirs = t["hone"].get("p50_ms"), t.get(peer, {}).get("p50_ms")
    return theirs / mine if mine and theirs else None


def best_ratio(t):
    return min((r for p in PEERS if (r := ratio(t, p))), default=None)


def geometric_mean(values):
    values = [v for v in values if v]
    return f"{math.exp(sum(map(math.log, values)) / len(values)):.2f}" if values else "-"


def peak_gflops(result):
    return max(v for k, v in result["machine"]["gops"].items() if k.startswith("f32"))


def table(head, rows):
    return "\n".join("| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows]) + "\n"


def latency_table(result, threads):
    engines, peak = result["engines"], threads * peak_gflops(result)
    peers, rows = [p for p in PEERS if p in engines], []
    others = [e for e in engines if e != "hone"]
    for name, m in result["models"].items():
        t = m["threads"][str(threads)]
        row = [name, f"{m['gflop']:.3g}"]
        row += [f"{cell(t[e], 'p50_ms')} / {cell(t[e], 'p90_ms')}" for e in engines]
        row += [f"{r:.2f}" if (r := ratio(t, p)) else "-" for p in others]
        row += [f"**{r:.2f}**" if (r := best_ratio(t)) else "-"]
        row += [f"{100 * m['gflop'] / (t[e]['p50_ms'] / 1e3) / peak:.0f}" if "p50_ms" in t[e] else "-"
                for e in ["hone", *peers]]
        rows.append(row + [cell(t[e], "error_vs_ort", "{:.0e}") for e in engines if e != "ort"])
    measured = [m["threads"][str(threads)] for m in result["models"].values()]
    means = [geometric_mean(ratio(t, p) for t in measured) for p in others]
    means.append(f"**{geometric_mean(map(best_ratio, measured))}**")
    rows.append(["geometric mean", *[""] * (1 + len(engines)), *means, *[""] * (len(peers) + len(engines))])
    head = ["model", "GFLOP", *engines, *(f"{p} / hone" for p in others), "best f32 / hone"]
    head += [f"{e} % of peak" for e in ["hone", *peers]] + [f"{e} err" for e in engines if e != "ort"]
    return table(head, [r[:len(head)] for r in rows])


def scaling_table(result):
    """How much two threads gain on models over 10 ms."""
    rows = []
    for name, m in result["models"].items():
        one, two = m["threads"]["1"], m["threads"]["2"]
        if one["hone"].get("p50_ms", 0) > 10:
            rows.append([name] + [f"{one[e]['p50_ms'] / two[e]['p50_ms']:.2f}"
                                  if "p50_ms" in one[e] and "p50_ms" in two[e] else "-" for e in result["engines"]])
    return table(["model", *result["engines"]], rows) if rows else "no model takes that long\n"


def shorter(nodes, most=60):
    """The last parts of node names, as many as fit."""
    text = " + ".join(n.rsplit("/", 1)[-1] for n in nodes.split(" + "))
    return nodes.split(" + ")[0].rsplit("/", 1)[0][-30:] + "/" + (text if len(text) <= most else text[:most] + "..")


def bound_table(result):
    rows = []
    for name, m in result["models"].items():
        p = m.get("profile", {})
        if "bound_ms" in p:
            worst = "; ".join(f"{k['uses']}x {shorter(k['nodes'])} ({k['driver']}, {k['ms']:.3g} ms, bound {k['bound_ms']:.3g})"
                              for k in p["worst"])
            rows.append([name, f"{p['run_ms']:.3g}", f"{p['bound_ms']:.3g}", f"{100 * p['bound_ms'] / p['run_ms']:.0f}",
                         worst.replace("|", "/")])
    rows.sort(key=lambda row: float(row[3]))
    return table(["model", "run ms", "bound ms", "%", "kernels that lose most"], rows)


def cold_table(result):
    engines = ["hone-c", *(e for e in result["engines"] if e != "ov-default")]
    rows = []
    for name, m in result["models"].items():
        c, colds = m["compile"], [m["cold"].get(e, {}) for e in engines]
        row = [name, cell(colds[0], "steady_ms")]
        row += [" / ".join((cell(cold, "first_ms", "{:.1f}"), cell(cold, "load_ms", "{:.1f}"), cell(cold, "peak_mb", "{:.0f}")))
                for cold in colds]
        row += [cell(c, "artifact_bytes", "{:,}"), cell(c, "onnx_bytes", "{:,}"), cell(c, "compile_s", "{:.2f}")]
        rows.append(row + [cell(c, "compile_mb", "{:.0f}")])
    head = ["model", "hone-c steady ms", *(f"{e} first / load ms / peak MB" for e in engines)]
    return table([*head, ".so bytes", ".onnx bytes", "compile s", "compile MB"], rows)


def notes(result, quiet):
    failures, disturbed = [], []
    for name, m in result["models"].items():
        if "error" in m["compile"]:
            failures.append(f"- {name}: {m['compile']['error']}")
        if "error" in m.get("profile", {}):
            failures.append(f"- {name}, profile: {m['profile']['error']}")
        parts = [("compile", m["compile"]), ("profile", m.get("profile", {}))]
        parts += [(f"{e} cold", row) for e, row in m["cold"].items()]
        for n, t in m["threads"].items():
            failures += [f"- {name}, {e}, {n} threads: {row['error']}" for e, row in t.items() if "error" in row]
            failures += [f"- {name}, {e}, {n} threads: the output differs from ONNX Runtime's"
                         for e, row in t.items() if not row.get("agrees", True) and e != "ov-default"]
            parts += [(f"{e} {n}T", row) for e, row in t.items()]
        busy = [f"{what} {row['foreign']:.2f}" for what, row in parts if row.get("foreign", 0) > quiet]
        disturbed += [f"- {name}: {', '.join(busy)}"] if busy else []
    return ("\n## Disturbed by other processes (of a core; do not trust these)\n\n"
            + "\n".join(disturbed or ["none"]) + "\n"
            + ("\n## Failures\n\n" + "\n".join(failures) + "\n" if failures else ""))


def markdown(result, quiet):
    machine = result["machine"]
    text = f"# Benchmark of {result['date']}\n\n"
    text += "; ".join(f"{k}: {v}" for k, v in machine["cpu"].items()) + f"; Linux {machine['kernel']}\n\n"
    text += "Measured on one core, 1e9 operations/s: " + ", ".join(
        f"{k} {v:.0f}" for k, v in machine["gops"].items() if v) + "; GB/s read / copy: " + ", ".join(
        f"{k} {v['read']:.0f} / {v['copy']:.0f}" for k, v in machine["gbs"].items()) + "\n\n"
    text += "Versions: " + ", ".join(f"{k} {v}" for k, v in result["versions"].items()) + "\n\n"
    text += (f"Batch 1, f32, random weights, {result['rounds']} interleaved rounds of {result['seconds']} s. p50 / p90 "
             "in ms. Ratio: peer time / hone time (above 1, hone is faster); best f32: the faster of ONNX Runtime and "
             "OpenVINO in f32. % of peak: of the measured f32 peak times the threads, counting direct operations. err: "
             "largest difference from ONNX Runtime's output over its largest magnitude (1e-3 is the bound; ov-default "
             "may compute below f32).\n\n")
    for threads in result["threads"]:
        text += f"## {threads} thread{'s' * (threads > 1)}\n\n" + latency_table(result, threads) + "\n"
    if result["threads"][:2] == [1, 2]:
        text += "## One thread / two threads, models over 10 ms\n\n" + scaling_table(result) + "\n"
    text += ("## Distance from the bound, one thread\n\nThe bound is the sum over kernels of the larger of operations / peak "
             "and bytes / bandwidth (docs/performance.md); a convolution by Winograd counts as what that computes.\n\n"
             + bound_table(result) + "\n")
    text += ("## Cold start, memory, size, compile time\n\nFrom starting a process to its first result, one thread: "
             "hone-c from a C program, the others from Python. load: from opening the model to that result, without the "
             "start of the process and imports.\n\n" + cold_table(result))
    return text + notes(result, quiet)


# ---- the chart ----


def text_at(x, y, words, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{words}</text>'


def panel(result, threads, left, top, width):
    """Bars of peer time / hone time, one row for each model; a line where they are equal."""
    rows = [(name, m["threads"][str(threads)]) for name, m in result["models"].items()]
    peers = [p for p in PEERS if p in result["engines"]]
    most = max([r for _, t in rows for p in peers if (r := ratio(t, p))] + [1.5])
    scale, height = (width - 40) / most, 8 * len(peers) + 6
    parts = [text_at(left, top - 10, f"{threads} thread{'s' * (threads > 1)}: peer time / hone time", size=14)]
    for i, (name, t) in enumerate(rows):
        y = top + i * height
        parts.append(text_at(left - 6, y + height / 2 + 2, name, "end"))
        for j, peer in enumerate(peers):
            if r := ratio(t, peer):
                parts.append(f'<rect x="{left}" y="{y + 8 * j:.1f}" width="{r * scale:.1f}" height="7" '
                             f'fill="{COLORS[peer]}"/>')
                parts.append(text_at(left + r * scale + 3, y + 8 * j + 7, f"{r:.2f}", size=8))
    bottom, one = top + len(rows) * height, left + scale
    parts.append(f'<line x1="{one:.1f}" y1="{top - 4}" x2="{one:.1f}" y2="{bottom}" stroke="#222" '
                 'stroke-dasharray="3,2"/>')
    return parts, bottom


def chart(result):
    parts, bottom, width = [], 0, 330
    for i, threads in enumerate(result["threads"]):
        more, bottom = panel(result, threads, 150 + i * (width + 170), 40, width)
        parts += more
    for i, peer in enumerate(PEERS):
        parts.append(f'<rect x="{150 + 140 * i}" y="{bottom + 12}" width="10" height="10" fill="{COLORS[peer]}"/>')
        parts.append(text_at(165 + 140 * i, bottom + 21, LABELS[peer]))
    cpu = result["machine"]["cpu"].get("Model name", "")
    parts.append(text_at(450, bottom + 21, f"{cpu}, {result['date']}; right of the line hone is faster"))
    total = 150 + len(result["threads"]) * (width + 170)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{bottom + 36}" '
            'font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts)
            + "\n</svg>\n")
