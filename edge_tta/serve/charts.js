// Curves over the last minutes as inline SVG, with marks where the guard did something.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 60;
const LONGEST_S = 300;
const SHORTEST_S = 30;
const CURVES = [
  { name: "Entropy", unit: "nats, lower is surer", digits: 2, least: 0.1,
    lines: [["source_entropy", "source", "source"], ["entropy", "adapted", "adapted"]] },
  { name: "Estimated accuracy", unit: "%", digits: 0, scale: 100, top: 100,
    lines: [["source_accuracy", "source", "source"], ["accuracy", "adapted", "adapted"],
      ["answer_accuracy", "rate", "answer"]] },
  { name: "Weight of the source", unit: "%, by evidence", digits: 0, scale: 100, top: 100,
    lines: [["source_weight", "source", "now"]] },
  { name: "Frames a second", unit: "", digits: 1, least: 1, lines: [["fps", "rate", "now"]] },
];

function made(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function html(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Points of polylines, one for each stretch without a gap. */
function stretches(points, key, x, y) {
  const found = [[]];
  for (const point of points) {
    if (point[key] == null) found.push([]);
    else found[found.length - 1].push(x(point.at_s).toFixed(1) + "," + y(point[key]).toFixed(1));
  }
  return found.filter((part) => part.length).map((part) => part.join(" "));
}

function chart(curve, points, events, from, now) {
  const scale = curve.scale || 1;
  const values = points.flatMap((point) => curve.lines.map(([key]) => point[key]))
    .filter((value) => value != null).map((value) => value * scale);
  const high = curve.top || Math.max(curve.least, ...values) * 1.05;
  const x = (at) => WIDTH * (at - from) / (now - from);
  const y = (value) => HEIGHT - 1 - (HEIGHT - 3) * Math.min(1, value * scale / high);
  const latest = points[points.length - 1] || {};
  const said = (key) => (latest[key] == null ? "–" : (latest[key] * scale).toFixed(curve.digits));
  const legend = curve.lines.slice().reverse().map(([key, style, label]) =>
    html("span", "legend " + style, label + " ", html("b", "", said(key))));
  const svg = made("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": curve.name + ", last minutes: " +
      curve.lines.map(([key, , label]) => label + " " + said(key)).join(", "),
  });
  for (const event of events.filter((event) => event.at_s >= from)) {
    const at = x(event.at_s).toFixed(1);
    svg.append(made("line", { class: "mark " + event.kind.split(" ")[0], x1: at, x2: at, y1: 0, y2: HEIGHT }));
  }
  for (const [key, style] of curve.lines) {
    for (const part of stretches(points, key, x, y)) {
      svg.append(made("polyline", { class: style, points: part.includes(" ") ? part : part + " " + part }));
    }
  }
  const title = html("h2", "", curve.name + " ", html("span", "dim", curve.unit));
  return html("div", "curve", html("div", "line", title, html("p", "now small", ...legend)), svg,
    html("p", "scale dim", html("span", "", ago(now - from)), html("span", "", "0 to " + high.toFixed(curve.digits))));
}

function ago(seconds) {
  return seconds < 120 ? Math.round(seconds) + " s ago" : Math.round(seconds / 60) + " min ago";
}

/** Draws all curves into an element; a curve without a value is left out. */
export function draw(into, points, events, now) {
  const begin = points.length ? points[0].at_s : now;
  const from = Math.max(now - LONGEST_S, Math.min(begin, now - SHORTEST_S));
  const recent = points.filter((point) => point.at_s >= from);
  into.replaceChildren(...CURVES
    .filter((curve) => recent.some((point) => curve.lines.some(([key]) => point[key] != null)))
    .map((curve) => chart(curve, recent, events, from, now)));
  into.hidden = !into.childElementCount;
}
