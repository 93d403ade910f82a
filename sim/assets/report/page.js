"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const SVG = "http://www.w3.org/2000/svg";
  const GUTTER = 72; // room for the vertical axis: the same in every chart, so that times stand above each other
  const END = 16;

  // ---- small helpers -------------------------------------------------------------------------------------------
  const svg = (parent, tag, attributes = {}, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  };
  const hover = (element, text) => { svg(element, "title", {}, text); return element; };
  const si = (value) => {
    if (value == null) return "-";
    const size = Math.abs(value);
    if (size >= 1e9) return `${+(value / 1e9).toPrecision(3)} G`;
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
    return `${+value.toPrecision(4)}`;
  };
  // In the unit that reads best: 8,250 ms is 8.25 s, and 0.000851 s is 851 us.
  const UNITS = [["us", 1e-6], ["ms", 1e-3], ["s", 1]];
  const quantity = (value, unit) => {
    if (value == null) return "-";
    const own = UNITS.find(([name]) => name === unit);
    if (!own || value === 0) return `${si(value)}${/^[A-Z]/.test(unit) && /[GMk]$/.test(si(value)) ? "" : " "}${unit === "1" ? "" : unit}`.trim();
    const seconds = value * own[1];
    const [name, size] = [...UNITS].reverse().find(([, size]) => Math.abs(seconds) >= size * 0.9995) ?? UNITS[0];
    const digits = +(seconds / size).toPrecision(3);
    return `${digits} ${name}`;
  };
  const width = () => Math.min(1180, document.querySelector("main").clientWidth) - 48;

  // ---- what all charts over time share: the window, the faults -----------------------------------------------------
  let shown = [0, data.end_s];
  const watchers = [];
  const charts = [];
  const show = (from, to) => {
    shown = to - from < 0.5 ? [0, data.end_s] : [Math.max(0, from), Math.min(data.end_s, to)];
    for (const chart of charts) chart.setScale("x", { min: shown[0], max: shown[1] });
    for (const watcher of watchers) watcher();
  };

  const shades = {
    hooks: {
      drawClear: (u) => {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
        ctx.clip();
        const band = (from, to, colour) => {
          const left = u.valToPos(from, "x", true), right = u.valToPos(to, "x", true);
          ctx.fillStyle = colour;
          ctx.fillRect(left, bbox.top, Math.max(1, right - left), bbox.height);
        };
        band(0, data.warmup_s, css("soft"));
        ctx.globalAlpha = 0.13;
        for (const fault of data.faults) band(fault.from_s, fault.to_s, css("orange"));
        ctx.restore();
      },
    },
  };
  const level = (value, words) => ({
    hooks: {
      draw: (u) => {
        if (value == null) return;
        const { ctx, bbox } = u;
        const y = u.valToPos(value, "y", true);
        if (y < bbox.top || y > bbox.top + bbox.height) return;
        ctx.save();
        ctx.strokeStyle = css("red");
        ctx.setLineDash([8, 5]);
        ctx.beginPath();
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
        ctx.stroke();
        ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
        ctx.textAlign = "right";
        // On a ground of its own: a curve may pass there.
        const size = ctx.measureText(words).width;
        ctx.globalAlpha = 0.85;
        ctx.fillStyle = css("paper");
        ctx.fillRect(bbox.left + bbox.width - 8 - size, y - 17 * devicePixelRatio, size + 6, 14 * devicePixelRatio);
        ctx.globalAlpha = 1;
        ctx.fillStyle = css("red");
        ctx.fillText(words, bbox.left + bbox.width - 4, y - 6 * devicePixelRatio);
        ctx.restore();
      },
    },
  });

  const axis = (more) => Object.assign(
    { stroke: css("dim"), grid: { stroke: css("line"), width: 1 }, ticks: { stroke: css("line"), width: 1 }, font: "12px system-ui, sans-serif" }, more);
  const overTime = (id, title, y, series, columns, plugins = []) => {
    const place = document.getElementById(id);
    const chart = new uPlot({
      title, width: width(), height: 220, padding: [8, END, 0, 0],
      cursor: { sync: { key: "time" }, drag: { x: true, y: false, setScale: false } },
      select: { show: true },
      scales: { x: { time: false, range: (_, min, max) => [Math.max(0, min), max] }, y: y.scale || {} },
      axes: [axis({ values: (_, all) => all.map((v) => `${v} s`) }), axis({ size: GUTTER, values: (_, all) => all.map((v) => (v == null ? "" : (y.words || si)(v))) })],
      series: [{ label: "second", value: (_, v) => (v == null ? "" : `${v} s`) }, ...series],
      plugins: [shades, ...plugins],
      hooks: {
        setSelect: [(u) => {
          if (u.select.width > 3) show(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        }],
      },
    }, columns, place);
    chart.over.addEventListener("dblclick", () => show(0, data.end_s));
    charts.push(chart);
  };
  const line = (label, colour, value, more = {}) => Object.assign(
    { label, stroke: css(colour), width: 2, points: { show: false }, spanGaps: false, value: (_, v) => (v == null ? "" : value(v)) }, more);

  // ---- the fault lanes -----------------------------------------------------------------------------------------
  const lanes = () => {
    const place = document.getElementById("lanes");
    place.replaceChildren();
    if (!data.faults.length) return;
    const w = width(), right = w - END, rows = [];
    const at = (s) => GUTTER + ((s - shown[0]) / (shown[1] - shown[0])) * (right - GUTTER);
    const clip = (x) => Math.min(right, Math.max(GUTTER, x));
    const bars = data.faults.filter((f) => f.to_s > shown[0] && f.from_s < shown[1]).map((fault) => {
      const from = clip(at(fault.from_s)), to = Math.max(from + 2, clip(at(fault.to_s)));
      const end = Math.max(to, from + 8 + fault.label.length * 7);
      let row = rows.findIndex((taken) => taken < from);
      if (row < 0) row = rows.length < 12 ? rows.push(0) - 1 : 11;
      rows[row] = Math.max(rows[row], end);
      return { fault, from, to, row };
    });
    const picture = svg(place, "svg", { height: 8 + rows.length * 22, viewBox: `0 0 ${w} ${8 + rows.length * 22}`, role: "img" });
    for (const { fault, from, to, row } of bars) {
      const y = 4 + row * 22;
      hover(svg(picture, "rect", { x: from, y, width: to - from, height: 18, rx: 2, class: "fault" }),
        `${fault.what}\nfrom ${fault.from_s} s to ${fault.to_s} s`);
      const text = svg(picture, "text", { x: Math.min(from + 5, right - fault.label.length * 6.6), y: y + 13 }, fault.label);
      text.style.pointerEvents = "none";
    }
  };

  // ---- charts over time ----------------------------------------------------------------------------------------
  const rows = data.rows;
  const sum = (all) => { let total = 0; return all.map((v) => (total += v)); };
  const draw = () => {
    if (!rows.second.length) return;
    lanes();
    watchers.push(lanes);
    const x = rows.second;
    const ms = (v) => quantity(v, "ms");
    const bytes = (v) => quantity(v, "B");
    const all = rows.p99_ms.concat(data.latency_target_ms == null ? [] : [data.latency_target_ms]).filter((v) => v != null && v > 0);
    const spread = all.length && Math.max(...all) / Math.min(...all) > 50;
    overTime("latency", spread ? "Message latency (logarithmic)" : "Message latency", { words: ms, scale: spread ? { distr: 3 } : { range: (_, __, max) => [0, max * 1.08] } },
      [line("p50", "blue", ms), line("p99", "red", ms)], [x, rows.p50_ms.map((v) => v || null), rows.p99_ms.map((v) => v || null)],
      [level(data.latency_target_ms, `target of p99: ${ms(data.latency_target_ms)}`)]);
    const few = data.nodes.length <= 16;
    const colours = ["blue", "orange", "green", "red", "sky", "purple"];
    const seen = data.nodes.map((_, node) => rows.alive_seen.map((row) => row[node]));
    const low = x.map((_, i) => Math.min(...seen.map((of) => of[i]).filter((v) => v > 0), Infinity)).map((v) => (isFinite(v) ? v : null));
    const high = x.map((_, i) => Math.max(...seen.map((of) => of[i])));
    const members = few
      ? [data.nodes.map((name, node) => line(name, colours[node % 6], (v) => v, { width: 1.5, dash: node >= 6 ? [6, 3] : undefined })), seen.map((of) => of.map((v) => v || null))]
      : [[line("fewest seen", "red", (v) => v), line("most seen", "blue", (v) => v)], [low, high]];
    overTime("members", few ? "Members that each node holds for alive" : "Members held for alive: by the node that sees fewest, and most",
      { words: (v) => (Number.isInteger(v) ? v : ""), scale: { range: () => [0, data.nodes.length + 1] } },
      [...members[0], line("up", "dim", (v) => v, { dash: [2, 3] })], [x, ...members[1], rows.up]);
    if (rows.submitted.some((v) => v)) {
      overTime("jobs-over-time", "Jobs since the start", { scale: { range: (_, __, max) => [0, Math.max(1, max)] } },
        [line("submitted", "dim", si, { dash: [4, 3] }), line("completed", "green", si), line("failed", "red", si)],
        [x, sum(rows.submitted), sum(rows.completed), sum(rows.failed)]);
    }
    overTime("bytes-over-time", "Bytes sent per second", { words: bytes, scale: { range: (_, __, max) => [0, Math.max(1, max * 1.05)] } },
      [line("sent", "blue", bytes, { fill: css("sky") + "55" })], [x, rows.bytes]);
  };

  // ---- the life of jobs ----------------------------------------------------------------------------------------
  const jobs = data.jobs.map((job) => {
    const first = (word) => (job.steps.find((s) => s[2] === word) || [])[0];
    const begun = job.steps[0][0];
    const end = first("completed") ?? first("failed");
    return {
      ...job, begun, end,
      claim: (first("certified") ?? first("failed") ?? data.end_s) - begun,
      total: (end ?? data.end_s) - begun,
      starts: job.steps.filter((s) => s[2] === "started").length,
      rounds: job.steps.some((s) => s[3].startsWith("round") && s[3] !== "round 0"),
      ok: first("completed") !== undefined,
    };
  });
  const PICKS = {
    window: () => jobs.filter((j) => j.begun <= shown[1] && (j.end ?? data.end_s) >= shown[0]),
    claim: () => [...jobs].sort((a, b) => b.claim - a.claim),
    total: () => [...jobs].sort((a, b) => b.total - a.total),
    again: () => jobs.filter((j) => j.starts > 1 || j.rounds),
    failed: () => jobs.filter((j) => !j.ok),
  };
  const ROWS = 50;
  const jobBars = () => {
    const pick = document.getElementById("pick").value;
    const all = PICKS[pick](), some = all.slice(0, ROWS).sort((a, b) => a.begun - b.begun);
    const left = data.jobs_left_out ? `; ${data.jobs_left_out} later jobs were not kept` : "";
    document.getElementById("picked").textContent = `(${some.length} of ${all.length} shown${left})`;
    const place = document.getElementById("job-bars");
    place.replaceChildren();
    if (!some.length) return;
    const w = width(), right = w - END;
    const from = Math.min(...some.map((j) => j.begun)), to = Math.max(...some.map((j) => j.end ?? data.end_s), from + 0.001);
    const at = (s) => GUTTER + ((s - from) / (to - from)) * (right - GUTTER);
    const height = some.length * 15 + 26;
    const picture = svg(place, "svg", { height, viewBox: `0 0 ${w} ${height}`, role: "img" });
    for (let i = 0; i <= 6; i++) {
      const s = from + ((to - from) * i) / 6;
      svg(picture, "line", { x1: at(s), x2: at(s), y1: 0, y2: height - 22, class: "rule" });
      svg(picture, "text", { x: at(s), y: height - 6, class: "dim", "text-anchor": i === 6 ? "end" : "middle" }, `${s.toFixed(to - from < 10 ? 2 : 1)} s`);
    }
    some.forEach((job, row) => {
      const y = row * 15 + 2, group = svg(picture, "g");
      svg(group, "text", { x: GUTTER - 8, y: y + 10, class: "dim", "text-anchor": "end" }, job.id);
      const bar = (a, b, kind) => svg(group, "rect", { x: at(a), y, width: Math.max(1, at(b) - at(a)), height: 11, class: kind });
      bar(job.begun, job.end ?? to, "rest");
      let waits = job.begun, runs = new Map();
      // Whoever runs it without an end is lost, at the latest when another begins: nothing tells the moment.
      const lost = (until) => { for (const [, time] of runs) bar(time, until, "cut"); runs.clear(); };
      for (const [time, node, word] of job.steps) {
        if (word === "certified" && waits !== null) { bar(waits, time, "auction"); waits = null; }
        if (word === "started") { lost(time); runs.set(node, time); }
        if ((word === "ended" || word === "fenced") && runs.has(node)) {
          bar(runs.get(node), time, word === "ended" ? "run" : "cut");
          runs.delete(node);
        }
      }
      if (waits !== null) bar(waits, job.end ?? to, "auction");
      lost(job.end ?? to);
      if (job.end !== undefined) svg(group, "circle", { cx: at(job.end), cy: y + 5.5, r: 4, class: job.ok ? "done" : "gone" });
      const words = job.steps.map(([time, node, word, more]) => `${time.toFixed(3)} s  ${data.nodes[node]}  ${word}${more ? ", " + more : ""}`);
      hover(group, `job ${job.id}..\n${words.join("\n")}`);
    });
  };

  // ---- distributions -------------------------------------------------------------------------------------------
  const histogram = (place, kpi) => {
    const box = document.createElement("div");
    box.id = `kpi-${kpi.name}`;
    place.appendChild(box);
    const heading = document.createElement("h3");
    heading.textContent = `${kpi.title}: ${kpi.measured_words}`;
    box.appendChild(heading);
    const note = document.createElement("p");
    note.className = "hint";
    note.textContent = `one sample per ${kpi.one_sample_per}${kpi.target_words ? "; " + kpi.target_words : ""}`;
    box.appendChild(note);
    if (kpi.unit === "1") return; // what is counted is all said
    const w = 540, h = 170, bottom = h - 22, most = Math.max(...kpi.counts);
    const marks = [kpi.edges[0], kpi.edges[kpi.edges.length - 1]];
    const near = kpi.target != null && kpi.target <= marks[1] * 2.5 && kpi.target >= marks[0] / 2.5;
    const low = Math.min(marks[0], near ? kpi.target : Infinity), high = Math.max(marks[1], near ? kpi.target * 1.03 : -Infinity);
    const growing = low > 0 && high / low > 50;
    const at = (v) => 8 + (growing ? Math.log(v / low) / Math.log(high / low) : high > low ? (v - low) / (high - low) : 0.5) * (w - 16);
    const picture = svg(box, "svg", { viewBox: `0 0 ${w} ${h}`, role: "img" });
    svg(picture, "line", { x1: 8, x2: w - 8, y1: bottom, y2: bottom, class: "rule" });
    kpi.counts.forEach((count, i) => {
      if (!count) return;
      const from = at(kpi.edges[i]), to = at(kpi.edges[i + 1]), tall = Math.max(1.5, (count / most) * (bottom - 18));
      hover(svg(picture, "rect", { x: from, y: bottom - tall, width: Math.max(1.5, to - from - 1), height: tall, class: "bar" }),
        `${quantity(kpi.edges[i], kpi.unit)} to ${quantity(kpi.edges[i + 1], kpi.unit)}: ${count} samples`);
    });
    if (near) {
      const x = at(kpi.target), end = x > w / 2;
      svg(picture, "line", { x1: x, x2: x, y1: 14, y2: bottom, stroke: css("red"), "stroke-width": 2, "stroke-dasharray": "6 4" });
      svg(picture, "text", { x: end ? x - 4 : x + 4, y: 11, "text-anchor": end ? "end" : "start", style: `fill:${css("red")}` }, kpi.target_words);
    }
    for (let i = 0; i <= 4; i++) {
      const v = growing ? low * (high / low) ** (i / 4) : low + ((high - low) * i) / 4;
      svg(picture, "text", { x: at(v), y: h - 6, class: "dim", "text-anchor": i === 0 ? "start" : i === 4 ? "end" : "middle" }, quantity(v, kpi.unit));
      if (high === low) break;
    }
  };

  // ---- bytes by message type -----------------------------------------------------------------------------------
  const byteBars = () => {
    const all = data.bytes.filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
    if (!all.length) return;
    document.getElementById("bytes").hidden = false;
    const total = all.reduce((t, [, n]) => t + n, 0), w = width(), from = 210;
    const picture = svg(document.getElementById("byte-bars"), "svg", { height: all.length * 20 + 4, viewBox: `0 0 ${w} ${all.length * 20 + 4}`, role: "img" });
    all.forEach(([kind, n], i) => {
      const y = i * 20 + 2, long = (n / all[0][1]) * (w - from - 150);
      svg(picture, "text", { x: from - 8, y: y + 12, "text-anchor": "end" }, kind);
      svg(picture, "rect", { x: from, y, width: Math.max(1, long), height: 15, class: "bar" });
      svg(picture, "text", { x: from + long + 6, y: y + 12, class: "dim" }, `${quantity(n, "B")}, ${((n / total) * 100).toFixed(1)} %`);
    });
  };

  // ---- messages before a violation -----------------------------------------------------------------------------
  const messageChart = () => {
    const all = data.messages;
    if (!all.length) return;
    const section = document.getElementById("messages");
    section.hidden = false;
    const involved = [...new Set(all.flatMap((m) => [m[2], m[3]]))].sort((a, b) => a - b);
    const w = width(), gap = (w - GUTTER - 220) / Math.max(1, involved.length - 1);
    // Evenly, one line for each message that was heard: what happens within a millisecond could not be told apart otherwise.
    const STEP = 13, heards = [...new Set(all.map((m) => m[1]))].sort((a, b) => a - b);
    const from = Math.min(...all.map((m) => m[0])), height = (heards.length + 1) * STEP + 40;
    const x = (node) => GUTTER + 110 + involved.indexOf(node) * gap;
    const y = (s) => {
      const after = heards.findIndex((heard) => heard >= s);
      if (after < 0) return 24 + heards.length * STEP;
      const before = after ? heards[after - 1] : from;
      return 24 + (after + (heards[after] > before ? (s - before) / (heards[after] - before) : 1)) * STEP;
    };
    const picture = svg(section.querySelector(".chart"), "svg", { height, viewBox: `0 0 ${w} ${height}`, role: "img" });
    for (const node of involved) {
      svg(picture, "text", { x: x(node), y: 12, "text-anchor": "middle" }, data.nodes[node]);
      svg(picture, "line", { x1: x(node), x2: x(node), y1: 18, y2: height - 10, class: "rule" });
    }
    heards.forEach((s, i) => {
      if (i % 4 === 0 || i === heards.length - 1) svg(picture, "text", { x: GUTTER - 6, y: y(s) + 4, class: "dim", "text-anchor": "end" }, `${s.toFixed(4)} s`);
    });
    for (const [sent, heard, a, b, kind] of all) {
      hover(svg(picture, "line", { x1: x(a), y1: y(sent), x2: x(b), y2: y(heard), class: "arrow" }),
        `${kind}: ${data.nodes[a]} to ${data.nodes[b]}\nsent ${sent.toFixed(6)} s, accepted ${heard.toFixed(6)} s`);
      svg(picture, "circle", { cx: x(b), cy: y(heard), r: 2.5, fill: css("blue") });
      const left = x(b) < x(a);
      svg(picture, "text", { x: x(b) + (left ? -6 : 6), y: y(heard) + 3, class: "kind", "text-anchor": left ? "end" : "start" }, kind.toLowerCase());
    }
  };

  draw();
  messageChart();
  if (jobs.length) {
    document.getElementById("jobs").hidden = false;
    document.getElementById("pick").addEventListener("change", jobBars);
    watchers.push(() => { if (document.getElementById("pick").value === "window") jobBars(); });
    jobBars();
  }
  const place = document.getElementById("histograms");
  data.kpis.forEach((kpi) => histogram(place, kpi));
  if (!data.kpis.length) document.getElementById("distributions").hidden = true;
  byteBars();
  addEventListener("resize", () => {
    for (const chart of charts) chart.setSize({ width: width(), height: 220 });
    for (const watcher of watchers) watcher();
  });
})();
