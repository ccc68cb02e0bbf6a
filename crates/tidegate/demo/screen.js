// When the page draws: with the screen's frames, but no more often than people can read, and never for more than a part of the time. What
// drawing costs depends on the machine; messages have to be read on every machine, so they come first.

/** Between two drawings, in milliseconds, however cheap they are. */
const interval_min = 100;

/** However dear they are. */
const interval_max = 1000;

/** Drawing may take one part of the time in so many. */
const parts = 4;

/** Calls `draw(now)` again and again, each time in an animation frame. */
export function start_drawing(draw) {
  const after = new MessageChannel();
  let started = -Infinity;
  let interval = interval_min;
  // A message that is sent while drawing arrives behind the browser's own part of the frame: style, layout and paint.
  after.port1.onmessage = () => {
    const cost = performance.now() - started;
    interval = Math.min(interval_max, Math.max(interval_min, cost * parts));
  };
  const frame = (now) => {
    if (now - started >= interval) {
      started = now;
      draw(now);
      after.port2.postMessage(null);
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}
