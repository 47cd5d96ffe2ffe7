// Vega draws every chart, from what Vega-Lite has made of its specification. What they cannot do is done here: one state
// for all charts of the page (which methods, which step, which layer), cutting out of the trace the rows that a chart is
// to draw, and the table of the same rows.

const page = JSON.parse(document.getElementById("data").textContent);
const { runs, trace, charts } = page;
const slider = document.getElementById("step");
const layers = document.getElementById("layer");
const state = { shown: new Set(runs), step: trace.steps?.at(-1), layer: trace.layers?.at(1) ?? trace.layers?.at(0) };
const views = new Map();

// Whether a row is of a method that is shown and, as far as the chart cuts there, holds at the chosen step and layer.
function holds({ run, step, until, layer }, { at }) {
  return (run === undefined || state.shown.has(run))
    && (!at.includes("step") || (step <= state.step && state.step < (until ?? Infinity)))
    && (!at.includes("layer") || layer === state.layer);
}

// Rows of quantities: the trace has for each run a list of layers for each traced step. A row holds from its step to the
// one before "until", so that runs that were traced at other steps are seen side by side.
function unfolded(chart) {
  const rows = [], quantities = Object.entries(chart.cube);
  for (const run of trace.runs) {
    const own = [];
    run.steps.forEach((step, i) => trace.layers.forEach((layer, j) => {
      const row = { run: run.label, step, until: run.steps[i + 1] ?? step + 1, layer };
      if (!holds(row, chart)) return;
      for (const [field, quantity] of quantities) row[field] = run.values[quantity]?.[i][j] ?? null;
      if (quantities.every(([field]) => row[field] === null)) return;
      const spread = run.deviations[chart.cube.value]?.[i][j] ?? 0;
      if ("value" in row) Object.assign(row, { low: row.value - spread, high: row.value + spread });
      own.push(row);
    }));
    if (chart.at === "layer") smooth(own);
    rows.push(...own);
  }
  return rows;
}

// A line over the steps is the median of five traced steps, two to either side.
function smooth(rows) {
  rows.forEach((row, i) => {
    const near = rows.slice(Math.max(0, i - 2), i + 3).map(({ value }) => value).sort((a, b) => a - b);
    row.median = (near[(near.length - 1) >> 1] + near[near.length >> 1]) / 2;
  });
}

// A row may stand for many, which are numbered and whose fields are lists in "each". Vega adds to the rows it is given.
function unpacked({ each, ...row }) {
  if (!each) return [row];
  const fields = Object.entries(each);
  return fields[0][1].map((_, i) => (
    { ...row, number: i + 1, ...Object.fromEntries(fields.map(([name, list]) => [name, list[i]])) }));
}

function shownRows(chart) {
  if (Object.keys(chart.cube).length) return unfolded(chart);
  return chart.rows.filter((row) => holds(row, chart)).flatMap(unpacked);
}

// The table of a chart, drawn when somebody opens it, and anew with the chart.
function tabulate(figure, chart, rows) {
  const { line, columns, values } = chart.table;
  const heads = new Set(), lines = new Map();
  for (const row of rows) {
    for (const [field, word] of Object.entries(values)) {
      const head = [...columns.map((column) => row[column]), word].filter((text) => text !== "").join(", ");
      heads.add(head);
      if (!lines.has(row[line])) lines.set(row[line], new Map());
      lines.get(row[line]).set(head, row[field]);
    }
  }
  const table = document.createElement("table");
  const add = (parent, tag, text, scope) => {
    const cell = parent.appendChild(document.createElement(tag));
    if (scope) cell.scope = scope;
    cell.textContent = typeof text === "number" ? String(+text.toPrecision(4)) : text ?? "";
  };
  const head = table.createTHead().insertRow();
  for (const word of [line, ...heads]) add(head, "th", word, "col");
  const body = table.createTBody();
  for (const [name, cells] of lines) {
    const tr = body.insertRow();
    add(tr, "th", name, "row");
    for (const word of heads) add(tr, "td", cells.get(word));
  }
  figure.querySelector(".scroll").replaceChildren(table);
}

// Vega parses a kind of charts once, and each of them is a view of it that differs in its rows alone.
const kinds = new Map();

function parsed(kind) {
  if (!kinds.has(kind)) kinds.set(kind, vega.parse(page.specs[kind]));
  return kinds.get(kind);
}

// A chart is drawn outside of the page, which is laid out once for many of them.
async function draw(key) {
  const chart = charts[key], figure = document.getElementById(key), table = figure.querySelector("details");
  const view = new vega.View(parsed(chart.spec), { renderer: "svg", logLevel: 1 });
  const place = figure.querySelector(".drawing > div"), drawing = place.cloneNode();
  views.set(key, view.initialize(drawing));
  await update(key);
  place.replaceWith(drawing);
  table.addEventListener("toggle", () => table.open && tabulate(figure, chart, shownRows(chart)));
  for (const [axis, name] of Object.entries(chart.picks)) {
    view.addEventListener("click", (event) => set({ [name]: nearest(view, axis, trace[`${name}s`], event) }));
  }
}

// The one of some values that is nearest to a click along an axis.
function nearest(view, axis, values, { clientX, clientY }) {
  const scale = view.scale(axis), box = view.container().querySelector("svg").getBoundingClientRect();
  const [x, y] = view.origin(), place = axis === "x" ? clientX - box.left - x : clientY - box.top - y;
  const distance = (value) => Math.abs(scale(value) + (scale.bandwidth?.() ?? 0) / 2 - place);
  return values.reduce((best, value) => (distance(value) < distance(best) ? value : best));
}

async function update(key) {
  const chart = charts[key], figure = document.getElementById(key), view = views.get(key), rows = shownRows(chart);
  if (stale.get(key)) view.data("rows", rows);
  view.signal("step", state.step).signal("layer", state.layer).signal("unit", chart.unit);
  await fit(view, chart.spec, widths.get(key) ?? figure.clientWidth);
  if (figure.querySelector("details").open) tabulate(figure, chart, shownRows(chart));
}

// Vega is told the width within the axes. Outside of them, a chart needs no more than others of its kind, or is drawn
// again: to let Vega find it out would draw each chart twice.
const margins = new Map();

async function fit(view, kind, width) {
  const margin = margins.get(kind) ?? 0;
  await view.width(width - margin).runAsync();
  const excess = view.container().querySelector("svg").getAttribute("width") - width;
  if (excess <= 0) return;
  margins.set(kind, margin + excess);
  await view.width(width - margin - excess).runAsync();
}

// Charts that are to be drawn, or drawn anew, and whether their rows are others: those that the reader sees come first,
// the others when there is time.
const stale = new Map(Object.keys(charts).map((key) => [key, true]));
const inSight = new Set();
const widths = new Map(); // in pixels, which a browser tells before what is in sight
const SLICE = 50; // milliseconds for which charts out of sight may keep a reader waiting
const { port1, port2 } = new MessageChannel(); // by which a slice ends at once; a timer would wait
let working = false;

const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) inSight[isIntersecting ? "add" : "delete"](target.id);
  work();
});
const size = new ResizeObserver((entries) => {
  for (const { target: { id }, contentRect } of entries) {
    const width = Math.floor(contentRect.width);
    if (!width || width === widths.get(id)) continue;
    widths.set(id, width);
    if (views.has(id)) stale.set(id, stale.get(id) ?? false);
  }
  if (views.size) work();
});
for (const key of Object.keys(charts)) [size, sight].forEach((one) => one.observe(document.getElementById(key)));

async function freshen(key) {
  await (views.has(key) ? update(key) : draw(key));
  stale.delete(key);
}

async function work() {
  if (working) return;
  working = true;
  let pause = 0;
  while (stale.size) {
    const shown = [...inSight].find((key) => stale.has(key));
    mark(!shown);
    if (shown || performance.now() < pause) {
      await freshen(shown ?? stale.keys().next().value);
    } else {
      await new Promise((resume) => {
        port1.onmessage = resume;
        port2.postMessage(null);
      });
      pause = performance.now() + SLICE;
    }
  }
  mark(true);
  working = false;
}

// For whoever measures: when what can be seen was drawn first, and when all was, and whether both are so now.
function mark(seen) {
  const { dataset } = document.documentElement;
  if (seen) dataset.drawn ??= Math.round(performance.now());
  if (!stale.size) dataset.whole ??= Math.round(performance.now());
  dataset.seen = seen ? "yes" : "";
  dataset.left = stale.size;
}

function set(changes) {
  Object.assign(state, changes);
  if (slider) {
    slider.value = trace.steps.findLastIndex((step) => step <= state.step);
    slider.setAttribute("aria-valuetext", `step ${state.step}`);
    document.getElementById("now").value = state.step;
    layers.value = state.layer;
  }
  for (const [key, { at }] of Object.entries(charts)) {
    const others = "shown" in changes || Object.keys(changes).some((name) => at.includes(name));
    if (others || at) stale.set(key, others || stale.get(key) || false);
  }
  mark(false);
  if (widths.size) work();
}

// A browser prints what there is after this task: all charts are drawn in it, and wait for nothing outside of it.
addEventListener("beforeprint", async () => {
  for (const key of [...stale.keys()]) await freshen(key);
});

for (const chip of document.querySelectorAll(".chip")) {
  chip.addEventListener("click", () => {
    const { label } = chip.dataset, on = !state.shown.has(label);
    state.shown[on ? "add" : "delete"](label);
    chip.setAttribute("aria-pressed", on);
    for (const part of document.querySelectorAll("[data-run]")) part.hidden = !state.shown.has(part.dataset.run);
    set({ shown: state.shown });
  });
}
slider?.addEventListener("input", () => set({ step: trace.steps[slider.value] }));
layers?.addEventListener("change", () => set({ layer: layers.value }));

set({});
