// How much arrives and how late it is seen. Counting is one addition a message; the figures are made once a second.

/** How often the figures are made, in milliseconds. */
const period = 1000;

export class Meters {
  #messages = 0;
  #period_start = performance.now();
  /** Of the readings since the last drawing. */
  #batch = { count: 0, sum: 0, oldest: Infinity };
  /** Of the readings since the last figures. */
  #lags = { count: 0, sum: 0, highest: 0 };
  /** The figures of the last period; lags in milliseconds, `null` where nothing was read. */
  figures = { rate: 0, lag: null, lag_highest: null };

  /** A message arrived. */
  count() {
    this.#messages += 1;
  }

  /** A live reading arrived that its device made at this time. */
  reading(at) {
    this.#batch.count += 1;
    this.#batch.sum += at;
    if (at < this.#batch.oldest) this.#batch.oldest = at;
  }

  /** What arrived since the last drawing is on the screen with this one. Returns whether there are new figures. */
  drawn(now) {
    this.#settle(Date.now());
    const elapsed = now - this.#period_start;
    if (elapsed < period) return false;
    const { count, sum, highest } = this.#lags;
    this.figures = {
      rate: (this.#messages * 1000) / elapsed,
      lag: count === 0 ? null : sum / count,
      lag_highest: count === 0 ? null : highest,
    };
    this.#lags = { count: 0, sum: 0, highest: 0 };
    this.#messages = 0;
    this.#period_start = now;
    return true;
  }

  /** Forgets what arrived while nothing was drawn: a page in the background has no screen to be late on. */
  resume(now) {
    this.#batch = { count: 0, sum: 0, oldest: Infinity };
    this.#messages = 0;
    this.#period_start = now;
  }

  #settle(now) {
    const { count, sum, oldest } = this.#batch;
    if (count === 0) return;
    // The device's clock may be ahead of this one; nothing is seen before it is measured.
    this.#lags.sum += Math.max(0, now * count - sum);
    this.#lags.count += count;
    this.#lags.highest = Math.max(this.#lags.highest, now - oldest);
    this.#batch = { count: 0, sum: 0, oldest: Infinity };
  }
}
