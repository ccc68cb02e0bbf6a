// Lines on a canvas: a bare one for a tile, one with axis and limits for a card. Both draw a history and keep nothing.

import * as format from "./format.js";

/** The colours of the theme as a canvas takes them. */
export function colours(element) {
  const style = getComputedStyle(element);
  const names = ["ink", "muted", "line", "accent", "warning", "alarm", "lost"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
}

/** The sizes of canvases as they were laid out last. To ask a canvas itself, while the page changes, would lay the page out each time. */
const sizes = new WeakMap();
const observer = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) sizes.set(target, contentRect);
});

/** A canvas that can be drawn on from its first layout on. */
export function make_canvas() {
  const canvas = document.createElement("canvas");
  observer.observe(canvas);
  return canvas;
}

/** A 2D context whose unit is a CSS pixel, cleared; `null` while the canvas has no size. */
function prepare(canvas) {
  const { width, height } = sizes.get(canvas) ?? { width: 0, height: 0 };
  if (width === 0 || height === 0) return null;
  const scale = devicePixelRatio;
  const [across, down] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** The lowest and highest value from a point on, with a tenth of air around them. */
function bounds(history, first) {
  let [low, high] = [Infinity, -Infinity];
  for (let index = first; index < history.length; index += 1) {
    const value = history.value(index);
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const air = Math.max((high - low) * 0.1, Math.abs(high) * 0.01, 0.01);
  return [low - air, high + air];
}

function trace(context, history, first, x, y) {
  context.beginPath();
  for (let index = first; index < history.length; index += 1) {
    context.lineTo(x(history.time(index)), y(history.value(index)));
  }
}

/** A bare line of the last `span` milliseconds. */
export function spark(canvas, history, now, span, colour) {
  const drawing = prepare(canvas);
  if (drawing === null) return;
  const { context, width, height } = drawing;
  const first = Math.max(0, history.since(now - span) - 1);
  if (history.length - first < 2) return;
  const [low, high] = bounds(history, first);
  trace(context, history, first, (time) => width * (1 - (now - time) / span), (value) => 1 + (height - 2) * (1 - (value - low) / (high - low)));
  context.strokeStyle = colour;
  context.lineWidth = 1.25;
  context.lineJoin = "round";
  context.stroke();
}

/** A step between grid lines that reads well: 1, 2 or 5 of some power of ten. */
function grid_step(range, lines) {
  const raw = range / lines;
  const power = 10 ** Math.floor(Math.log10(raw));
  const factor = raw / power;
  return power * (factor > 5 ? 10 : factor > 2 ? 5 : factor > 1 ? 2 : 1);
}

const axis_width = 38;
const axis_height = 16;

/** The time that a place on a chart stands for. */
export function time_at(canvas, x, now, span) {
  const width = (sizes.get(canvas)?.width ?? axis_width) - axis_width;
  return now - span * (1 - (x - axis_width) / width);
}

/** A line of the last `span` milliseconds with grid and limits; `marked` is a point to point at, or -1. */
export function chart(canvas, { history, warning, alarm }, now, span, palette, marked) {
  const drawing = prepare(canvas);
  if (drawing === null) return;
  const { context, width, height } = drawing;
  const first = Math.max(0, history.since(now - span) - 1);
  if (history.length - first < 1) return;
  const [low, high] = bounds(history, first);
  const x = (time) => axis_width + (width - axis_width - 4) * (1 - (now - time) / span);
  const y = (value) => 4 + (height - axis_height - 8) * (1 - (value - low) / (high - low));

  context.font = "11px system-ui, sans-serif";
  draw_grid(context, { low, high, x, y, width, height, now, span, palette });
  context.save();
  context.beginPath();
  context.rect(axis_width, 0, width - axis_width, height - axis_height);
  context.clip();
  draw_limit(context, warning, palette.warning, { y, width });
  draw_limit(context, alarm, palette.alarm, { y, width });
  trace(context, history, first, x, y);
  context.strokeStyle = palette.accent;
  context.lineWidth = 1.75;
  context.lineJoin = "round";
  context.stroke();
  const pointed = marked >= first && marked < history.length ? marked : history.length - 1;
  context.beginPath();
  context.arc(x(history.time(pointed)), y(history.value(pointed)), 3, 0, 2 * Math.PI);
  context.fillStyle = palette.accent;
  context.fill();
  context.restore();
}

function draw_grid(context, { low, high, x, y, width, height, now, span, palette }) {
  context.fillStyle = palette.muted;
  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const step = grid_step(high - low, 3);
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    context.beginPath();
    context.moveTo(axis_width, Math.round(y(value)) + 0.5);
    context.lineTo(width, Math.round(y(value)) + 0.5);
    context.stroke();
    context.fillText(step >= 1 ? String(Math.round(value)) : value.toFixed(step >= 0.1 ? 1 : 2), axis_width - 6, y(value));
  }
  context.textBaseline = "alphabetic";
  for (const part of [1, 2 / 3, 1 / 3, 0]) {
    context.textAlign = part === 1 ? "left" : part === 0 ? "right" : "center";
    const words = part === 0 ? "now" : `−${format.span(span * part)}`;
    context.fillText(words, x(now - span * part), height - 3);
  }
}

function draw_limit(context, limit, colour, { y, width }) {
  if (!Number.isFinite(limit)) return;
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.setLineDash([4, 4]);
  context.beginPath();
  context.moveTo(axis_width, y(limit));
  context.lineTo(width, y(limit));
  context.stroke();
  context.setLineDash([]);
}
