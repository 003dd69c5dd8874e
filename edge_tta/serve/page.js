// Shows what the stream tells; every text is set as text, never as markup.
import { draw } from "/charts.js";
import { watch } from "/stream.js";

const $ = (id) => document.getElementById(id);
const BUTTONS = ["pause", "reset", "save"];
const KEPT = 300;
const VAGUE = 0.4; // as in edge_tta/temporal/accuracy.py
const DONE = { pause: "Paused", resume: "Resumed", reset: "Reset to the source", save: "Saved" };
const NOT_DONE = { pause: "Not paused", resume: "Not resumed", reset: "Not reset", save: "Not saved" };
let points = [];
let latest = null;
let last = 0; // when the latest frame came
let ended = false;
let asked = null; // {number, wish, paused}: what the run has not dealt with yet
let told = 0; // number of the latest wish whose outcome is shown

const number = (value, digits) => (value == null ? "–" : value.toFixed(digits));
const percent = (value, digits = 0) => (value == null ? "–" : (100 * value).toFixed(digits) + " %");
const text = (id, value) => { if ($(id).textContent !== value) $(id).textContent = value; };
const clock = (at) => new Date(Date.now() - 1000 * (latest.at_s - at)).toLocaleTimeString();

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
    const named = element("span", "", name);
    if (name in (reading.colours || {})) {
      named.prepend(element("i", "key"));
      named.firstChild.style.background = reading.colours[name];
    }
    label.append(named, element("span", "", percent(p)));
    const track = element("span", "track");
    const bar = element("i");
    bar.style.width = 100 * Math.max(0, Math.min(1, p ?? 0)) + "%";
    track.append(bar);
    item.append(label, track);
    return item;
  }));
  text(id + "-top", reading.likeliest.length ? reading.likeliest[0][0] : "–");
}

function state(name, banner) {
  document.body.dataset.state = name;
  text("state", name);
  document.title = name + " · edge_tta";
  $("banner").hidden = !banner;
  if (banner) text("banner", banner);
}

function show(status) {
  const fell = status.state === "fell back";
  state(status.state, fell ? "The source network has most of the weight: " + status.guard.why + "." : "");
  text("source", status.source + " · " + status.method);
  text("name", status.name + (status.condition ? " · " + status.condition : ""));
  text("truth", status.truth == null ? "" : "truth: " + status.truth);
  bars("adapted", status.adapted);
  const chosen = status.state === "source answers"; // of masks and boxes: no harm is seen
  text("adapted-note", fell ? "(counts little)" : chosen ? "(not surer)" : "");
  $("adapted").parentElement.classList.toggle("stale", fell || chosen);
  const source = status.source_network;
  $("source-network").parentElement.classList.toggle("stale", source == null);
  text("source-network-note", source == null ? "(not run)" : "(as trained)");
  if (source != null) bars("source-network", source);
  text("fps", number(status.fps, 1));
  text("ms", number(status.ms.adapt, 1) + " ms");
  text("memory", status.memory_bytes == null ? "–" : Math.round(status.memory_bytes / 2 ** 20) + " MiB");
  text("frame", status.frame + 1 + (status.of == null ? "" : " / " + status.of));
  text("updates", String(status.updates));
  text("dropped", String(status.dropped));
  text("why", status.why === status.state ? "" : status.why);
  control(status);
  guard(status.guard);
  filter(status.answer, status.alarm_below);
}

function filter(answer, alarmBelow) {
  $("filter").hidden = answer == null;
  if (answer == null) return;
  text("answer", answer.label);
  text("belief", percent(answer.confidence));
  text("frame-alone", answer.raw.label + " " + percent(answer.raw.confidence));
  $("alarm").hidden = alarmBelow == null;
  if (alarmBelow != null) text("alarm", "Estimated accuracy is below " + +(100 * alarmBelow).toFixed(1) + " %.");
  text("stay", answer.stay);
  text("novelty", percent(answer.novelty));
  text("neighbours", percent(1 - answer.alone));
  text("accuracy", estimated(answer.accuracy));
}

function estimated(accuracy) {
  if (accuracy == null) return "unknown";
  const range = (100 * accuracy.low).toFixed(0) + " to " + (100 * accuracy.high).toFixed(0);
  const vague = accuracy.high - accuracy.low > VAGUE;
  return vague ? range + " %" : percent(accuracy.value) + " (" + range + ")";
}

function guard(report) {
  $("guard").hidden = report == null;
  if (report == null) return;
  text("guard-cost", "source network on " + percent(report.source_share) + " of frames");
  text("weight", percent(report.source_weight));
  $("differ").parentElement.hidden = report.disagreement == null;
  text("differ", percent(report.disagreement) + (report.parts == null ? "" : " of " + report.parts));
  $("accuracies").parentElement.hidden = report.parts != null;  // of masks and boxes unknown for good
  text("drift", percent(report.drift, 1));
  text("accuracies", estimated(report.accuracy) + ", " + estimated(report.source_accuracy));
  const rows = report.events.map((event) => {
    const row = element("li");
    row.append(
      element("span", "dim", clock(event.at_s)),
      element("span", "kind " + event.kind.split(" ")[0], event.kind),
      element("span", "", event.why + " (frame " + (event.frame + 1) + ")"),
    );
    return row;
  });
  if (!rows.length) rows.push(element("li", "dim none", "no sign of harm so far"));
  $("events").replaceChildren(...rows);
}

/** Buttons, what became of what they asked for, and the saved state. */
function control(status) {
  const adapts = status.state !== "source";
  const can = { pause: adapts, reset: adapts, save: status.saved != null };
  for (const id of BUTTONS) $(id).disabled = !can[id];
  $("save").title = can.save ? "" : "Start the run with --state FILE to save";
  text("pause", status.paused ? "Resume" : "Pause");
  $("download").hidden = !(status.saved && status.saved.there);
  $("onnx").hidden = !(status.saved && status.saved.onnx);
  const newest = status.done[status.done.length - 1];
  if (newest && newest.number > told) {
    const own = asked && status.done.find((done) => done.number === asked.number);
    const { wish, problem, at_s } = own || newest;
    outcome((problem == null ? DONE[wish] : NOT_DONE[wish]) + " at " + clock(at_s) +
      (problem == null ? "" : ": " + problem), problem != null);
    told = newest.number;
    if (asked && newest.number >= asked.number) asked = null;
  } else if (!asked && status.saved && status.saved.problem) {
    outcome("The state is not being saved: " + status.saved.problem, true);
  }
}

function outcome(said, bad = false) {
  text("outcome", said);
  $("outcome").classList.toggle("bad", bad);
}

async function ask(wish) {
  if (!latest) return;
  asked = { number: Infinity, wish };
  const own = asked;
  try {
    const answer = await fetch("/ask/" + wish, {
      method: "POST", headers: { "X-Edge-TTA": "1" }, signal: AbortSignal.timeout(5000),
    });
    if (!answer.ok) throw new Error("The run refused: " + (await answer.text()));
    own.number = (await answer.json()).number;
    if (told >= own.number && asked === own) asked = null; // dealt with already
  } catch (error) {
    if (asked === own) asked = null;
    outcome(error.message.startsWith("The run") ? error.message : "The run does not answer.", true);
    return;
  }
  setTimeout(() => {
    if (asked === own) outcome("Asked to " + wish + "; the run does so with its next frame.");
  }, 1500);
}

// What the last press was for, until the run has dealt with it: two presses are two wishes.
const willPause = () => (asked && (asked.wish === "pause" || asked.wish === "resume")
  ? asked.wish === "pause" : latest && latest.paused);
$("pause").addEventListener("click", () => ask(willPause() ? "resume" : "pause"));
$("save").addEventListener("click", () => ask("save"));
$("reset").addEventListener("click", () => {
  if (confirm("Forget everything that was learned?")) ask("reset");
});

/** The adapted network takes seconds to make: what becomes of it is told meanwhile. */
$("onnx").addEventListener("click", async (event) => {
  event.preventDefault();
  outcome("Making the ONNX file of the saved state…");
  try {
    const answer = await fetch("/adapted.onnx");
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const link = element("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = "adapted.onnx";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    outcome("The ONNX file is downloaded.");
  } catch (error) {
    outcome("No ONNX file: " + error.message, true);
  }
});

function disabled() {
  for (const id of BUTTONS) $(id).disabled = true;
  for (const id of ["download", "onnx"]) $(id).hidden = true;
  text("why", "");
}

/** The picture, and when it can be seen what belongs to it. */
async function frame(status, jpeg) {
  const url = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
  const before = $("picture");
  const next = new Image();
  next.id = before.id;
  next.alt = before.alt;
  next.src = url;
  try { await next.decode(); } catch (error) { /* a broken picture hides no figures */ }
  if (next.naturalWidth) {
    document.querySelector(".frame").style.setProperty("--ratio", next.naturalWidth / next.naturalHeight);
  }
  before.replaceWith(next);
  if (before.src) URL.revokeObjectURL(before.src);
  latest = status;
  last = Date.now();
  show(status);
}

watch({
  begun() {
    points = [];
    told = 0;
    asked = null;
  },
  async message(told) {
    if (told.end) {
      ended = true;
      disabled();
      state("ended", "The run has ended. A new one at this address will be shown.");
    } else if (told.status) {
      ended = false;
      points = points.concat(told.points).slice(-KEPT);
      await frame(told.status, told.picture);
      if (told.points.length) draw($("curves"), points, eventsOf(told.status), told.status.at_s);
    }
  },
  trouble(code, said) {
    if (ended && code === 0) return;
    ended = false;
    disabled();
    state(code === 401 ? "new token" : code === 503 ? "full" : "lost", said);
  },
});

const eventsOf = (status) => (status.guard == null ? [] : status.guard.events);

setInterval(() => {
  const silent = Math.round((Date.now() - last) / 1000);
  const connected = !["lost", "full", "new token", "ended"].includes(document.body.dataset.state);
  if (last && silent >= 4 && connected && document.visibilityState === "visible") {
    $("banner").hidden = false;
    text("banner", "No frame for " + silent + " s.");
  }
}, 1000);
