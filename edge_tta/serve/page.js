"use strict";
// Shows what /status tells; every text is set as text, never as markup.
const $ = (id) => document.getElementById(id);
const HISTORY = 240;
let points = [];
let latest = null;
let last = 0;
let ended = false;

const number = (value, digits) => (value == null ? "–" : value.toFixed(digits));
const percent = (value, digits = 0) => (value == null ? "–" : (100 * value).toFixed(digits) + " %");
const text = (id, value) => { if ($(id).textContent !== value) $(id).textContent = value; };

function element(tag, className, content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
}

function bars(id, reading) {
  const list = $(id);
  list.replaceChildren(...reading.likeliest.map(([name, p]) => {
    const item = element("li");
    const label = element("span", "label");
    label.append(element("span", "", name), element("span", "", percent(p)));
    const track = element("span", "track");
    const bar = element("i");
    bar.style.width = 100 * Math.max(0, Math.min(1, p ?? 0)) + "%";
    track.append(bar);
    item.append(label, track);
    return item;
  }));
  text(id + "-top", reading.likeliest.length ? reading.likeliest[0][0] : "–");
}

function curve() {
  const values = points.flat().filter((value) => value != null);
  const high = Math.max(0.1, ...values) * 1.05;
  const line = (which) => points
    .map((pair, i) => [240 * (i + HISTORY - points.length) / (HISTORY - 1), pair[which]])
    .filter(([, value]) => value != null)
    .map(([x, value]) => x.toFixed(1) + "," + (59 - 57 * value / high).toFixed(1))
    .join(" ");
  $("spark").querySelector(".adapted").setAttribute("points", line(0));
  $("spark").querySelector(".source").setAttribute("points", line(1));
  text("spark-from", "the latest " + points.length + " frames shown");
  text("spark-high", "top: " + number(high, 2));
}

function state(name, banner) {
  document.body.dataset.state = name;
  text("state", name);
  document.title = name + " · edge_tta";
  $("banner").hidden = !banner;
  if (banner) text("banner", banner);
}

function show(status) {
  latest = status;
  last = Date.now();
  const fell = status.state === "fell back";
  state(status.state, fell ? "The source network has most of the weight: " + status.guard.why + "." : "");
  text("source", status.source + " · " + status.method);
  text("name", status.name + (status.condition ? " · " + status.condition : ""));
  text("truth", status.truth == null ? "" : "truth: " + status.truth);
  bars("adapted", status.adapted);
  text("adapted-note", fell ? "(counts little)" : "");
  $("adapted").parentElement.classList.toggle("stale", fell);
  const source = status.source_network;
  $("source-network").parentElement.classList.toggle("stale", source == null);
  text("source-network-note", source == null ? "(not run)" : "(as trained)");
  if (source != null) bars("source-network", source);
  text("entropy", number(status.adapted.entropy, 2));
  text("entropy-source", source == null ? "" : "source " + number(source.entropy, 2));
  points.push([status.adapted.entropy, source == null ? null : source.entropy]);
  points = points.slice(-HISTORY);
  curve();
  text("fps", number(status.fps, 1));
  text("ms", number(status.ms.adapt, 1) + " ms");
  text("memory", status.memory_bytes == null ? "–" : Math.round(status.memory_bytes / 2 ** 20) + " MiB");
  text("frame", status.frame + 1 + (status.of == null ? "" : " / " + status.of));
  text("updates", String(status.updates));
  text("dropped", String(status.dropped));
  text("why", status.why);
  text("pause", status.paused ? "Resume" : "Pause");
  const adapts = status.state !== "source";
  $("pause").disabled = $("reset").disabled = !adapts;
  $("save").disabled = !status.can_save;
  $("save").title = status.can_save ? "" : "Start the run with --state FILE to save";
  guard(status.guard);
  filter(status.answer);
}

function filter(answer) {
  $("filter").hidden = answer == null;
  if (answer == null) return;
  text("answer", answer.label);
  text("belief", percent(answer.confidence));
  const frames = Math.round(answer.stay_frames);
  const stays = frames + (frames === 1 ? " frame" : " frames");
  text("stay", answer.stay_s == null ? stays : number(answer.stay_s, 1) + " s");
  text("novelty", percent(answer.novelty));
  text("neighbours", percent(1 - answer.alone));
  text("accuracy", estimated(answer.accuracy));
}

function estimated(accuracy) {
  return accuracy == null ? "unknown" : percent(accuracy.value) + " (" +
    (100 * accuracy.low).toFixed(0) + " to " + (100 * accuracy.high).toFixed(0) + ")";
}

function guard(found) {
  $("guard").hidden = found == null;
  if (found == null) return;
  text("guard-cost", "source network on " + percent(found.source_share) + " of frames");
  text("weight", percent(found.source_weight));
  text("differ", percent(found.disagreement));
  text("drift", percent(found.drift, 1));
  text("accuracies", estimated(found.accuracy) + ", " + estimated(found.source_accuracy));
  const rows = found.events.map((event) => {
    const row = element("li");
    row.append(
      element("span", "dim", "#" + event.frame),
      element("span", "kind " + event.kind.split(" ")[0], event.kind),
      element("span", "", event.why),
    );
    return row;
  });
  if (!rows.length) rows.push(element("li", "dim none", "no sign of harm so far"));
  $("events").replaceChildren(...rows);
}

async function ask(wish, button) {
  button.disabled = true;
  try {
    const answer = await fetch("/ask/" + wish, { method: "POST", headers: { "X-Edge-TTA": "1" } });
    if (!answer.ok) text("why", "The run refused: " + (await answer.text()));
    else if (wish === "save") text("why", "saved");
  } catch (error) {
    text("why", "The run does not answer.");
  }
  setTimeout(() => { button.disabled = ended; }, 300);
}

$("pause").addEventListener("click", (event) => ask(latest && latest.paused ? "resume" : "pause", event.target));
$("save").addEventListener("click", (event) => ask("save", event.target));
$("reset").addEventListener("click", (event) => {
  if (confirm("Forget everything that was learned?")) ask("reset", event.target);
});

const news = new EventSource("/status");
news.addEventListener("history", (event) => { points = JSON.parse(event.data).points; });
news.addEventListener("message", (event) => { if (!ended) show(JSON.parse(event.data)); });
news.addEventListener("end", () => {
  ended = true;
  news.close();
  state("ended", "The run has ended.");
  for (const button of document.querySelectorAll("button")) button.disabled = true;
});
news.addEventListener("error", () => {
  if (!ended) state("lost", "No connection to the run; trying again.");
});
setInterval(() => {
  const silent = Math.round((Date.now() - last) / 1000);
  if (!ended && last && silent >= 4 && document.body.dataset.state !== "lost") {
    $("banner").hidden = false;
    text("banner", "No frame for " + silent + " s.");
  }
}, 1000);
