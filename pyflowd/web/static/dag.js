// A graph of tasks (parts/dag.html): arrow keys walk its edges, find dims what is not meant, a large one loads the bands
// of ranks that are looked at, and has a map. Without this module it is links in a frame that scrolls.
import { fetchFragment, parsed } from './patch.js';

const LOOK_MS = 120; // after a key, before the graph is searched
const BESIDE_RANKS = 2; // loaded beyond what is seen

function corner(link) {
  const [x, y] = link.firstElementChild.getAttribute('transform').slice(10, -1).split(' ').map(Number);
  return { x, y };
}

function visible(svg) {
  return svg.getClientRects().length > 0;
}

/** Links and lines of one drawing, read when they are needed: bands come and go. */
function graphOf(svg) {
  const boxes = new Map([...svg.querySelectorAll('a[data-task]')].map((link) => [link.dataset.task, link]));
  const lines = [...svg.querySelectorAll('.l[data-from]')];
  return { boxes, lines };
}

// ---- Arrow keys

function walk(svg, link, key) {
  const across = svg.classList.contains('across');
  const forward = across ? 'ArrowRight' : 'ArrowDown';
  const back = across ? 'ArrowLeft' : 'ArrowUp';
  const { boxes, lines } = graphOf(svg);
  const here = link.dataset.task;
  const at = corner(link);
  let found = [];
  if (key === forward) found = lines.filter((line) => line.dataset.from === here).map((line) => line.dataset.to);
  else if (key === back) found = lines.filter((line) => line.dataset.to === here).map((line) => line.dataset.from);
  else {
    const [depth, along] = across ? ['x', 'y'] : ['y', 'x'];
    const sign = key === 'ArrowRight' || key === 'ArrowDown' ? 1 : -1;
    const beside = [...boxes].map(([task, each]) => ({ task, ...corner(each) }))
      .filter((each) => each[depth] === at[depth] && (each[along] - at[along]) * sign > 0)
      .sort((a, b) => (a[along] - b[along]) * sign);
    found = beside.slice(0, 1).map((each) => each.task);
  }
  const near = found.map((task) => boxes.get(task)).filter(Boolean)
    .sort((a, b) => distance(corner(a), at) - distance(corner(b), at))[0];
  near?.focus();
  near?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  return Boolean(near);
}

function distance(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

// ---- Find

class Look {
  constructor(frame, input, told, bands) {
    Object.assign(this, { frame, input, told, bands, hits: [], at: -1, timer: 0 });
    input.addEventListener('input', () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.find(), LOOK_MS);
    });
    input.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') {
        event.preventDefault();
        this.step(event.shiftKey ? -1 : 1);
      } else if (event.key === 'Escape') {
        input.value = '';
        this.find();
      }
    });
  }

  /** [key, names, x, y, needs] of every box: of a large graph from the server, once. */
  async places() {
    if (this.known) return this.known;
    if (this.bands) this.known = await this.bands.places();
    else {
      const svg = [...this.frame.querySelectorAll('svg')].find(visible);
      const { boxes, lines } = graphOf(svg);
      this.known = [...boxes].map(([key, link]) => {
        const names = [key, link.getAttribute('aria-label') ?? ''];
        return [key, names, corner(link).x, corner(link).y, lines.filter((l) => l.dataset.to === key).map((l) => l.dataset.from)];
      });
    }
    return this.known;
  }

  async find() {
    const asked = this.input.value.trim().toLowerCase();
    if (!asked) {
      this.hits = [];
      this.show(null);
      return;
    }
    const all = await this.places();
    this.hits = all.filter(([, names]) => names.some((name) => name.toLowerCase().includes(asked)));
    this.at = -1;
    this.show(new Set(this.hits.map(([key]) => key)), all);
    if (this.hits.length) this.step(1);
  }

  /** Hits, and what leads to them or comes of them, at full strength. */
  show(hits, all = []) {
    this.near = hits && reach(hits, all);
    this.wanted = hits;
    this.told.textContent = hits ? `${hits.size} found` : '';
    this.paint();
  }

  paint() {
    for (const svg of this.frame.querySelectorAll('svg')) {
      svg.classList.toggle('finding', Boolean(this.wanted));
      const { boxes, lines } = graphOf(svg);
      const current = this.hits[this.at]?.[0];
      for (const [task, link] of boxes) {
        link.classList.toggle('hit', Boolean(this.wanted?.has(task)));
        link.classList.toggle('near', Boolean(this.near?.has(task)));
        link.classList.toggle('at', task === current);
      }
      for (const line of lines) {
        line.classList.toggle('near', Boolean(this.near?.has(line.dataset.from) && this.near.has(line.dataset.to)));
      }
    }
  }

  step(by) {
    if (!this.hits.length) return;
    this.at = (this.at + by + this.hits.length) % this.hits.length;
    const [, , x, y] = this.hits[this.at];
    centre(this.frame, x, y);
    this.told.textContent = `${this.at + 1} of ${this.hits.length}`;
    this.paint();
  }
}

function reach(hits, all) {
  const up = new Map(all.map(([key, , , , needs]) => [key, needs]));
  const down = new Map();
  for (const [key, , , , needs] of all) for (const need of needs) down.set(need, [...(down.get(need) ?? []), key]);
  const found = new Set(hits);
  for (const next of [up, down]) {
    const open = [...hits];
    const seen = new Set(hits);
    while (open.length) {
      for (const key of next.get(open.pop()) ?? []) {
        if (seen.has(key)) continue;
        seen.add(key);
        found.add(key);
        open.push(key);
      }
    }
  }
  return found;
}

function centre(frame, x, y) {
  frame.scrollTo({ left: x - frame.clientWidth / 2 + 80, top: y - frame.clientHeight / 2 + 30 });
}

// ---- A large graph

class Bands {
  constructor(frame, svg) {
    Object.assign(this, { frame, svg, loading: new Set() });
    this.count = Number(svg.dataset.bands);
    this.size = Number(svg.dataset.bandPx);
    this.across = svg.dataset.across === '1';
    this.here = new Set(svg.dataset.sent.split(' ').map(Number));
    frame.addEventListener('scroll', () => this.soon(), { passive: true });
    addEventListener('resize', () => this.soon());
    const link = svg.querySelector('a[aria-current]');
    const first = Math.min(...this.here);
    if (link) centre(frame, corner(link).x, corner(link).y);
    else this.begin(first);
    this.look();
    document.addEventListener('pyflow:events', ({ detail }) => {
      if (detail.some((event) => String(event.run) === this.of())) this.again();
    });
  }

  /** At the first rank that is here, in its middle. */
  begin(first) {
    const at = [...this.svg.querySelectorAll('a[data-task]')].map(corner);
    const along = this.across ? 'y' : 'x';
    const depth = Math.min(...at.map((each) => each[this.across ? 'x' : 'y']));
    const places = at.filter((each) => each[this.across ? 'x' : 'y'] === depth).map((each) => each[along]);
    const middle = (Math.min(...places) + Math.max(...places)) / 2;
    if (this.across) this.frame.scrollTo({ left: first * this.size, top: middle - this.frame.clientHeight / 2 });
    else this.frame.scrollTo({ left: middle - this.frame.clientWidth / 2, top: first * this.size });
  }

  of() {
    return decodeURIComponent(this.svg.dataset.bandsOf.split('/').pop());
  }

  address(band) {
    const query = new URLSearchParams(location.search);
    query.set('band', band);
    return `${this.svg.dataset.bandsOf}?${query}`;
  }

  async places() {
    const answer = await fetch(`${this.svg.dataset.bandsOf}/places${location.search}`, { redirect: 'error' });
    return answer.ok ? answer.json() : [];
  }

  soon() {
    if (this.frameAsked) return;
    this.frameAsked = requestAnimationFrame(() => {
      this.frameAsked = 0;
      this.look();
    });
  }

  /** The first and the last band of what is seen, and two ranks more on either side. */
  seen() {
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.frame;
    const beside = (this.size / 6) * BESIDE_RANKS;
    const from = (this.across ? scrollLeft : scrollTop) - beside;
    const to = (this.across ? scrollLeft + clientWidth : scrollTop + clientHeight) + beside;
    return [Math.max(0, Math.floor(from / this.size)), Math.min(this.count - 1, Math.floor(to / this.size))];
  }

  look() {
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.frame;
    const [first, last] = this.seen();
    for (let band = first; band <= last; band += 1) this.load(band);
    const eye = mapOf(this.frame)?.querySelector('.eye');
    if (!eye) return;
    const place = { x: scrollLeft, y: scrollTop, width: Math.min(clientWidth, this.svg.clientWidth), height: Math.min(clientHeight, this.svg.clientHeight) };
    for (const [name, value] of Object.entries(place)) eye.setAttribute(name, value);
  }

  async load(band, fresh = false) {
    if (this.loading.has(band) || (this.here.has(band) && !fresh)) return;
    this.loading.add(band);
    try {
      const found = parsed(await fetchFragment(this.address(band))).querySelector('svg');
      if (found) this.take(found);
      this.here.add(band);
    } catch (error) {
      if (error.status === undefined) throw error;
    } finally {
      this.loading.delete(band);
    }
  }

  take(found) {
    if (found.getAttribute('viewBox') !== this.svg.getAttribute('viewBox')) this.clear(found); // other folds
    for (const part of ['.lines', '.boxes']) {
      const into = this.svg.querySelector(part);
      for (const each of found.querySelector(part).children) {
        const old = document.getElementById(each.id);
        const fresh = document.importNode(each, true);
        if (!old) into.append(fresh);
        else if (!old.isEqualNode(fresh)) old.replaceWith(fresh);
      }
    }
    this.taken?.();
  }

  /** The picture is another one: nothing of the old stays. */
  clear(found) {
    for (const name of ['viewBox', 'width', 'height']) this.svg.setAttribute(name, found.getAttribute(name));
    for (const part of ['.lines', '.boxes']) this.svg.querySelector(part).replaceChildren();
    this.count = Number(found.dataset.bands);
    this.here.clear();
    this.soon();
  }

  /** States have changed: what is seen is fetched anew, at most once a second. */
  again() {
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      const [first, last] = this.seen();
      const beyond = [...this.here].filter((band) => band < first || band > last);
      for (const band of beyond) this.here.delete(band); // fetched again when they are looked at
      for (let band = first; band <= last; band += 1) this.load(band, true);
    }, 1000);
  }
}

// ---- Start

function mapOf(frame) {
  return frame.closest('.panel, main')?.querySelector('.dagmap svg');
}

/** A click on the map goes there. The map is drawn anew with every change, so its place is asked for each time. */
function followMap(frame) {
  frame.closest('.panel, main')?.addEventListener('click', (event) => {
    const map = mapOf(frame);
    if (!map?.contains(event.target)) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    frame.scrollTo({ left: at.x - frame.clientWidth / 2, top: at.y - frame.clientHeight / 2 });
  });
}

function start(frame) {
  const large = frame.querySelector('svg[data-bands-of]');
  const bands = large && new Bands(frame, large);
  if (bands) followMap(frame);
  frame.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const link = event.target.closest('a[data-task]');
    if (link && event.key.startsWith('Arrow') && walk(link.ownerSVGElement, link, event.key)) event.preventDefault();
  });
  const bar = frame.closest('.panel, main')?.querySelector('.daglook');
  const told = bar?.parentElement.querySelector('[data-found]');
  const look = bar && new Look(frame, bar.querySelector('input'), told, bands);
  if (bar) bar.hidden = false;
  if (bands && look) bands.taken = () => look.paint();
  // A part that came anew is as the server draws it: without what this module has added.
  document.addEventListener('pyflow:patched', (event) => {
    if (!event.target.contains(frame)) return;
    if (bar) bar.hidden = false;
    look?.paint();
    bands?.soon();
    bands?.again();
  });
  if (!look) return;
  frame.addEventListener('keydown', (event) => {
    if (event.key !== '/') return;
    event.preventDefault();
    look.input.focus();
  });
}

for (const frame of document.querySelectorAll('[data-dag]')) start(frame);
