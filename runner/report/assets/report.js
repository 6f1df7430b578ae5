"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const make = (tag, parent, text, name) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (name) element.className = name;
    parent.appendChild(element);
    return element;
  };
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const short = (value) => (value == null ? "–" : String(+value.toPrecision(5)));
  const place = (name) => document.getElementById(name);

  // Plots, which are made again when the theme changes.
  const plots = [];
  const draw = (plot) => {
    if (plot.chart) plot.chart.destroy();
    plot.chart = new uPlot({ ...plot.options(), width: plot.target.clientWidth, height: 300 }, plot.data, plot.target);
  };
  const add = (target, content, options) => {
    const plot = { target, data: content, options };
    plots.push(plot);
    draw(plot);
    return plot;
  };
  new ResizeObserver(() =>
    plots.forEach((plot) => {
      if (plot.chart.width !== plot.target.clientWidth) plot.chart.setSize({ width: plot.target.clientWidth, height: 300 });
    }),
  ).observe(document.querySelector("main"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach(draw));

  const axis = (label, more) => ({
    label, stroke: color("ink"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line") }, ...more,
  });
  // By itself, uPlot rounds labels to three decimals, also those of small learning rates.
  const exact = (chart, splits) => splits.map((value) => (value == null ? "" : short(value)));
  const whole = (chart, splits) => splits.map((value) => (Number.isInteger(value) ? value : ""));

  const curves = (section) =>
    (data.curves || []).forEach((one) => {
      const box = make("div", section);
      const button = make("button", box, "", "switch");
      make("h2", box, one.title);
      let logarithmic = one.log;
      const few = one.x.length < 40;
      const plot = add(make("div", box, "", "plot"), [one.x, ...one.series.map((series) => series.y)], () => ({
        scales: { x: { time: false }, y: { distr: logarithmic ? 3 : 1 } },
        cursor: { drag: { x: true, y: true, uni: 30 } },
        axes: [axis(one.x_title, { values: whole }), axis("", { size: 64, values: exact })],
        series: [
          { label: one.x_title, value: (chart, value) => short(value) },
          ...one.series.map((series, number) => ({
            label: series.name || one.title, stroke: color(`c${number % 4}`), width: 2, points: { show: few }, spanGaps: true,
            value: (chart, value) => short(value),
          })),
        ],
      }));
      const positive = one.series.every((series) => series.y.every((value) => value == null || value > 0));
      const name = () => (button.textContent = logarithmic ? "linear scale" : "logarithmic scale");
      button.hidden = !positive;
      button.addEventListener("click", () => {
        logarithmic = !logarithmic;
        name();
        draw(plot);
      });
      name();
    });

  const timeline = (box) => {
    const line = data.timeline;
    if (!line) return;
    const points = (label, scale, number, unit) => ({
      label, scale, stroke: color(`c${number}`), width: 1, points: { show: true, size: 7 }, paths: () => null,
      value: (chart, value) => (value == null ? "–" : `${short(value)} ${unit}`),
    });
    add(make("div", box, "", "plot"), [line.x, line.size, line.pause, line.seconds], () => ({
      axes: [
        axis(""), axis("size, MB", { scale: "size", size: 64 }), axis("pause, ms", { scale: "pause", side: 1, size: 64, grid: { show: false } }),
      ],
      scales: { size: { range: [0, null] }, pause: { range: [0, null] }, seconds: {} },
      series: [
        { label: "time" }, points("size", "size", 0, "MB"), points("pause", "pause", 1, "ms"),
        { ...points("written in", "seconds", 2, "s"), points: { show: false } },
      ],
    }));
  };

  // Pixels
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const paint = (section, title, width, height, pixel) => {
    const scale = Math.max(1, Math.floor(Math.min(700 / width, 600 / height)));
    make("h2", section, title);
    const canvas = make("canvas", section, "", "pixels");
    canvas.width = width;
    canvas.height = height;
    canvas.style.width = `${Math.min(width * scale, 1000)}px`;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) image.data.set(pixel(x, y), 4 * (y * width + x));
    context.putImageData(image, 0, 0);
  };
  const matrices = (section) =>
    (data.matrices || []).filter(Boolean).forEach((one) => {
      const content = bytes(one.data), [rows, columns] = one.size;
      paint(section, `Confusion: ${one.title}`, columns, rows, (x, y) => {
        const value = content[y * columns + x];
        return [9, 105, 218, value];
      });
    });
  const tiles = (section) =>
    (data.tiles || []).filter((one) => one.data).forEach((one) => {
      const content = new Int8Array(bytes(one.data).buffer), [count, height, width] = one.shape;
      const columns = Math.min(count, Math.ceil(Math.sqrt((count * height) / width)));
      const rows = Math.ceil(count / columns), h = height + 1, w = width + 1;
      const title = one.title[0].toUpperCase() + one.title.slice(1);
      paint(section, title, columns * w - 1, rows * h - 1, (x, y) => {
        const tile = Math.floor(y / h) * columns + Math.floor(x / w), u = x % w, v = y % h;
        if (tile >= count || u === width || v === height) return [0, 0, 0, 0];
        const value = content[tile * width * height + v * width + u] / 127, rest = 255 * (1 - Math.abs(value));
        return value > 0 ? [255 - 77 * value, rest, rest + 26 * value, 255] : [rest + 20 * -value, 255 + 130 * value, 255 + 60 * value, 255];
      });
      make("p", section, "Blue is below zero, red above; each image has a scale of its own.", "quiet");
    });

  // Sweeps
  const parallel = (box) => {
    const content = data.parallel;
    if (!content || !content.lines.length) return;
    const count = content.axes.length, width = 900, height = 320, left = 40, right = 60, top = 34, low = 24;
    const svg = (tag, parent, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
      parent.appendChild(element);
      return element;
    };
    const picture = svg("svg", box, { viewBox: `0 0 ${width} ${height}`, role: "img" });
    const at = (number) => (count < 2 ? width / 2 : left + ((width - left - right) * number) / (count - 1));
    const scales = content.axes.map((name, number) => {
      const values = content.lines.map((line) => line[number]);
      const numbers = values.map(Number);
      const numeric = values.every((value) => value != null && value !== "" && Number.isFinite(Number(value)));
      const y = (share) => height - low - share * (height - top - low);
      const x = at(number), axisGroup = svg("g", picture, {});
      svg("line", axisGroup, { x1: x, x2: x, y1: top, y2: height - low });
      const label = (text, px, py, anchor) => { svg("text", axisGroup, { x: px, y: py, "text-anchor": anchor }).textContent = text; };
      const brief = (text) => (text.length > 26 ? `…${text.slice(-25)}` : text);
      label(brief(name), x, 14, number === 0 && count > 1 ? "start" : number === count - 1 && count > 1 ? "end" : "middle");
      if (numeric) {
        const low_ = Math.min(...numbers), high = Math.max(...numbers);
        const wide = low_ > 0 && high > 20 * low_, f = wide ? Math.log : (value) => value;
        label(short(high), x + 5, top + 4, "start");
        if (high > low_) label(short(low_), x + 5, height - low, "start");
        return (value) => y(high > low_ ? (f(Number(value)) - f(low_)) / (f(high) - f(low_)) : 0.5);
      }
      const kinds = [...new Set(values.map(String))];
      const share = (value) => y(kinds.length > 1 ? kinds.indexOf(String(value)) / (kinds.length - 1) : 0.5);
      kinds.slice(0, 12).forEach((kind) => label(brief(kind === "null" ? "–" : kind), x + 5, share(kind) + 4, "start"));
      return share;
    });
    const green = content.best === null ? "" : "The best job is green. ";
    const reading = make("p", box, `${green}Point at a line to see its job.`, "reading");
    const best = content.names.indexOf(content.best);
    const order = content.lines.map((_, number) => number).filter((number) => number !== best).concat(best < 0 ? [] : [best]);
    order.forEach((number) => {
      const line = content.lines[number];
      const path = svg("path", picture, { d: line.map((value, i) => `${i ? "L" : "M"}${at(i)} ${scales[i](value)}`).join("") });
      if (number === best) path.setAttribute("class", "best");
      const tell = () =>
        (reading.textContent = `job ${content.names[number]}: ` + content.axes.map((name, i) => `${name} ${line[i] ?? "–"}`).join(", "));
      path.addEventListener("pointerenter", tell);
      path.addEventListener("click", tell);
    });
  };
  document.querySelectorAll("table.sortable").forEach((table) =>
    table.querySelectorAll("thead th").forEach((head, column) =>
      head.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
        table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const text = (row) => row.cells[column].textContent;
        const compare = (a, b) => {
          const x = Number(text(a)), y = Number(text(b));
          if (text(a) === "" || text(b) === "") return (text(a) === "") - (text(b) === "");
          return (up ? 1 : -1) * (Number.isNaN(x) || Number.isNaN(y) ? text(a).localeCompare(text(b)) : x - y);
        };
        [...body.rows].sort(compare).forEach((row) => body.appendChild(row));
      }),
    ),
  );

  const sections = { curves, timeline, matrices, tiles, parallel };
  Object.entries(sections).forEach(([name, show]) => place(name) && show(place(name)));
})();
