// The last minutes of one metric: a ring of points in time order, thinned so that no rate makes it shorter or dearer to draw.

/** Points that are kept. */
const points_max = 360;

/** At most one point in this many milliseconds; newer readings replace the last point. */
const spacing = 500;

export class History {
  #times = [];
  #values = [];
  #first = 0;

  /** How many points there are. */
  get length() {
    return this.#times.length;
  }

  /** Adds a reading. One that is older than the last is left out: retained and live state may cross. */
  add(time, value) {
    const length = this.#times.length;
    const last = length === 0 ? -1 : (this.#first + length - 1) % length;
    if (last >= 0 && time < this.#times[last]) return;
    const before = length < 2 ? -1 : (this.#first + length - 2) % length;
    if (before >= 0 && time - this.#times[before] < spacing) {
      this.#times[last] = time;
      this.#values[last] = value;
    } else if (length < points_max) {
      this.#times.push(time);
      this.#values.push(value);
    } else {
      this.#times[this.#first] = time;
      this.#values[this.#first] = value;
      this.#first = (this.#first + 1) % length;
    }
  }

  /** The time of a point; 0 is the oldest. */
  time(index) {
    return this.#times[(this.#first + index) % this.#times.length];
  }

  /** The value of a point; 0 is the oldest. */
  value(index) {
    return this.#values[(this.#first + index) % this.#values.length];
  }

  /** The position of the first point that is not older than a time. */
  since(time) {
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.time(middle) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
