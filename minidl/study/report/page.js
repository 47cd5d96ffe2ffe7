// Vega-Lite draws every chart. What it cannot do is done here: one state for all charts of the page (which methods, which
// step, which layer), cutting out of the trace the rows that a chart is to draw, and the table of the same rows.

const page = JSON.parse(document.getElementById("data").textContent);
const { runs, trace, charts } = page;
const slider = document.getElementById("step");
const layers = document.getElementById("layer");
const state = { shown: new Set(runs), step: trace.steps?.at(-1), layer: trace.layers?.at(1) ?? trace.layers?.at(0) };
const views = new Map();

// Rows of a quantity: the trace has for each run a list of layers for each traced step. A row holds from its step to the
// one before "until", so that runs that were traced at other steps are seen side by side.
function unfolded(cube) {
  const rows = [];
  for (const run of trace.runs) {
    run.steps.forEach((step, i) => trace.layers.forEach((layer, j) => {
      const row = { run: run.label, step, until: run.steps[i + 1] ?? step + 1, layer, };
      let any = false;
      for (const [field, quantity] of Object.entries(cube)) {
        row[field] = run.values[quantity]?.[i][j] ?? null;
        any ||= row[field] !== null;
      }
      const spread = run.deviations[cube.value]?.[i][j] ?? 0;
      if ("value" in cube) Object.assign(row, { low: row.value - spread, high: row.value + spread });
      if (any) rows.push(row);
    }));
  }
  return rows;
}

// A row may stand for many, which are numbered and whose fields are lists in "each".
function unpacked({ each, ...row }) {
  if (!each) return [row];
  const fields = Object.entries(each);
  return fields[0][1].map((_, i) => (
    { ...row, number: i + 1, ...Object.fromEntries(fields.map(([name, list]) => [name, list[i]])) }));
}

function cut(chart) {
  chart.all ??= Object.keys(chart.cube).length ? unfolded(chart.cube) : chart.rows.flatMap(unpacked);
  return chart.all.filter((row) => (row.run === undefined || state.shown.has(row.run))
    && (!chart.at.includes("step") || (row.step <= state.step && state.step < (row.until ?? Infinity)))
    && (!chart.at.includes("layer") || row.layer === state.layer));
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

// Charts of one kind differ in their rows alone: Vega-Lite compiles the first of them, and the others take its result.
const compiled = new Map();

function withRows(spec, rows) {
  return { ...spec, data: spec.data.map((part) => (part.name === "rows" ? { ...part, values: rows } : part)) };
}

async function draw(key) {
  const chart = charts[key], figure = document.getElementById(key), table = figure.querySelector("details");
  const rows = copied(cut(chart)), known = compiled.get(chart.spec);
  let spec = { ...page.specs[chart.spec], datasets: { rows } };
  if (known) {
    spec = withRows(known, rows);
  } else if (chart.at) {
    spec.params = [...(spec.params ?? []), { name: "step", value: state.step }, { name: "layer", value: state.layer }];
  }
  const mode = known ? "vega" : "vega-lite";
  const options = { mode, config: page.config, renderer: "svg", actions: false, logLevel: 1 };
  const { view, vgSpec } = await vegaEmbed(figure.querySelector(".drawing > div"), spec, options);
  compiled.set(chart.spec, withRows(vgSpec, []));
  views.set(key, view);
  table.addEventListener("toggle", () => table.open && tabulate(figure, chart, cut(chart)));
  if (chart.at) {
    view.signal("step", state.step).signal("layer", state.layer).run();
  }
  if (chart.picks) {
    view.addSignalListener("picked", (_, picked) => {
      const [value] = picked[chart.picks] ?? [];
      if (value !== undefined && value !== state[chart.picks]) set({ [chart.picks]: value });
    });
  }
}

// Vega adds to the rows what it computes.
function copied(rows) {
  return rows.map((row) => ({ ...row }));
}

function update(key) {
  const chart = charts[key], figure = document.getElementById(key), view = views.get(key), rows = cut(chart);
  if (stale.get(key)) view.data("rows", copied(rows));
  if (chart.at) view.signal("step", state.step).signal("layer", state.layer);
  view.run();
  if (figure.querySelector("details").open) tabulate(figure, chart, rows);
}

// Charts that are to be drawn, or drawn anew, and whether their rows are others: those that the reader sees come first,
// the others when there is time.
const stale = new Map(Object.keys(charts).map((key) => [key, true]));
const inSight = new Set();
let working = false;

const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) inSight[isIntersecting ? "add" : "delete"](target.id);
  work();
});
for (const key of Object.keys(charts)) sight.observe(document.getElementById(key));

async function work() {
  if (working) return;
  working = true;
  while (stale.size) {
    const key = [...inSight].find((shown) => stale.has(shown)) ?? stale.keys().next().value;
    mark(!inSight.has(key));
    await (views.has(key) ? update(key) : draw(key));
    stale.delete(key);
    if (!inSight.has(key)) await new Promise((resume) => setTimeout(resume));
  }
  mark(true);
  working = false;
}

// For whoever measures: when what can be seen was drawn, and whether all is.
function mark(seen) {
  const { dataset } = document.documentElement;
  if (seen) dataset.drawn ??= Math.round(performance.now());
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
  work();
}

addEventListener("beforeprint", () => [...stale.keys()].filter((key) => views.has(key)).forEach(update));

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
