"use strict";

// The page that decoding.explore writes. Every file in data/ hands one value to explorer.take; nothing else is read.

const explorer = (() => {

// ---- Data ----------------------------------------------------------------------------------------------------------

const waiting = new Map();  // name → {promise, resolve, reject}

function load(name) {
  if (waiting.has(name)) return waiting.get(name).promise;
  const entry = {};
  entry.promise = new Promise((resolve, reject) => Object.assign(entry, {resolve, reject}));
  waiting.set(name, entry);
  const script = document.createElement("script");
  script.src = `data/${name}.js`;
  script.onerror = () => { waiting.delete(name); entry.reject(new Error(`The file data/${name}.js is missing.`)); };
  document.head.append(script);
  return entry.promise;
}

function take(name, value) {
  if (waiting.has(name)) waiting.get(name).resolve(value);
}

const sheets = new Map();  // name → promise of a sheet with its pixels

function sheet(name) {
  if (!sheets.has(name)) sheets.set(name, load(name).then(opened));
  return sheets.get(name);
}

async function opened(given) {
  const image = new Image();
  image.src = `data:image/png;base64,${given.png}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  return {...given, width: image.width, pixels: context.getImageData(0, 0, image.width, image.height).data};
}

async function picture(number) {
  const some = await load(`images-${Math.floor(number / net.images.files)}`);
  return some[number % net.images.files];
}

let net = null;
const state = {kind: null, tiles: null, sort: "number"};

// ---- Elements ------------------------------------------------------------------------------------------------------

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// ---- Words ---------------------------------------------------------------------------------------------------------

const times = numbers => numbers.join("×");
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const signed = value => `${value < 0 ? "−" : "+"}${short(Math.abs(value))}`;

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  return text.replace("-", "−");
}

const percent = value => value >= 0.995 ? "100 %" : `${(100 * value).toPrecision(2)} %`.replace(/\.0+ /, " ");

const KINDS = {
  Conv: "a convolution",
  MaxPool: "a maximum pool: each unit passes on the largest response in its window",
  AvgPool: "an average pool: each unit passes on the mean response in its window",
  ReLU: "a rectifier: it passes on what is positive, and makes the rest zero",
  BatchNorm: "a batch normalization: it scales and shifts each unit by itself",
  Softmax: "a softmax: it turns responses into shares that add up to one",
  Sum: "a sum: branches meet here and are added, unit by unit",
  Concat: "a concatenation: the units of several layers, side by side",
  Gate: "a gate: one branch multiplies another",
  Select: "a selection of units",
  Dropout: "dropout, which does nothing once a network is trained",
  LRN: "a normalization by the neighbours' responses",
};

function trust(r) {
  if (r === null || r === undefined) return "The response never varies, so there is nothing to compare.";
  if (r >= 0.95) return "It follows the network almost exactly: what you see is what the unit does.";
  if (r >= 0.8) return "It follows the network well: what you see is most of what the unit does.";
  if (r >= 0.5) return "It follows the network roughly: read the large strokes, not the details.";
  if (r >= 0.25) return "It follows the network little: most of what the unit does is not in this picture.";
  return "It hardly follows the network: do not read anything into this picture.";
}

const NAMES = {filter: "Decoded filter", gains: "Decoded filter, with gains", pattern: "Pattern"};
const BRIEF = {filter: "filter", gains: "filter with gains", pattern: "pattern"};

function meaning(kind) {
  const colour = net.layers[0].units === 3;
  if (kind === "pattern")
    return `What the images look like where the unit responds${net.kinds.includes("gains") ? " (by its filter with gains)" : ""}: `
      + "easier to recognize than a filter, but not exactly what the unit weighs.";
  if (kind === "gains") return "The decoded filter, where each rectifier and each pool is replaced by the factor by which it passes responses on, on average.";
  return (colour
    ? "What the unit weighs: the colours that drive it, around mid-grey. The opposite colours hold it back."
    : "What the unit weighs: red where a larger pixel drives it, blue where a larger pixel holds it back, grey where it has no effect.");
}

// ---- Places --------------------------------------------------------------------------------------------------------

function nameOf(number) { return number ? net.layers[number].name : "image"; }

function brief(text, most = 60) { return text.length > most ? `${text.slice(0, most)}…` : text; }

// A name that may break after its dots, lines and strokes.
function broken(text) { return text.split(/(?<=[._/-])/).flatMap((part, i) => i ? [h("wbr"), part] : [part]); }

function key(number) {
  const name = net.layers[number].name;
  const sure = name.length <= 80 && !/^\d+$/.test(name) && net.named.get(name).length === 1;
  return sure ? encodeURIComponent(name) : String(number);
}

const link = (number, unit) => `#${key(number)}${unit === undefined ? "" : `/${unit}`}`;
const label = (number, unit) => `${brief(nameOf(number))}/${unit}`;
const spoken = (number, unit) => `layer ${brief(nameOf(number))}, unit ${unit}`;

function parse(hash) {
  const text = hash.replace(/^#/, "");
  if (!text) return {};
  const [first, second, ...rest] = text.split("/");
  const number = find(decoded(first));
  if (number === null || rest.length) return {lost: true};
  if (second === undefined || second === "") return {layer: number};
  return /^\d+$/.test(second) && Number(second) < (net.layers[number].shown || 0)
    ? {layer: number, unit: Number(second)} : {lost: true};
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return null; }
}

function find(name) {
  if (name === null) return null;
  if (net.named.has(name) && !/^\d+$/.test(name)) return net.named.get(name)[0];
  return /^\d+$/.test(name) && Number(name) > 0 && Number(name) < net.layers.length ? Number(name) : null;
}

// ---- Colours -------------------------------------------------------------------------------------------------------

const ENDS = [[59, 76, 192], [221, 221, 221], [180, 4, 38]];  // blue, grey, red: as decoding.montage has them

function coloured(value) {  // −1 to 1
  const [from, to] = value < 0 ? [ENDS[1], ENDS[0]] : [ENDS[1], ENDS[2]], part = Math.min(1, Math.abs(value));
  return from.map((one, i) => Math.round(one + (to[i] - one) * part));
}

// The value, −1 to 1, of one number of a unit's picture.
function valueAt(from, unit, row, column, channel = 0) {
  const left = (unit % from.columns) * from.cols, top = Math.floor(unit / from.columns) * from.rows;
  return (from.pixels[4 * ((top + row) * from.width + left + column) + channel] - 128) / 127;
}

// For each byte of a sheet its colour, the values times a scale; of three channels, the level of each.
function palette(channels, scale) {
  return Array.from({length: 256}, (_, byte) => {
    const value = scale * (byte - 128) / 127;
    return channels === 1 ? coloured(value) : Math.round(127.5 + 127.5 * Math.max(-1, Math.min(1, value)));
  });
}

const palettes = new Map([[1, new Map()], [3, new Map()]]);

function paint(canvas, from, unit, scale = 1) {
  const known = palettes.get(from.channels), fresh = known.get(scale) || palette(from.channels, scale);
  if (Math.abs(scale) === 1 || scale === 0) known.set(scale, fresh);
  canvas.width = from.cols;
  canvas.height = from.rows;
  const context = canvas.getContext("2d"), target = context.createImageData(from.cols, from.rows), to = target.data;
  const left = (unit % from.columns) * from.cols, top = Math.floor(unit / from.columns) * from.rows;
  for (let row = 0, i = 0; row < from.rows; row++)
    for (let column = 0, at = 4 * ((top + row) * from.width + left); column < from.cols; column++, i += 4, at += 4) {
      const one = fresh[from.pixels[at]], colour = from.channels === 1;
      to[i] = colour ? one[0] : one;
      to[i + 1] = colour ? one[1] : fresh[from.pixels[at + 1]];
      to[i + 2] = colour ? one[2] : fresh[from.pixels[at + 2]];
      to[i + 3] = 255;
    }
  context.putImageData(target, 0, 0);
  return canvas;
}

// ---- Pictures of units ---------------------------------------------------------------------------------------------

// Where nothing below has a gain, both filters have one picture.
function sheetName(number, kind) {
  return `${net.layers[number].base}-${kind === "gains" && net.layers[number].same ? "filter" : kind}`;
}

function canvasOf(from, unit, scale, text) {
  const canvas = paint(h("canvas", {role: "img", "aria-label": text, class: "cells"}), from, unit, scale);
  canvas.style.setProperty("aspect-ratio", `${from.cols} / ${from.rows}`);
  return canvas;
}

function signOf(facts, kind, unit) {
  const factors = facts.factors[kind === "pattern" ? net.kinds[net.kinds.length - 1] : kind];
  return Math.sign(factors[unit]) || 0;
}

async function tile(number, unit, kind, options = {}) {
  const known = number > 0 && unit < (net.layers[number].shown || 0);
  const caption = h("span", {class: "name"}, broken(options.caption || label(number, unit)));
  const more = options.more ? h("span", {class: "more"}, options.more) : null;
  const text = `${spoken(number, unit)}${options.spoken ? `, ${options.spoken}` : ""}`;
  if (!known) return h("span", {class: "tile none", "data-tip": `${text}: its picture is not on this page`},
    h("span", {class: "blank", "aria-hidden": "true"}), caption, more);
  const [from, facts] = await Promise.all([sheet(sheetName(number, kind)), load(String(number))]);
  const canvas = canvasOf(from, unit, signOf(facts, kind, unit) * (options.sign || 1), "");
  canvas.removeAttribute("role");
  canvas.removeAttribute("aria-label");
  canvas.setAttribute("aria-hidden", "true");
  return h("a", {class: `tile ${options.class || ""}`, href: link(number, unit), "aria-label": text,
    "data-tip": options.tip || text, "data-unit": unit}, canvas, caption, more);
}

// ---- Frame of the page ---------------------------------------------------------------------------------------------

const main = document.getElementById("main");
let turn = 0;

async function show() {
  const mine = ++turn, place = parse(location.hash);
  hideTip();
  let view;
  try {
    view = await (place.lost ? lostView() : place.unit !== undefined ? unitView(place.layer, place.unit)
      : place.layer ? layerView(place.layer) : networkView());
  } catch (error) {
    view = {title: "Something is missing", body: [h("h1", {}, "Something is missing"), h("p", {}, error.message)]};
  }
  if (mine !== turn) return;
  document.title = `${brief(view.title, 80)} – ${brief(net.title, 40)}`;
  main.replaceChildren(...view.body.flat(9).filter(Boolean));
  main.dataset.view = view.view || "none";
  main.dataset.place = location.hash;
  if (view.ready) view.ready();
  document.getElementById("said").textContent = view.title;
  if (mine > 1 && !view.keep) { window.scrollTo(0, 0); main.focus({preventScroll: true}); }
}

function lostView() {
  return {title: "Not found", view: "lost", body: [h("h1", {}, "Not found"),
    h("p", {}, "There is no such layer or unit on this page. ", h("a", {href: "#"}, "The network"), " shows what there is.")]};
}

function crumbs(...parts) {
  return h("nav", {class: "crumbs", "aria-label": "Where you are"}, h("a", {href: "#"}, "Network"),
    parts.map(([text, href]) => [h("span", {"aria-hidden": "true"}, " › "),
      href ? h("a", {href, title: text}, brief(text, 40)) : h("span", {"aria-current": "page", title: text}, brief(text, 40))]));
}

function neighbours(before, after, what) {
  const arrow = (place, text, symbol) => place
    ? h("a", {class: "button", href: place, "aria-label": `${text} ${what}`}, symbol)
    : h("span", {class: "button off", "aria-hidden": "true"}, symbol);
  return h("nav", {class: "neighbours", "aria-label": `Neighbouring ${what}s`},
    arrow(before, "Previous", "←"), arrow(after, "Next", "→"));
}

function section(title, note, ...content) {
  return h("section", {}, h("h2", {}, title), note ? h("p", {class: "note"}, note) : null, ...content);
}

// ---- The network ---------------------------------------------------------------------------------------------------

async function networkView() {
  const layers = net.layers.length - 1, joins = net.layers.filter(each => each.reads.length > 1).length;
  const off = net.layers.filter(each => each.reason).length;
  const body = [
    h("h1", {title: net.title}, brief(net.title, 60)),
    h("p", {class: "lead"},
      `${plural(layers, "layer")}${joins ? `, ${plural(joins, "place")} where branches meet` : ""}. `
      + "The image enters at the top; each box is a layer of units, and reads the boxes above it. "
      + "The small pictures are its strongest units, decoded: carried back to the image, they show what each unit looks for. "
      + "Open a box to see all its units."),
    facts(),
    off ? h("p", {class: "note"}, off === 1 ? "The box in grey has no pictures; open it to read why." : `${off} boxes in grey have no pictures; open one to read why.`) : null,
    h("nav", {class: "graph", id: "graph", "aria-label": "Layers of the network"}),
    net.notes.length ? h("ul", {class: "note"}, net.notes.map(each => h("li", {}, brief(each, 400)))) : null,
    legend(),
  ];
  return {title: "Network", view: "network", body, ready: watchGraph};
}

function facts() {
  const images = net.images
    ? `Made with ${plural(net.images.count, "image")}, so the page also shows how far pictures can be trusted, and which images drive a unit.`
    : "Made without images, from the weights alone: how far pictures can be trusted is not measured here.";
  return h("p", {class: "note"}, images);
}

function legend() {
  return h("section", {class: "legend"}, h("h2", {}, "How to read the pictures"),
    h("p", {}, meaning("filter")),
    net.summed ? h("p", {}, `Images have ${net.layers[0].units} channels; pictures are their sum.`) : null,
    h("p", {}, "Each picture has its own scale: its strongest pixel has full colour. Deep in a network pictures say less, because "
      + "a decoded filter is linear and the unit is not. If images were given, r says how well the two agree: 1 is perfectly, 0 is not at all."),
    h("p", {}, "Keys: ← and → go to the neighbouring unit or layer, Escape goes up, / opens the search."));
}

let watched = null;

function watchGraph() {
  const place = document.getElementById("graph");
  let width = 0;
  const draw = () => {
    if (place.clientWidth !== width) { width = place.clientWidth; drawGraph(place, width); }
  };
  if (watched) watched.disconnect();
  watched = new ResizeObserver(draw);
  watched.observe(place);
  draw();
}

const BOX = 50, GAP = 22, TRACK = 12, APART = 14;

// Side by side where branches have room, otherwise one below the other, in the order of the network.
function drawGraph(place, width) {
  const lanes = 1 + Math.max(...net.layers.map(each => each.lane)), listed = (width - 60) / lanes < 190;
  const rows = listed ? net.layers.map((_, i) => i) : net.layers.map(each => each.row);
  const edges = tracked(rows), tracks = Math.min(1 + Math.max(-1, ...edges.map(edge => edge.track)), width < 600 ? 5 : 12);
  const left = tracks ? tracks * TRACK + 6 : 0;
  const across = listed ? width - left : Math.min(720, (width - left - (lanes - 1) * APART) / lanes);
  const boxes = net.layers.map((each, i) => ({x: left + (listed ? 0 : each.lane * (across + APART)), y: rows[i] * (BOX + GAP), w: across}));
  const height = Math.max(...boxes.map(box => box.y)) + BOX;
  place.style.setProperty("height", `${height}px`);
  const lines = svg("svg", {width, height, "aria-hidden": "true"}, edges.map(edge =>
    svg("path", {d: route(edge, boxes, tracks), class: edge.track < 0 ? "edge" : "edge long"})));
  place.replaceChildren(lines, ...net.layers.map((each, i) => box(each, i, boxes[i])));
}

// All edges. One that passes over rows takes a track beside the boxes, the first that is free; those from one layer share it.
function tracked(rows) {
  const edges = net.layers.flatMap((each, end) => [...new Set(each.reads)].map(start => ({start, end, track: -1})));
  const ends = new Map(), taken = [];
  for (const {start, end} of edges) if (rows[end] - rows[start] > 1) ends.set(start, Math.max(ends.get(start) || 0, rows[end]));
  const tracks = new Map([...ends].sort((a, b) => rows[a[0]] - rows[b[0]]).map(([start, last]) => {
    const free = taken.findIndex(end => end <= rows[start]), track = free < 0 ? taken.length : free;
    taken[track] = last;
    return [start, track];
  }));
  for (const edge of edges) if (rows[edge.end] - rows[edge.start] > 1) edge.track = tracks.get(edge.start);
  return edges;
}

function route({start, end, track}, boxes, tracks) {
  const a = boxes[start], b = boxes[end], y0 = a.y + BOX, y1 = b.y, x0 = a.x + 60, x1 = b.x + 60, middle = (y0 + y1) / 2;
  if (track < 0) return x0 === x1 ? `M${x0},${y0}V${y1}` : `M${x0},${y0}C${x0},${middle} ${x1},${middle} ${x1},${y1}`;
  const way = 4 + (track % Math.max(1, tracks)) * TRACK, r = 6, low = y0 + GAP / 2 - 3, high = y1 - GAP / 2 + 3;
  return `M${x0 - 14},${y0}V${low - r}q0,${r} ${-r},${r}H${way + r}q${-r},0 ${-r},${r}V${high - r}q0,${r} ${r},${r}H${x1 - 14 - r}q${r},0 ${r},${r}V${y1}`;
}

function box(layer, number, at) {
  const style = {left: `${at.x}px`, top: `${at.y}px`, width: `${at.w}px`, height: `${BOX}px`};
  const size = layer.out.length ? times(layer.out) : layer.units ? plural(layer.units, "unit") : "";
  const words = [number ? layer.kind : "", size, layer.field ? `field ${times(layer.field)}` : ""].filter(Boolean);
  const name = h("span", {class: "name"}, number ? h("span", {class: "number"}, number) : null, brief(layer.name, 200));
  const inner = [h("span", {class: "text"}, name, h("span", {class: "about"}, words.join(" · "))), strip(layer, number, at.w)];
  const tip = `${brief(layer.name)} · ${words.join(" · ")}${layer.reason ? ` · ${brief(layer.reason, 200)}` : ""}`;
  if (!number) return h("div", {class: "box image", style}, inner);
  const join = layer.reads.length > 1 ? " join" : "";
  const said = `${brief(layer.name)}, ${words.join(", ")}, reads ${layer.reads.map(i => brief(nameOf(i))).join(" and ")}${layer.reason ? ", without pictures" : ""}`;
  return h("a", {class: `box${join}${layer.reason ? " off" : ""}`, href: link(number), style, "data-tip": tip, "aria-label": said}, inner);
}

function strip(layer, number, width) {
  const from = layer.shown ? net.layers[layer.base].strip : null, count = Math.min(12, Math.floor((width - 270) / 38));
  if (!from || count < 1) return null;
  const place = h("span", {class: "strip", "aria-hidden": "true"});
  (from.opened ||= opened(from.sheet)).then(ready => {
    for (let i = 0; i < Math.min(count, from.units.length); i++) place.append(paint(h("canvas", {class: "cells"}), ready, i));
  });
  return place;
}

// ---- A layer -------------------------------------------------------------------------------------------------------

async function layerView(number) {
  const layer = net.layers[number];
  const body = [
    h("div", {class: "bar"}, crumbs([layer.name]),
      neighbours(number > 1 ? link(number - 1) : null, number < net.layers.length - 1 ? link(number + 1) : null, "layer")),
    h("h1", {title: layer.name}, brief(layer.name, 80)),
    h("p", {class: "lead"}, about(number)),
    around(number),
  ];
  if (layer.reason) {
    body.push(h("p", {class: "reason"}, h("strong", {}, "No pictures. "), layer.reason));
    return {title: layer.name, view: "layer", body};
  }
  const data = await load(String(number));
  body.push(h("div", {class: "two"}, fieldFigure(number), trustOfLayer(number, data)));
  const grid = h("div", {class: "tiles", id: "tiles"});
  body.push(controls(number, data, grid), grid);
  await fillTiles(number, data, grid);
  return {title: `Layer ${brief(layer.name)}`, view: "layer", body};
}

function about(number) {
  const layer = net.layers[number], words = [`Layer ${number} of ${net.layers.length - 1}, ${KINDS[layer.kind] || layer.kind}.`];
  if (layer.out.length) words.push(`Its response to an image is ${times(layer.out)}: ${plural(layer.out[0], "unit")}, `
    + (layer.out[1] * layer.out[2] === 1 ? "each at one place." : `each at ${times(layer.out.slice(1))} places.`));
  else if (layer.units) words.push(`It has ${plural(layer.units, "unit")}.`);
  if (layer.field) {
    const window = layer.window[0] * layer.window[1] > 1 ? `Each reads a window of ${times(layer.window)} of the layer below, and so sees` : "Each sees";
    words.push(`${window} ${times(layer.field)} pixels of the image: its receptive field.`);
  }
  if (layer.shown && layer.base !== number)
    words.push(`It passes on each unit of ${brief(nameOf(layer.base))} by itself, so its pictures are those of that layer.`);
  if (layer.shown && layer.shown < layer.units)
    words.push(`This page shows the first ${layer.shown} of its ${layer.units.toLocaleString("en")} units.`);
  return words.join(" ");
}

function around(number) {
  const links = numbers => numbers.map((i, at) => [at ? ", " : "", i ? h("a", {href: link(i)}, brief(nameOf(i), 40)) : "the image"]);
  const above = net.layers.flatMap((each, i) => i && each.reads.includes(number) ? [i] : []);
  return h("p", {class: "note"}, "Reads ", links([...new Set(net.layers[number].reads)]), ". ",
    above.length ? ["Read by ", links(above), "."] : "No layer reads it.");
}

// The receptive field of the unit in the middle, and of its neighbour, beside the image, all to one scale.
function fieldFigure(number) {
  const layer = net.layers[number], image = net.layers[0].out, [rows, columns] = layer.field;
  const height = image.length ? image[1] : rows, width = image.length ? image[2] : columns;
  const grid = layer.out.length ? layer.out.slice(1) : [1, 1];
  const at = [0, 1].map(a => layer.offset[a] + Math.floor((grid[a] - 1) / 2) * layer.stride[a]);
  const one = (top, left, kind) => svg("rect", {x: left, y: top, width: columns, height: rows, class: kind});
  const next = grid[1] > 1 ? one(at[0], at[1] + layer.stride[1], "field next") : null;
  const low = [Math.min(0, at[0]), Math.min(0, at[1])];
  const high = [Math.max(height, at[0] + rows), Math.max(width, at[1] + columns + (next ? layer.stride[1] : 0))];
  const margin = 0.02 * Math.max(high[0] - low[0], high[1] - low[1]);
  const view = [low[1] - margin, low[0] - margin, high[1] - low[1] + 2 * margin, high[0] - low[0] + 2 * margin].join(" ");
  const drawing = svg("svg", {viewBox: view, class: "scale", role: "img",
    "aria-label": `The receptive field, ${times(layer.field)} pixels, ${image.length ? `on an image of ${height}×${width}` : ""}`},
    svg("rect", {x: 0, y: 0, width, height, class: "image"}), next, one(at[0], at[1], "field"));
  if (net.images) picture(0).then(each => drawing.firstChild.after(svg("image",
    {href: each.src, x: 0, y: 0, width, height, preserveAspectRatio: "none", class: "photo"})));
  const past = layer.offset.some(o => o < 0) ? " Where it reaches past the edge, the network sees zeros." : "";
  return h("figure", {class: "plain"}, drawing, h("figcaption", {},
    `What a unit in the middle sees, ${times(layer.field)} pixels, `,
    image.length ? `on an image of ${height}×${width}. ` : "to scale. ",
    next ? `Dashed: its neighbour, ${plural(layer.stride[1], "pixel")} further.` : "", past));
}

function trustOfLayer(number, data) {
  const mean = net.layers[number].r;
  if (!data.r) return h("div", {}, h("h2", {}, "How far to trust these pictures"), h("p", {class: "note"},
    "No images were given when this page was made, so this was not measured. As a rule, pictures of the first layers are exact, and those of deep layers say little."));
  return h("div", {}, h("h2", {}, "How far to trust these pictures"), meters(number, mean),
    h("p", {}, trust(mean[best(mean)]), trustSecond(mean)),
    h("p", {class: "note"}, `r is the correlation between the responses that a picture predicts and those of the network, over all places of ${plural(data.measured, "image")}; shown is the mean over ${plural(net.layers[number].shown, "unit")}.`));
}

const RS = {filter: "filter", gains: "filter with gains", second: "with second order"};

function trustSecond(rs) {
  if (rs.second === undefined || rs.second === null || rs.second < (rs[best(rs)] || 0) + 0.05) return "";
  return rs.second >= 0.8 ? " With the second order added, it follows the network well." : " With the second order added, it follows better.";
}

function best(rs) { return rs.gains !== undefined ? "gains" : "filter"; }

function meters(number, rs) {
  const same = net.layers[number].same;
  return h("dl", {class: "meters"}, Object.keys(RS).filter(kind => rs[kind] !== undefined && !(same && kind === "gains")).map(kind => [
    h("dt", {}, RS[kind]), h("dd", {},
      h("span", {class: "meter", "aria-hidden": "true"}, h("span", {style: {width: `${100 * Math.max(0, rs[kind] || 0)}%`}})),
      h("span", {class: "value"}, rs[kind] === null ? "–" : `r = ${rs[kind].toFixed(2).replace("-", "−")}`))]));
}

function kindsOf(number, data) {
  return [...net.kinds.filter(kind => kind === "filter" || !net.layers[number].same), ...(data.images ? ["pattern"] : [])];
}

function shownKind(number, data) {
  const kinds = kindsOf(number, data);
  return kinds.includes(state.kind) ? state.kind : kinds.filter(kind => kind !== "pattern").pop();
}

function choice(title, name, options, chosen, change) {
  return h("fieldset", {class: "choice"}, h("legend", {}, title), options.map(([value, text]) => h("label", {},
    h("input", {type: "radio", name, value, checked: value === chosen, onchange: () => change(value)}), h("span", {}, text))));
}

function controls(number, data, grid) {
  const again = () => fillTiles(number, data, grid);
  const sorts = [["number", "number"], ["strength", "strength"], ...(data.r ? [["r", "r, how well it follows"]] : [])];
  if (state.sort === "r" && !data.r) state.sort = "number";
  return h("div", {class: "controls"},
    kindsOf(number, data).length > 1 ? choice("Show", "kind", kindsOf(number, data).map(kind => [kind, BRIEF[kind]]), shownKind(number, data),
      value => { state.kind = value; again(); }) : null,
    choice("Sort by", "sort", sorts, state.sort, value => { state.sort = value; again(); }));
}

async function fillTiles(number, data, grid) {
  const kind = shownKind(number, data), weighed = kind === "pattern" ? net.kinds[net.kinds.length - 1] : kind;
  const strength = data.strength[weighed], r = data.r ? data.r[weighed] : null;
  const order = strength.map((_, k) => k);
  if (state.sort !== "number") {
    const by = state.sort === "r" ? r : strength;
    order.sort((a, b) => (by[b] ?? -9) - (by[a] ?? -9) || a - b);
  }
  const from = await sheet(sheetName(number, kind));
  grid.style.setProperty("--tile", `${tileSize(from, order.length)}px`);
  grid.replaceChildren(...order.map(k => unitTile(number, k, kind, data, from, strength[k], r && r[k])));
}

function tileSize(from, count) {
  return count > 200 ? 60 : count > 60 ? 76 : from.rows > 40 ? 120 : 96;
}

function unitTile(number, k, kind, data, from, strength, r) {
  const numbers = `strength ${short(strength)}${r === null || r === undefined ? "" : `, r ${r.toFixed(2).replace("-", "−")}`}`;
  const name = className(number, k), said = `${spoken(number, k)}${name ? ` (${name})` : ""}, ${numbers}`;
  const canvas = paint(h("canvas", {class: "cells", "aria-hidden": "true"}), from, k, signOf(data, kind, k));
  return h("a", {class: "tile", href: link(number, k), "aria-label": said, "data-tip": said.replace(/^layer .*, unit/, "unit"), "data-unit": k},
    canvas, h("span", {class: "name"}, name ? `${k}: ${brief(name, 24)}` : k));
}

// The class that a unit of the last layers stands for.
function className(number, k) {
  const layer = net.layers[number];
  return net.classes.length && net.classes.length === layer.units && onlyPasses(number) ? net.classes[k] : null;
}

function onlyPasses(number) {
  const last = net.layers.length - 1;
  return net.layers[last].base === net.layers[number].base && number <= last;
}

// ---- A unit --------------------------------------------------------------------------------------------------------

async function unitView(number, unit) {
  const layer = net.layers[number], data = await load(String(number)), name = className(number, unit);
  const kind = shownKind(number, data) === "pattern" ? net.kinds[net.kinds.length - 1] : shownKind(number, data);
  const parts = await Promise.all([
    large(number, unit, data), second(number, unit, data), madeOf(number, unit, data, kind), partsOf(number, unit, data, kind),
    usedBy(number, unit, data, kind), images(number, unit, data),
  ]);
  const body = [
    h("div", {class: "bar"}, crumbs([layer.name, link(number)], [`unit ${unit}`]),
      neighbours(unit ? link(number, unit - 1) : null, unit + 1 < layer.shown ? link(number, unit + 1) : null, "unit")),
    h("h1", {title: layer.name}, `${brief(layer.name, 60)}, unit ${unit}`, name ? h("span", {class: "class"}, ` stands for “${brief(name, 60)}”`) : null),
    h("p", {class: "lead"}, `One of ${plural(layer.units, "unit")} of ${KINDS[layer.kind] ? KINDS[layer.kind].split(":")[0] : layer.kind}. It sees ${times(layer.field)} pixels of the image.`),
    ...parts.slice(0, 1), trustOfUnit(number, unit, data), ...parts.slice(1),
  ];
  return {title: `${spoken(number, unit)}`, view: "unit", body};
}

async function large(number, unit, data) {
  const figures = await Promise.all(kindsOf(number, data).map(kind => largePicture(number, unit, data, kind)));
  return h("section", {}, h("h2", {class: "unseen"}, "What it looks for"), h("div", {class: "figures"}, figures));
}

async function largePicture(number, unit, data, kind) {
  const from = await sheet(sheetName(number, kind)), weighed = kind === "pattern" ? net.kinds[net.kinds.length - 1] : kind;
  const factor = data.factors[weighed][unit], peak = data.peaks[kind][unit] * Math.abs(factor), sign = Math.sign(factor) || 0;
  const text = `${NAMES[kind]} of ${spoken(number, unit)}`, canvas = canvasOf(from, unit, sign, text);
  canvas.classList.add("big");
  const step = Math.max(1, Math.round(net.layers[number].field[1] / from.cols));
  canvas.tell = event => pixelAt(event, canvas, from, unit, sign * peak, step);
  return h("figure", {class: "picture"}, h("h3", {}, NAMES[kind]), h("div", {class: "framed", "data-kind": kind}, canvas),
    scaleBar(from.channels, peak), h("figcaption", {}, meaning(kind),
      step > 1 ? ` Drawn smaller: each cell is the mean of ${step}×${step} pixels.` : ""));
}

function pixelAt(event, canvas, from, unit, peak, step) {
  const place = canvas.getBoundingClientRect();
  const column = Math.floor((event.clientX - place.left) / place.width * from.cols);
  const row = Math.floor((event.clientY - place.top) / place.height * from.rows);
  if (row < 0 || column < 0 || row >= from.rows || column >= from.cols) return "";
  const values = Array.from({length: from.channels}, (_, c) => signed(peak * valueAt(from, unit, row, column, c)));
  return `row ${row * step}, column ${column * step}: ${values.join(", ")}`;
}

function scaleBar(channels, peak) {
  const zero = peak === 0;
  return h("div", {class: `scalebar${channels === 3 ? " colour" : ""}`, role: "img",
    "aria-label": zero ? "All zero" : `The scale: from ${signed(-peak)} over 0 to ${signed(peak)}`},
    h("span", {class: "ramp"}), h("span", {class: "ends", "aria-hidden": "true"},
      h("span", {}, zero ? "" : signed(-peak)), h("span", {}, "0"), h("span", {}, zero ? "" : signed(peak))));
}

function trustOfUnit(number, unit, data) {
  if (!data.r) return section("How far to trust it", "No images were given when this page was made, so this was not measured.");
  const rs = Object.fromEntries(Object.entries(data.r).map(([kind, values]) => [kind, values[unit]]));
  return section("How far to trust it", null, h("div", {class: "two"}, meters(number, rs),
    h("div", {}, h("p", {}, trust(rs[best(rs)]), trustSecond(rs)),
      h("p", {class: "note"}, `r is the correlation between the unit's responses in the network and those of its picture, over all places of ${plural(data.measured, "image")}.`))));
}

async function madeOf(number, unit, data, kind) {
  const links = data.made[unit], layer = net.layers[number];
  if (!links.length) return section("Made of", "Nothing: all its weights are zero.");
  if (links.every(each => each[0] === 0)) return section("Made of", "It reads the image itself: the picture above shows its weights.");
  const passed = layer.base !== number || layer.kind.includes("Pool");
  const most = Math.max(...links.map(each => Math.abs(each[2])));
  const tiles = await Promise.all(links.filter(each => each[0]).map(each => below(number, each, most, kind, passed)));
  return section("Made of", passed
    ? "It passes on one unit below, times a factor."
    : "The units below that it weighs most, each with its weight. The picture above is the sum of the pictures of all units below, each times its weight and at its place: point at one to see where.",
    h("div", {class: "tiles links made"}, tiles));
}

async function below(number, [lower, k, weight, u, v, row, column], most, kind, passed) {
  const place = passed ? "" : `, at row ${u}, column ${v}`, text = `weight ${signed(weight)}${place}`;
  const single = net.layers[number].window[0] * net.layers[number].window[1] === 1;
  const element = await tile(lower, k, kind, {spoken: text, more: [weightBar(weight, most), signed(weight),
    passed || single ? "" : h("span", {class: "place"}, `row ${u}, col. ${v}`)], class: "link"});
  const mark = on => outline(number, net.layers[lower].field, row, column, on);
  for (const name of ["pointerenter", "focus"]) element.addEventListener(name, () => mark(true));
  for (const name of ["pointerleave", "blur"]) element.addEventListener(name, () => mark(false));
  return element;
}

function weightBar(weight, most) {
  return h("span", {class: `weight ${weight < 0 ? "minus" : "plus"}`, "aria-hidden": "true"},
    h("span", {style: {width: `${Math.max(4, 100 * Math.abs(weight) / most)}%`}}));
}

// Frames, on the large pictures, the place of a unit below.
function outline(number, size, row, column, on) {
  for (const place of document.querySelectorAll(".framed")) {
    for (const old of place.querySelectorAll(".outline")) old.remove();
    if (!on || !size || place.dataset.kind === "pattern") continue;
    const [rows, columns] = net.layers[number].field, part = (value, whole) => `${100 * value / whole}%`;
    place.append(h("span", {class: "outline", style: {left: part(column, columns), top: part(row, rows),
      width: part(size[1], columns), height: part(size[0], rows)}}));
  }
}

// Of a layer that joins others: what each of them adds, on one scale, in its place.
async function partsOf(number, unit, data, kind) {
  const parts = data.parts ? data.parts[unit].filter(each => each[0]) : [];
  if (parts.length < 2) return null;
  const known = await Promise.all(parts.map(async ([lower, k, weight, row, column]) => {
    if (k >= (net.layers[lower].shown || 0)) return null;
    const [facts, from] = await Promise.all([load(String(lower)), sheet(sheetName(lower, kind))]);
    return {lower, k, row, column, from, value: weight * facts.factors[kind][k] * facts.peaks[kind][k]};
  }));
  const most = Math.max(1e-300, ...known.filter(Boolean).map(each => Math.abs(each.value)));
  return section("Its parts", "What each of the layers that meet here contributes to the decoded filter, all on one scale: a pale part contributes little.",
    h("div", {class: "tiles parts"}, known.filter(Boolean).map(each => partTile(number, each, most))));
}

function partTile(number, part, most) {
  const [rows, columns] = net.layers[number].field, size = net.layers[part.lower].field;
  const zoom = part.from.cols / size[1], canvas = h("canvas", {class: "cells", "aria-hidden": "true"});
  canvas.width = Math.max(1, Math.round(columns * zoom));
  canvas.height = Math.max(1, Math.round(rows * zoom));
  const context = canvas.getContext("2d");
  context.fillStyle = part.from.channels === 1 ? `rgb(${ENDS[1]})` : "rgb(128,128,128)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(paint(document.createElement("canvas"), part.from, part.k, part.value / most), Math.round(part.column * zoom), Math.round(part.row * zoom));
  const text = `${spoken(part.lower, part.k)}, its part, largest value ${short(Math.abs(part.value))}`;
  return h("a", {class: "tile link", href: link(part.lower, part.k), "aria-label": text, "data-tip": text},
    canvas, h("span", {class: "name"}, broken(label(part.lower, part.k))), h("span", {class: "more"}, `up to ${short(Math.abs(part.value))}`));
}

async function usedBy(number, unit, data, kind) {
  const links = data.used[unit];
  if (!links.length) return section("Used by", "No unit of this page weighs it.");
  const most = Math.max(...links.map(each => Math.abs(each[2])));
  const tiles = await Promise.all(links.map(([upper, k, weight]) => tile(upper, k, kind, {spoken: `weighs it ${signed(weight)}`,
    more: [weightBar(weight, most), signed(weight)], class: "link", caption: className(upper, k) ? `${label(upper, k)}: ${className(upper, k)}` : null})));
  return section("Used by", "The units above that weigh it most, with the weight.", h("div", {class: "tiles links used"}, tiles));
}

// ---- Images of a unit ----------------------------------------------------------------------------------------------

async function images(number, unit, data) {
  if (!data.images) return null;
  const [most, least] = await Promise.all(["most", "least"].map(end =>
    Promise.all(data.images[end][unit].map(each => exemplar(number, unit, each)))));
  return h("div", {class: "two"},
    h("div", {}, section("Images that drive it most", "The frame is what the unit sees where it responds most.", h("div", {class: "tiles photos"}, most)),
      least.length ? section("Images that drive it least", "Its largest response to each of these images is smaller than to any other.", h("div", {class: "tiles photos"}, least)) : null),
    spread(unit, data.images.spread[unit]));
}

async function exemplar(number, unit, [index, response, row, column]) {
  const each = await picture(index), [height, width] = each.size, [rows, columns] = net.layers[number].field;
  const text = `Image ${each.index}${each.label === undefined ? "" : `, labelled ${brief(each.label, 80)}`}: response ${short(response)} of ${spoken(number, unit)}`;
  const part = (value, whole) => `${100 * value / whole}%`, clip = (low, high, whole) => [Math.max(0, low), Math.min(whole, high)];
  const [top, bottom] = clip(row, row + rows, height), [left, right] = clip(column, column + columns, width);
  return h("figure", {class: "photo", "data-tip": text}, h("span", {class: "framed"},
    h("img", {src: each.src, alt: text, class: width <= 64 ? "cells" : ""}),
    h("span", {class: "frame", style: {left: part(left, width), top: part(top, height), width: part(right - left, width), height: part(bottom - top, height)}})),
    h("figcaption", {}, each.label === undefined ? `image ${each.index}` : h("span", {class: "label"}, brief(each.label, 40)), h("span", {class: "more"}, short(response))));
}

function spread(unit, given) {
  const named = given.labels ? given.labels.map(i => net.images.labels[i]) : ["all images"];
  const rows = given.counts.map((counts, i) => histogram(named[i], counts, given, given.means && given.means[i]));
  return section(given.labels ? "Responses by label" : "Responses",
    `A histogram of its largest response to each image, from ${short(given.low)} to ${short(given.high)}`
    + `${given.labels ? `, for ${given.labels.length < net.images.labels.length ? "the labels it responds to most" : "each label"}; the tick is the mean` : ""}.`,
    h("div", {class: "histograms"}, rows, h("div", {class: "axis", "aria-hidden": "true"}, h("span", {}, short(given.low)), h("span", {}, short(given.high)))));
}

function histogram(name, counts, {low, high}, mean) {
  const most = Math.max(...counts), bins = counts.length, at = i => low + (high - low) * i / bins;
  const bars = counts.map((count, i) => svg("rect", {x: i + 0.06, y: 10 - 10 * count / most, width: 0.88, height: 10 * count / most,
    "data-tip": `${brief(name, 40)}: ${plural(count, "image")} from ${short(at(i))} to ${short(at(i + 1))}`}));
  const tick = mean === undefined || high === low ? null
    : svg("line", {x1: bins * (mean - low) / (high - low), x2: bins * (mean - low) / (high - low), y1: 0, y2: 10, class: "tick"});
  const said = `${brief(name, 40)}: ${counts.reduce((a, b) => a + b, 0)} images${mean === undefined ? "" : `, mean response ${short(mean)}`}`;
  return h("div", {class: "histogram"}, h("span", {class: "label", title: name}, brief(name, 40)),
    svg("svg", {viewBox: `0 0 ${bins} 10`, preserveAspectRatio: "none", role: "img", "aria-label": said}, bars, tick));
}

// ---- The second order ----------------------------------------------------------------------------------------------

const PER_FILE = 40;

async function second(number, unit, data) {
  const at = data.second ? data.second.indexOf(unit) : -1;
  if (at < 0) return null;
  const file = await load(`${number}-second-${Math.floor(at / PER_FILE)}`), from = await (file.opened ||= opened(file.sheet));
  const facts = file.units[at % PER_FILE];
  const plain = (i, text) => h("figure", {class: "tile"}, canvasOf(from, facts.first + i, 1, `${text} of ${spoken(number, unit)}`), h("figcaption", {class: "name"}, text));
  const pictures = facts.values.map((value, i) => ({value, share: facts.shares[i], i: i + 2}));
  if (!pictures.some(each => each.value)) return section("Second order", "This unit has no quadratic part: its linear picture says everything.");
  return section("Second order", "A filter is a linear description, and the unit is not linear. The next term of its expansion is a sum of squares: each picture "
    + "contributes its eigenvalue times the square of its match with the image, so its sign has no meaning. The percentage is its share of that sum.",
    h("div", {class: "groups"},
      group("The extremes", [plain(0, "excites it most"), plain(1, "suppresses it most")]),
      group("Pictures that excite it, with either sign", pictures.filter(each => each.value > 0).map(each => eigenpicture(each, from, facts, number, unit))),
      group("Pictures that suppress it, with either sign", pictures.filter(each => each.value < 0).reverse().map(each => eigenpicture(each, from, facts, number, unit)))));
}

function group(title, tiles) {
  return tiles.length ? h("div", {}, h("h3", {}, title), h("div", {class: "row"}, tiles)) : null;
}

function eigenpicture({value, share, i}, from, facts, number, unit) {
  const text = `eigenvalue ${signed(value)}, ${percent(share)} of the second order`;
  return h("figure", {class: "tile", "data-tip": text}, canvasOf(from, facts.first + i, 1, `Picture of ${spoken(number, unit)}, ${text}`),
    h("figcaption", {}, h("span", {class: "name"}, signed(value)), h("span", {class: "more"}, percent(share))));
}

// ---- Numbers on hover ----------------------------------------------------------------------------------------------

const tip = document.getElementById("tip");

function hideTip() { tip.hidden = true; }

function showTip(text, x, y) {
  if (!text) return hideTip();
  tip.textContent = text;
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  tip.style.setProperty("left", `${Math.max(4, Math.min(x + 12, document.documentElement.clientWidth - width - 4))}px`);
  tip.style.setProperty("top", `${y + 18 + height > innerHeight ? y - height - 10 : y + 18}px`);
}

function hover(event) {
  if (event.target.tell) return showTip(event.target.tell(event), event.clientX, event.clientY);
  const told = event.target.closest ? event.target.closest("[data-tip]") : null;
  if (told) showTip(told.dataset.tip, event.clientX, event.clientY);
  else hideTip();
}

// ---- Search --------------------------------------------------------------------------------------------------------

const field = document.getElementById("find"), listing = document.getElementById("found");
let hits = [], chosen = -1;

function search(text) {
  const clean = text.trim().toLowerCase();
  if (!clean) return [];
  const [, name, digits] = clean.match(/^(.*?)[\s/:]*(\d+)?$/s);
  const found = [];
  net.layers.forEach((layer, i) => {
    if (!i) return;
    const own = layer.name.toLowerCase();
    if (own.includes(clean) || clean === String(i)) found.push({rank: own === clean ? 0 : 2, text: layer.name, about: `layer ${i}, ${layer.kind}`, href: link(i)});
    if (digits !== undefined && own.includes(name) && Number(digits) < (layer.shown || 0))
      found.push({rank: name && own === name ? 1 : 3, text: `${layer.name}/${Number(digits)}`, about: `unit ${Number(digits)}`, href: link(i, Number(digits))});
    net.classes.forEach((each, k) => {
      if (className(i, k) !== null && k < (layer.shown || 0) && each.toLowerCase().includes(clean) && !/^\d+$/.test(each))
        found.push({rank: 4, text: `${layer.name}/${k}`, about: each, href: link(i, k)});
    });
  });
  return found.sort((a, b) => a.rank - b.rank).slice(0, 12);
}

function listHits() {
  hits = search(field.value);
  chosen = hits.length ? 0 : -1;
  const none = field.value.trim() && !hits.length ? h("li", {class: "none"}, "Nothing has that name.") : null;
  listing.replaceChildren(...hits.map((hit, i) => h("li", {role: "option", id: `hit-${i}`, "aria-selected": String(i === chosen),
    onpointerdown: event => { event.preventDefault(); open(i); }}, h("span", {class: "name"}, brief(hit.text, 80)), h("span", {class: "more"}, brief(hit.about, 40)))),
    ...(none ? [none] : []));
  listing.hidden = !field.value.trim();
  mark();
}

function mark() {
  field.setAttribute("aria-expanded", String(!listing.hidden));
  if (chosen >= 0) field.setAttribute("aria-activedescendant", `hit-${chosen}`);
  else field.removeAttribute("aria-activedescendant");
  [...listing.children].forEach((item, i) => item.role === "option" && item.setAttribute("aria-selected", String(i === chosen)));
}

function open(i) {
  if (!hits[i]) return;
  const href = hits[i].href;
  field.value = "";
  listing.hidden = true;
  mark();
  field.blur();
  location.hash = href;
}

function searchKey(event) {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (hits.length) chosen = (chosen + (event.key === "ArrowDown" ? 1 : hits.length - 1)) % hits.length;
    mark();
  } else if (event.key === "Enter") open(chosen);
  else if (event.key === "Escape") { field.value = ""; listHits(); field.blur(); }
  else return;
  event.preventDefault();
  event.stopPropagation();
}

// ---- Keys ----------------------------------------------------------------------------------------------------------

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey && event.key !== "/") return;
  const target = event.target;
  if (target.matches && target.matches("input, textarea, select")) return;
  if (event.key === "/") { event.preventDefault(); field.focus(); return; }
  if (event.key === "Escape") return up();
  const tiles = target.closest ? target.closest(".tiles") : null;
  if (tiles && target.matches(".tile") && within(tiles, target, event.key)) event.preventDefault();
  else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const arrow = main.querySelector(`.neighbours a[aria-label^="${event.key === "ArrowLeft" ? "Previous" : "Next"}"]`);
    if (arrow) { event.preventDefault(); location.hash = arrow.getAttribute("href"); }
  }
}

function up() {
  const place = parse(location.hash);
  if (place.unit !== undefined) location.hash = link(place.layer);
  else if (place.layer || place.lost) location.hash = "";
}

// Between tiles, by arrow keys: the next in the row, the nearest in the row above or below.
function within(tiles, from, key) {
  const all = [...tiles.querySelectorAll("a.tile")], at = all.indexOf(from), here = from.getBoundingClientRect();
  let to = null;
  if (key === "ArrowRight") to = all[at + 1];
  else if (key === "ArrowLeft") to = all[at - 1];
  else if (key === "ArrowDown") to = all.slice(at + 1).find(each => each.getBoundingClientRect().top > here.top + 4 && each.getBoundingClientRect().left >= here.left - 4);
  else if (key === "ArrowUp") to = all.slice(0, at).reverse().find(each => each.getBoundingClientRect().top < here.top - 4 && each.getBoundingClientRect().left <= here.left + 4);
  if (to) to.focus();
  return Boolean(to) || ["ArrowLeft", "ArrowRight"].includes(key);
}

// ---- Dark and light ------------------------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];

function theme(chosen) {
  document.documentElement.dataset.theme = chosen;
  const button = document.getElementById("theme");
  button.textContent = {auto: "Auto", light: "Light", dark: "Dark"}[chosen];
  button.title = "Colours: as set in the system, light, or dark";
  button.setAttribute("aria-label", `Colours: ${chosen}. Press for the next of auto, light and dark.`);
  try { localStorage.setItem("decoding-theme", chosen); } catch { /* a page that is opened from disk may have no store */ }
}

function kept() {
  try { return THEMES.includes(localStorage.getItem("decoding-theme")) ? localStorage.getItem("decoding-theme") : "auto"; } catch { return "auto"; }
}

// ---- Beginning -----------------------------------------------------------------------------------------------------

function listen() {
  addEventListener("hashchange", show);
  addEventListener("keydown", keys);
  addEventListener("pointermove", hover, {passive: true});
  addEventListener("pointerdown", event => { if (!event.target.closest(".search")) listing.hidden = true; });
  addEventListener("scroll", hideTip, {passive: true});
  main.addEventListener("focusin", event => {
    const told = event.target.matches(":focus-visible") && event.target.closest("[data-tip]");
    if (told) { const place = told.getBoundingClientRect(); showTip(told.dataset.tip, place.left, place.bottom - 12); }
  });
  main.addEventListener("focusout", hideTip);
  field.addEventListener("input", listHits);
  field.addEventListener("keydown", searchKey);
  document.getElementById("skip").addEventListener("click", () => main.focus());
  document.getElementById("theme").addEventListener("click", () =>
    theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
}

async function begin() {
  theme(kept());
  net = await load("network");
  net.named = new Map();
  net.layers.forEach((layer, i) => i && net.named.set(layer.name, [...(net.named.get(layer.name) || []), i]));
  document.getElementById("home").textContent = brief(net.title, 40);
  listen();
  await show();
}

queueMicrotask(() => begin().catch(error => { main.textContent = error.message; }));
return {take};
})();
