// The log of one attempt: paging, following, finding. Works on what the server drew: rows with `id="L123"`, gap rows with
// `data-first` and `data-until`. Blocks come from /fragment/log/ and never stand for more than BLOCKS_MAX in the
// document; what is on the screen never moves but by the reader's hand, or while the log is followed.
import { FragmentError, fetchFragment, parsed } from './patch.js';

const BLOCK = 200;
const BLOCKS_MAX = 40;
const POLL_MS = 1000;
const HITS_MAX = 10_000;
const SETTLE_MS = 150;

class Log {
  constructor(box) {
    this.box = box;
    this.list = box.querySelector('ol');
    this.tools = box.closest('.panel').querySelector('[data-tools]');
    this.hitsWord = box.closest('.panel').querySelector('[data-hits]');
    this.total = Number(box.dataset.total);
    this.live = 'live' in box.dataset;
    this.unfinished = 'unfinished' in box.dataset;
    this.loading = new Set();
    this.hits = [];
    this.hit = -1;
    this.wanted = '';
    this.fresh = 0;
    this.following = this.live;
    this.watch = new IntersectionObserver((seen) => this.#seen(seen), { root: box, rootMargin: '200px 0px' });
    for (const row of this.#gaps()) this.watch.observe(row);
  }

  // ---- Addresses

  #query(more) {
    const query = new URLSearchParams(more);
    if (this.box.dataset.item !== undefined) query.set('item', this.box.dataset.item);
    return query;
  }

  #block(more) {
    const { run, task, attempt, sinceUs } = this.box.dataset;
    const query = this.#query({ ...more, since: sinceUs });
    if (this.wanted) query.set('q', this.wanted);
    return `/fragment/log/${run}/${encodeURIComponent(task)}/${attempt}?${query}`;
  }

  // ---- Paging

  #gaps() {
    return this.list.querySelectorAll('li[data-until]');
  }

  #seen(entries) {
    for (const { isIntersecting, target } of entries) if (isIntersecting) this.#fill(target);
  }

  /** Put lines in the place of a gap: those next to what is read. */
  async #fill(gap) {
    if (this.loading.has(gap) || !gap.isConnected) return;
    this.loading.add(gap);
    const [first, until] = [Number(gap.dataset.first), Number(gap.dataset.until)];
    const waits = setTimeout(() => {
      gap.lastElementChild.textContent = `Loading lines ${first.toLocaleString('en')} to ${(until - 1).toLocaleString('en')}`;
    }, 300);
    // From above, the reader comes to its end first: what was passed lies below.
    const upwards = gap.offsetTop < this.box.scrollTop + this.box.clientHeight / 2 && this.#lineAfter(gap);
    const ask = upwards && gap.previousElementSibling === null ? { last: '' } : upwards && until - first > BLOCK ? { last: '' } : {};
    try {
      const found = await this.#rows({ from: first, to: until, ...ask });
      // What the reader came from stays where it is, even where the gap is on the screen by now.
      const stays = upwards ? gap.nextElementSibling : gap.previousElementSibling;
      if (gap.isConnected) this.#replace(gap, found, stays);
    } catch (error) {
      if (!(error instanceof FragmentError)) throw error;
      gap.lastElementChild.textContent = `Lines ${first} to ${until - 1} did not come: ${error.message}`;
    } finally {
      clearTimeout(waits);
      this.loading.delete(gap);
    }
  }

  #lineAfter(row) {
    return row.nextElementSibling?.id.startsWith('L') ?? false;
  }

  async #rows(ask) {
    const list = parsed(await fetchFragment(this.#block(ask))).querySelector('ol');
    return { rows: [...list.children].map((row) => document.importNode(row, true)), ...list.dataset };
  }

  /** Swap a row for others, and keep what is on the screen where it is. */
  #replace(old, { rows }, stays = null) {
    const anchor = stays?.id ? stays : this.#firstVisible(old);
    const before = anchor?.getBoundingClientRect().top;
    this.watch.unobserve(old);
    old.replaceWith(...rows);
    if (anchor?.isConnected) this.box.scrollTop += anchor.getBoundingClientRect().top - before;
    for (const row of rows) if (row.dataset.until) this.watch.observe(row);
    this.#evict();
  }

  /** The first line on the screen that stays: `but` goes. */
  #firstVisible(but) {
    const top = this.box.getBoundingClientRect().top;
    return [...this.list.children].find((row) => row !== but && row.id && row.getBoundingClientRect().bottom > top);
  }

  /** Lines farthest from the screen become a gap of their height again; not while something in them is selected. */
  #evict() {
    const lines = this.list.querySelectorAll('li[id]');
    if (lines.length <= BLOCKS_MAX * BLOCK || !getSelection().isCollapsed) return;
    const shown = this.#firstVisible(null);
    const at = [...lines].indexOf(shown);
    const far = at > lines.length / 2 ? [...lines].slice(0, BLOCK) : [...lines].slice(-2 * BLOCK, -BLOCK);
    const runs = [];
    for (const line of far) {
      if (runs.length && line.previousElementSibling === runs.at(-1).at(-1)) runs.at(-1).push(line);
      else runs.push([line]);
    }
    for (const run of runs) this.#fold(run);
  }

  #fold(run) {
    const anchor = this.#firstVisible(null);
    const before = anchor?.getBoundingClientRect().top;
    let first = Number(run[0].id.slice(1));
    let until = Number(run.at(-1).id.slice(1)) + 1;
    const above = run[0].previousElementSibling;
    const below = run.at(-1).nextElementSibling;
    if (above?.dataset.until) {
      first = Number(above.dataset.first);
      above.remove();
    }
    if (below?.dataset.until) {
      until = Number(below.dataset.until);
      below.remove();
    }
    const gap = document.createElement('li');
    gap.className = 'skip-l';
    gap.dataset.first = first;
    gap.dataset.until = until;
    const word = document.createElement('span');
    word.textContent = `${(until - first).toLocaleString('en')} lines between`;
    gap.append(document.createElement('span'), word);
    run[0].before(gap);
    for (const line of run) line.remove();
    if (anchor?.isConnected) this.box.scrollTop += anchor.getBoundingClientRect().top - before;
    this.watch.observe(gap);
  }

  /** Bring a line to the screen, with what is around it. */
  async show(number, mark = true) {
    let line = this.line(number);
    if (!line) {
      const gap = [...this.#gaps()].find((row) => Number(row.dataset.first) <= number && number < Number(row.dataset.until));
      if (!gap) return null;
      this.watch.unobserve(gap);
      const [first, until] = [Number(gap.dataset.first), Number(gap.dataset.until)];
      const begin = Math.max(first, number - 20);
      const found = await this.#rows({ from: begin, to: until });
      if (!gap.isConnected) return this.line(number);
      if (begin > first) {
        const rest = gap.cloneNode(true);
        rest.dataset.until = begin;
        rest.lastElementChild.textContent = `${(begin - first).toLocaleString('en')} lines between`;
        gap.before(rest);
        this.watch.observe(rest);
      }
      this.#replace(gap, found);
      line = this.line(number);
    }
    if (!line) return null;
    this.box.scrollTop = line.offsetTop - this.list.offsetTop - this.box.clientHeight / 3;
    if (mark) this.select(number, number);
    return line;
  }

  line(number) {
    return this.list.querySelector(`#L${number}`);
  }

  // ---- Following

  atEnd() {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 24;
  }

  async poll() {
    const first = this.unfinished ? this.total : this.total + 1;
    const found = await this.#rows({ from: Math.max(1, first) });
    const total = Number(found.total);
    const came = total - this.total;
    if (found.rows.length && (came > 0 || this.unfinished)) this.#append(found, first);
    this.total = Math.max(this.total, Number(found.after) - 1);
    this.unfinished = 'unfinished' in found;
    this.live = 'live' in found;
    this.#size(found);
    return came > BLOCK;
  }

  #append({ rows }, first) {
    this.list.querySelector('.empty')?.remove();
    this.line(first)?.remove(); // it was not whole
    if (this.following) {
      this.list.append(...rows);
      this.#trimHead();
      this.box.scrollTop = this.box.scrollHeight;
    } else {
      this.list.append(...rows);
      this.fresh += rows.filter((row) => row.id).length;
    }
    this.#say();
  }

  /** A log that is followed for days keeps its length. */
  #trimHead() {
    this.#evict();
  }

  #size({ size }) {
    const word = this.box.closest('.panel').querySelector('[data-log-size]');
    if (!word || !size) return;
    word.textContent = `${this.total.toLocaleString('en')} ${this.total === 1 ? 'line' : 'lines'}, ${size}${this.live ? '' : ', complete'}`;
  }

  follow(on) {
    this.following = on;
    if (on) {
      this.fresh = 0;
      this.box.scrollTop = this.box.scrollHeight;
    }
    this.#say();
  }

  #say() {
    this.followButton?.setAttribute('aria-pressed', String(this.following));
    if (!this.newButton) return;
    this.newButton.hidden = this.following || !this.fresh;
    this.newButton.textContent = `${this.fresh.toLocaleString('en')} new ${this.fresh === 1 ? 'line' : 'lines'}`;
  }

  async run() {
    let wait = POLL_MS;
    while (this.live && this.box.isConnected) {
      await new Promise((done) => setTimeout(done, wait));
      if (document.hidden) continue;
      try {
        wait = (await this.poll()) ? 100 : POLL_MS; // at most ten patches a second
      } catch (error) {
        if (!(error instanceof FragmentError)) throw error;
        if (error.status === 401) return;
        wait = Math.min(10_000, wait * 2);
      }
    }
    const end = this.box.parentElement.closest('.panel').querySelector('[data-log-end]');
    if (end && !this.live) end.textContent = 'End of log.';
    this.followButton?.remove();
  }

  // ---- Finding

  async find(text) {
    this.search?.abort();
    this.search = new AbortController();
    this.wanted = text;
    this.hits = [];
    this.hit = -1;
    if (!text) {
      this.hitsWord.textContent = '';
      this.#mark();
      this.#ticks();
      return;
    }
    const { run, task } = this.box.dataset;
    const path = `/fragment/search/${run}/${encodeURIComponent(task)}?${this.#query({ q: text })}`;
    let response;
    try {
      response = await fetch(path, { credentials: 'same-origin', redirect: 'error', signal: this.search.signal });
    } catch (error) {
      if (error.name !== 'AbortError') this.hitsWord.textContent = 'the server does not answer';
      return;
    }
    if (!response.ok) {
      this.hitsWord.textContent = (await response.text()).trim();
      return;
    }
    await this.#take(response, text);
  }

  async #take(response, text) {
    const own = Number(this.box.dataset.attempt);
    let others = 0;
    let rest = '';
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
        const lines = (rest + value).split('\n');
        rest = lines.pop();
        for (const line of lines) {
          const told = JSON.parse(line);
          if (!Array.isArray(told)) this.#found(others, told.stopped);
          else if (told[0] === own) this.hits.push(...told[1]);
          else others += told[1].length;
        }
        if (this.hit < 0 && this.hits.length) await this.walk(1);
        this.#found(others, '', !rest);
      }
    } catch (error) {
      if (error.name !== 'AbortError') throw error;
      return;
    }
    if (this.wanted === text) this.#mark();
    this.#ticks();
  }

  #found(others, stopped = null) {
    const all = this.hits.length + others;
    const where = this.hits.length ? `${(this.hit + 1).toLocaleString('en')} of ${this.hits.length.toLocaleString('en')} here` : 'none here';
    const more = others ? `, ${others.toLocaleString('en')} in other attempts` : '';
    const why = { hits: `; stopped at ${HITS_MAX.toLocaleString('en')}`, time: '; stopped: the time was over' }[stopped] ?? '';
    this.hitsWord.textContent = all ? `${where}${more}${why}` : stopped === null ? '' : 'not found in any attempt';
    this.others = others;
  }

  async walk(by) {
    const places = this.hits.length ? this.hits : this.errors();
    if (!places.length) return;
    this.follow(false);
    this.hit = (this.hit + by + places.length) % places.length;
    await this.show(places[this.hit]);
    this.#mark();
    if (this.hits.length) this.#found(this.others ?? 0, '');
  }

  errors() {
    return [...this.list.querySelectorAll('li.err[id]')].map((row) => Number(row.id.slice(1)));
  }

  /** Marks what is looked for in the lines that are there; by text alone. */
  #mark() {
    for (const mark of this.list.querySelectorAll('mark')) mark.replaceWith(...mark.childNodes);
    this.list.normalize();
    if (!this.wanted) return;
    const fold = this.wanted === this.wanted.toLowerCase() ? (text) => text.replace(/[A-Z]/g, (one) => one.toLowerCase()) : (text) => text;
    const walker = document.createTreeWalker(this.list, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (node.parentElement.closest('a, i, .skip-l')) continue;
      if (fold(node.data).includes(this.wanted)) found.push(node);
    }
    for (let node of found) {
      for (let at = fold(node.data).indexOf(this.wanted); at >= 0; at = fold(node.data).indexOf(this.wanted)) {
        const hit = node.splitText(at);
        const after = hit.splitText(this.wanted.length);
        const mark = document.createElement('mark');
        hit.replaceWith(mark);
        mark.append(hit);
        node = after;
      }
    }
  }

  /** Where hits are in the whole log, at the right edge; the first error is the red one. */
  #ticks() {
    const places = this.hits.slice(0, 1000);
    const error = Number(this.box.dataset.error);
    this.ticks?.remove();
    if (!places.length && !error) return;
    const space = 'http://www.w3.org/2000/svg';
    this.ticks = document.createElementNS(space, 'svg');
    this.ticks.setAttribute('class', 'logticks');
    this.ticks.setAttribute('aria-hidden', 'true');
    const tick = (line, name) => {
      const mark = document.createElementNS(space, 'rect');
      mark.setAttribute('y', `${((line - 1) / Math.max(1, this.total)) * 99}%`);
      mark.setAttribute('width', '6');
      mark.setAttribute('height', '2');
      if (name) mark.setAttribute('class', name);
      this.ticks.append(mark);
    };
    for (const line of places) tick(line);
    if (error) tick(error, 'first-e');
    this.box.parentElement.append(this.ticks);
  }

  // ---- Selecting lines

  select(first, last) {
    for (const row of this.list.querySelectorAll('.here')) row.classList.remove('here');
    for (let number = first; number <= last; number += 1) this.line(number)?.classList.add('here');
    this.selected = first;
  }

  // ---- The bar

  start() {
    const wrapped = document.createElement('div');
    wrapped.className = 'logbox';
    this.box.before(wrapped);
    wrapped.append(this.box);
    this.#toggle('Wrap', 'w', true, (on) => this.box.classList.toggle('nowrap', !on));
    this.#toggle('Times', '', true, (on) => this.box.classList.toggle('notimes', !on));
    this.#button('Next error', 'n', () => this.walk(1));
    this.#button('Previous', 'p', () => this.walk(-1));
    if (this.live) {
      this.followButton = this.#toggle('Follow', 'f', this.following, (on) => this.follow(on));
      this.newButton = document.createElement('button');
      this.newButton.type = 'button';
      this.newButton.className = 'lognew';
      this.newButton.hidden = true;
      this.newButton.addEventListener('click', () => this.follow(true));
      wrapped.append(this.newButton);
    }
    this.#listen();
    this.#ticks();
    this.#open();
    this.run();
  }

  #open() {
    const named = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
    if (named) {
      this.following = false;
      this.show(Number(named[1]), false).then(() => this.select(Number(named[1]), Math.min(Number(named[2] ?? named[1]), Number(named[1]) + 5000)));
    } else if (Number(this.box.dataset.open) && !this.live) {
      const line = this.line(this.box.dataset.open);
      if (line) this.box.scrollTop = line.offsetTop - this.list.offsetTop - 6 * 19;
    } else this.box.scrollTop = this.box.scrollHeight;
    const asked = new URLSearchParams(location.search).get('q');
    if (asked) this.find(asked);
    this.#say();
  }

  #listen() {
    let last = this.box.scrollTop;
    this.box.addEventListener('scroll', () => {
      if (this.box.scrollTop < last - 2 && this.following && !this.atEnd()) this.follow(false);
      last = this.box.scrollTop;
    });
    this.box.addEventListener('wheel', (event) => {
      if (event.deltaY < 0 && this.following) this.follow(false);
    }, { passive: true });
    document.addEventListener('selectionchange', () => {
      if (this.following && !getSelection().isCollapsed && this.box.contains(getSelection().anchorNode)) this.follow(false);
    });
    this.list.addEventListener('click', (event) => {
      const link = event.target.closest('li[id] > a');
      const clock = event.target.closest('li > i[data-us]');
      if (clock) return this.#clock();
      if (!link) return undefined;
      event.preventDefault();
      const number = Number(link.parentElement.id.slice(1));
      const [first, until] = event.shiftKey && this.selected ? [this.selected, number].sort((a, b) => a - b) : [number, number];
      this.select(first, until);
      history.replaceState(null, '', first === until ? `#L${first}` : `#L${first}-L${until}`);
      return undefined;
    });
    addEventListener('hashchange', () => this.#open());
    const form = this.box.closest('.panel').querySelector('.logbar form');
    let timer = 0;
    form?.addEventListener('submit', (event) => {
      event.preventDefault();
      this.find(form.elements.q.value);
    });
    form?.elements.q.addEventListener('input', () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.find(form.elements.q.value), SETTLE_MS);
    });
    form?.elements.q.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && this.hits.length && form.elements.q.value === this.wanted) {
        event.preventDefault();
        this.walk(event.shiftKey ? -1 : 1);
      }
    });
  }

  /** Between the time since the attempt began and the time of day. */
  #clock() {
    this.clockTimes = !this.clockTimes;
    for (const cell of this.list.querySelectorAll('i[data-us]')) {
      cell.dataset.other ??= new Date(Number(cell.dataset.us) / 1000).toLocaleTimeString('en-GB');
      const text = cell.textContent;
      cell.textContent = cell.dataset.other;
      cell.dataset.other = text;
    }
  }

  #button(word, key, act) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = word;
    if (key) button.dataset.hotkey = key;
    button.addEventListener('click', act);
    this.tools.append(button);
    return button;
  }

  #toggle(word, key, on, act) {
    const button = this.#button(word, key, () => {
      const now = button.getAttribute('aria-pressed') !== 'true';
      button.setAttribute('aria-pressed', String(now));
      act(now);
    });
    button.setAttribute('aria-pressed', String(on));
    return button;
  }
}

for (const box of document.querySelectorAll('[data-log]')) new Log(box).start();
