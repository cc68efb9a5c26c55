"use strict";
const STAGES = ["admission", "tokenizing", "bucketing", "batching", "execution", "notification"];
const HISTORY_S = 300, BARS = 60, HEIGHT = 160, FLOOR = 140, RETRY_MS = 3000;
const EXAMPLES = [
  "Bounded queues keep a server fast when too many requests arrive.",
  "The cat sleeps on the warm windowsill all afternoon.",
  "Water turns the turbine, and the turbine makes electricity.",
  "A short recipe for tomato soup with basil.",
  "The match ended in a draw after extra time.",
  "Vectors that lie close together belong to texts that mean the same.",
];
const $ = (id) => document.getElementById(id);
const seconds = [];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function round(value, digits = 0) {
  return value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { maximumFractionDigits: digits });
}

// The flow: a pipe before each stage.
const pipes = {};
for (const stage of STAGES) {
  const gauge = element("b"), words = element("span");
  pipes[stage] = { box: element("li", { class: "pipe" }, gauge, words), words, note: element("small") };
  $("flow").append(pipes[stage].box, element("li", { class: "stage" }, stage, pipes[stage].note));
}

function showChannels(channels, times) {
  for (const stage of STAGES) {
    const [depth, capacity] = channels[stage] || [0, 0], pipe = pipes[stage];
    const full = capacity ? depth / capacity : 0;
    pipe.box.style.setProperty("--full", `${100 * full}%`);
    pipe.box.classList.toggle("high", full >= 0.9);
    pipe.words.textContent = `${depth}/${capacity}`;
    pipe.box.setAttribute("aria-label", `channel to ${stage}: ${depth} of ${capacity}`);
    pipe.note.textContent = times[stage] === undefined ? "" : `${round(times[stage], 1)} ms`;
  }
}

function showFigures(frame) {
  const last = seconds.at(-1) || {};
  const rows = {
    "requests in the server": round(frame.open),
    "tokens waiting": round(frame.queued_tokens),
    "seconds of backlog": round(frame.backlog_s, 2),
    "items a second": round(last.items),
    "tokens a second": round(last.tokens),
    "device in use": last.busy === undefined ? "–" : `${round(100 * last.busy)}%`,
    "padding": last.padding_share === undefined ? "–" : `${round(100 * last.padding_share, 1)}%`,
  };
  $("figures").replaceChildren(...Object.entries(rows).map(
    ([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function showBuckets(buckets) {
  const most = Math.max(1, ...buckets.map(([, , tokens]) => tokens));
  $("buckets").replaceChildren(...buckets.map(([width, items, tokens]) => {
    const bar = element("i");
    bar.style.setProperty("--full", `${80 * tokens / most}%`);
    return element("div", { title: `up to ${width} tokens: ${items} items, ${tokens} tokens` }, round(items), bar, `≤${width}`);
  }));
  const waiting = buckets.filter(([, items]) => items).map(([width, items]) => `${items} up to ${width} tokens`);
  $("buckets").setAttribute("aria-label", waiting.length ? `items waiting: ${waiting.join(", ")}` : "nothing waits");
}

function showBatches(batches) {
  const line = $("batches");
  for (const [number, device, items, tokens, ms] of batches) {
    const bar = element("i", { title: `batch ${number}: ${items} items, ${tokens} tokens, ${round(ms, 1)} ms`, class: `device${device % 2}` });
    bar.style.width = `${Math.max(3, Math.min(60, ms / 2))}px`;
    bar.dataset.tokens = tokens;
    line.append(bar);
    line.setAttribute("aria-label", `last batch: ${items} items, ${tokens} tokens, ${round(ms, 1)} ms`);
  }
  while (line.childElementCount > BARS) line.firstChild.remove();
  const most = Math.max(1, ...[...line.children].map((bar) => bar.dataset.tokens));
  for (const bar of line.children) bar.style.height = `${Math.max(3, 100 * bar.dataset.tokens / most)}%`;
}

function draw(id, lines, top, unit) {
  const width = $(id).clientWidth;
  const x = (t) => width - (seconds.at(-1).t - t) * width / HISTORY_S;
  const y = (value) => FLOOR - value * (FLOOR - 14) / top;
  const paths = lines.map(([color, pick]) => {
    let path = "", pen = "M";
    for (const second of seconds) {
      const value = pick(second);
      if (value === null) pen = "M";
      else { path += `${pen}${x(second.t).toFixed(1)} ${y(Math.min(top, value)).toFixed(1)}`; pen = "L"; }
    }
    return `<path d="${path}" stroke="${color}"/>`;
  });
  const grid = [0, 0.5, 1].map((share) => `<path class="grid" d="M0 ${y(top * share)}H${width}"/><text x="2" y="${y(top * share) - 3}">${round(top * share, top < 5 ? 1 : 0)} ${unit}</text>`);
  $(id).setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  $(id).innerHTML = grid.join("") + paths.join("") + `<text x="2" y="${HEIGHT - 4}">5 min ago</text><text x="${width - 28}" y="${HEIGHT - 4}">now</text>`;
}

function key(id, entries) {
  $(id).replaceChildren(...entries.map(([color, words]) => {
    const dot = element("i");
    dot.style.setProperty("--c", color);
    return element("span", {}, dot, words);
  }));
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-3)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function showSeconds() {
  while (seconds.length && seconds[0].t < seconds.at(-1).t - HISTORY_S) seconds.shift();
  if (!seconds.length) return;
  const last = seconds.at(-1);
  const latency = [["var(--water)", (s) => s.p50_ms, "p50"], ["var(--warn)", (s) => s.p95_ms, "p95"], ["var(--bad)", (s) => s.p99_ms, "p99"]];
  draw("latency", latency, nice(Math.max(1, ...seconds.map((s) => s.p99_ms || 0))), "ms");
  key("latency-key", latency.map(([color, pick, name]) => [color, `${name} ${round(pick(last), 1)} ms`]));
  $("latency").setAttribute("aria-label", `latency now: p50 ${round(last.p50_ms, 1)}, p99 ${round(last.p99_ms, 1)} ms`);
  const refused = (s) => Object.values(s.refused).reduce((sum, count) => sum + count, 0);
  const traffic = [["var(--good)", (s) => s.answered], ["var(--bad)", refused]];
  draw("traffic", traffic, nice(Math.max(1, ...seconds.map((s) => Math.max(s.answered, refused(s))))), "/s");
  const reasons = Object.entries(last.refused).map(([reason, count]) => `${reason} ${count}`).join(", ");
  key("traffic-key", [["var(--good)", `answered ${round(last.answered)}/s`], ["var(--bad)", `refused ${round(refused(last))}/s ${reasons}`]]);
  $("traffic").setAttribute("aria-label", `answered ${last.answered}, refused ${refused(last)} in the last second`);
}

function showStatus(status) {
  if ($("status").textContent !== status) $("status").textContent = status;
  $("status").dataset.status = status;
}

function showModel(model) {
  const text = model ? `${model.id} · ${model.dimension} dimensions · ${model.dtype} on ${model.device} · ${model.batching}` : "no model yet";
  if ($("model").textContent !== text) $("model").textContent = text;
}

function follow() {
  const events = new EventSource("live");
  events.addEventListener("hello", (event) => {
    seconds.splice(0, seconds.length, ...JSON.parse(event.data).seconds);
    showSeconds();
  });
  events.addEventListener("second", (event) => {
    seconds.push(JSON.parse(event.data));
    showSeconds();
  });
  events.addEventListener("frame", (event) => {
    const frame = JSON.parse(event.data);
    showStatus(frame.status);
    showModel(frame.model);
    showChannels(frame.channels, (seconds.at(-1) || {}).stage_ms || {});
    showFigures(frame);
    showBuckets(frame.buckets);
    showBatches(frame.batches);
  });
  events.onerror = () => {
    showStatus("lost");
    // The browser tries again by itself, but not where a proxy answered for the server.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
  };
}
follow();

$("theme").addEventListener("click", () => {
  const dark = $("theme").textContent === "Dark";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = dark ? "Light" : "Dark";
});
if (matchMedia("(prefers-color-scheme: dark)").matches) $("theme").textContent = "Light";

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("answer").textContent = "…";
  $("nearest").replaceChildren();
  const started = performance.now();
  try {
    const response = await fetch("similarity", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ inputs: { source_sentence: $("text").value, sentences: EXAMPLES } }),
    });
    const body = await response.json();
    if (!response.ok) throw new Error(body.error || `the server answered ${response.status}`);
    $("answer").textContent = `${EXAMPLES.length} texts compared in ${round(performance.now() - started)} ms`;
    const ranked = body.map((score, index) => [score, EXAMPLES[index]]).sort((a, b) => b[0] - a[0]);
    $("nearest").replaceChildren(...ranked.map(([score, text]) => element("li", {},
      element("meter", { min: 0, max: 1, value: Math.max(0, score), "aria-label": "similarity" }), `${score.toFixed(2)} ${text}`)));
  } catch (error) {
    $("answer").textContent = `That did not work: ${error.message}`;
  }
});
