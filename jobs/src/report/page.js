"use strict";
// Draws the map, and ties it to the list of groups: what is chosen or searched for stays bright, the rest fades. Labels
// stand where there is room for them, the largest groups first, and anew after each zoom.
(() => {
  const chart = JSON.parse(document.getElementById("chart").textContent);
  const plot = document.getElementById("plot");
  const labels = document.getElementById("labels");
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const clear = document.getElementById("clear");
  const hits = document.getElementById("hits");
  const items = new Map([...document.querySelectorAll("li[data-trace]")].map((item) => [Number(item.dataset.trace), item]));
  const LABELS_MAX = 40;
  const HITS_MAX = 100;
  const FADED = 0.06;

  // The group that was clicked, the one under the pointer, and the text that is looked for.
  let chosen = null;
  let pointed = null;
  let needle = "";
  const texts = chart.data.map((trace) => trace.text.map((text) => text.replaceAll("<br>", " ").toLowerCase()));

  const matches = (trace, point) => needle === "" || texts[trace][point].includes(needle);
  const focus = () => pointed ?? chosen;

  // Fades points and list items. Plotly binds to each node the trace and the point that it draws.
  function paint() {
    const group = focus();
    for (const node of plot.querySelectorAll(".scatterlayer .trace")) {
      const trace = node.__data__[0].trace.index;
      const bright = group === null || group === trace;
      for (const point of node.querySelectorAll(".point")) {
        point.style.opacity = bright && matches(trace, point.__data__.i) ? "" : FADED;
      }
      if (bright && group !== null) node.parentNode.appendChild(node);
    }
    for (const [trace, item] of items) {
      const isChosen = chosen === trace;
      item.classList.toggle("chosen", isChosen);
      item.querySelector("button").setAttribute("aria-pressed", String(isChosen));
      item.classList.toggle("aside", !hasMatch(trace, item));
    }
    clear.hidden = chosen === null && needle === "";
    placeLabels();
  }

  function hasMatch(trace, item) {
    return needle === "" || texts[trace].some((text) => text.includes(needle)) || item.textContent.toLowerCase().includes(needle);
  }

  function count() {
    if (needle === "") return "";
    const number = texts.flat().filter((text) => text.includes(needle)).length;
    return number === 1 ? "1 text" : `${number.toLocaleString("en")} texts`;
  }

  // The texts that were found, to read; each leads to its group. The chart's texts are escaped markup, so they are
  // decoded before they become text again.
  const decode = (text) => text.replaceAll("<br>", " ").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  function list() {
    hits.replaceChildren();
    hits.hidden = needle === "";
    if (needle === "") return;
    let left = 0;
    chart.data.forEach((trace, index) => trace.text.forEach((text, point) => {
      if (!texts[index][point].includes(needle)) return;
      if (hits.childElementCount === HITS_MAX) { left += 1; return; }
      const item = document.createElement("li");
      const name = document.createElement("small");
      name.textContent = decode(trace.name ?? "");
      item.append(decode(text), " ", name);
      item.addEventListener("click", () => { if (items.has(index)) choose(index); });
      hits.append(item);
    }));
    if (left > 0) {
      const more = document.createElement("li");
      more.className = "more";
      more.textContent = `and ${left.toLocaleString("en")} more`;
      hits.append(more);
    }
  }

  // The middle of a group: the median of its points in each direction, which strays do not move.
  const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const centres = chart.data
    .map((trace, index) => ({ index, x: median(trace.x), y: median(trace.y) }))
    .filter((centre) => centre.index > 0 && centre.x !== undefined);
  for (const centre of centres) {
    centre.label = document.createElement("span");
    centre.label.textContent = items.get(centre.index).querySelector(".label").textContent;
    labels.append(centre.label);
  }

  function placeLabels() {
    const { xaxis, yaxis } = plot._fullLayout;
    const placed = [];
    for (const centre of [...centres].sort((a, b) => (b.index === focus()) - (a.index === focus()))) {
      const { label } = centre;
      const x = xaxis.l2p(centre.x) + xaxis._offset;
      const y = yaxis.l2p(centre.y) + yaxis._offset;
      const box = { left: x - label.offsetWidth / 2 - 4, right: x + label.offsetWidth / 2 + 4, top: y - 10, bottom: y + 10 };
      const inside = box.left > 0 && box.right < labels.clientWidth && box.top > 0 && box.bottom < labels.clientHeight;
      const free = placed.every((other) => box.right < other.left || box.left > other.right || box.bottom < other.top || box.top > other.bottom);
      const wanted = focus() === null ? needle === "" || hasMatch(centre.index, items.get(centre.index)) : focus() === centre.index;
      const shown = inside && free && wanted && placed.length < LABELS_MAX;
      if (shown) placed.push(box);
      label.style.left = `${x}px`;
      label.style.top = `${y}px`;
      label.style.opacity = shown ? 1 : 0;
    }
  }

  function choose(trace) {
    chosen = chosen === trace ? null : trace;
    pointed = null;
    paint();
  }

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const family = getComputedStyle(document.body).fontFamily;
  const theme = () => ({
    font: { family, color: style("--ink") },
    hoverlabel: { bgcolor: style("--card"), bordercolor: style("--faint"), align: "left", font: { family, color: style("--ink"), size: 13 } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: style("--faint"), activecolor: style("--ink") },
  });

  for (const [trace, item] of items) {
    const button = item.querySelector("button");
    button.addEventListener("click", () => choose(trace));
    item.addEventListener("pointerenter", () => { pointed = trace; paint(); });
    item.addEventListener("pointerleave", () => { pointed = null; paint(); });
  }
  search.addEventListener("input", () => {
    // The texts of the chart are escaped, so what is looked for must be too.
    needle = search.value.trim().toLowerCase().replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    found.textContent = count();
    list();
    paint();
  });
  clear.addEventListener("click", () => {
    search.value = needle = found.textContent = "";
    chosen = null;
    list();
    paint();
  });
  addEventListener("keydown", (event) => { if (event.key === "Escape") clear.click(); });

  Plotly.newPlot(plot, chart.data, { ...chart.layout, ...theme() }, chart.config).then(() => {
    // Between the points and the drawing that has the text under the pointer.
    const drawings = plot.querySelectorAll(".main-svg");
    drawings[0].parentNode.insertBefore(labels, drawings[drawings.length - 1]);
    plot.on("plotly_afterplot", paint);
    plot.on("plotly_relayouting", placeLabels);
    plot.on("plotly_click", (event) => {
      const trace = event.points[0].curveNumber;
      if (!items.has(trace)) return;
      choose(trace);
      if (chosen === trace) items.get(trace).scrollIntoView({ block: "center", behavior: "smooth" });
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => Plotly.relayout(plot, theme()));
    paint();
  });
})();
