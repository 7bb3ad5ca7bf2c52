// Live pages. What a page owner writes, and nothing more:
//
//   <section data-fragment="/fragment/runs/7/tasks?task=dump" data-topics="run:7"> ... </section>
//
// The fragment's answer is the same partial that the page draws inside the element, or with the element itself around
// it. It is fetched anew, at most twice a second, when an event of one of its topics comes: `host` (everything),
// `run:ID`, `workflow:NAME` (with its runs); several are parted by spaces. With `data-every="60"` it is fetched as often
// as that many seconds, too (what comes without an event: coming slots); with `data-pause="3"` not more often than each
// so many seconds (a large part). patch.js changes only what differs: give rows an
// id or `data-key`; a list with `data-hold` keeps its order and offers what came as "3 new"; what is inside
// `data-keep` is left alone. `data-at="US"` and `data-since="US"` are kept true by times.js.
// What has `data-answers` and is hidden is shown as soon as the daemon answers.
// A module may listen: document.addEventListener('pyflow:events', ({detail}) => ...) with the events' facts, and
// 'pyflow:patched' (bubbles from the element) after a part has changed.
//
// One EventSource per page. A hidden page closes its stream after a minute, or as soon as another page opens one (a
// browser has six connections for all pages), and catches up when it is shown again.
import { fetchFragment, patch } from './patch.js';
import { nowUs, refreshTimes, say, setNow } from './times.js';

const HIDDEN_MS = 60_000;
const PAUSE_MS = 500; // between two fetches of one part
const SHARED_MS = 1100; // a little more than AGE_S of shared.py
const SILENCE_MS = 25_000; // the server beats every 10 s
const RETRY_MS = [1000, 2000, 5000, 10_000];

let mark = null;
let stream = null;
let last = ''; // number of the newest event that this page knows
let hiddenTimer = 0;
let silenceTimer = 0;
let failures = 0;
let ended = false;
const others = new BroadcastChannel('pyflow-live');
const parts = new Map(); // element -> {timer, fetching, again, fetchedMs}

// ---- The mark in the page's head

/** `live`, `lost` (with what is wrong), `off`. Speaks only of what changes. */
function show(state, word) {
  mark.dataset.state = state;
  say(mark.querySelector('[data-word]'), word);
  const clock = mark.querySelector('time');
  if (state === 'live') delete clock.dataset.stopped;
  else clock.dataset.stopped = 'yes';
}

function lost(why = '') {
  if (ended) return;
  show('lost', 'Reconnecting, as of');
  mark.title = why;
}

function end() {
  ended = true;
  stop();
  show('off', 'Not live: reload, as of');
}

// ---- Parts of the page

function topicsOf(element) {
  return (element.dataset.topics ?? '').split(/\s+/).filter((topic) => /^(host|run:\d+|workflow:.+)$/.test(topic));
}

function allTopics() {
  const found = new Set();
  for (const each of document.querySelectorAll('[data-topics]')) for (const topic of topicsOf(each)) found.add(topic);
  return [...found];
}

function concerns(topics, event) {
  return topics.some(
    (topic) =>
      topic === 'host' ||
      (event.run != null && topic === `run:${event.run}`) ||
      (event.workflow && topic === `workflow:${event.workflow}`),
  );
}

/** Fetch a part soon, at most every half second; what comes while it is fetched is fetched once more. */
function refresh(element) {
  let part = parts.get(element);
  if (!part) parts.set(element, (part = { timer: 0, fetching: false, again: false, fetchedMs: -Infinity }));
  if (part.fetching) part.again = true;
  else if (!part.timer) {
    const pauseMs = Number(element.dataset.pause ?? 0) * 1000;
    // A large part is shared by pages for a second (shared.py): asked for later than that, it shows what has happened.
    const least = pauseMs ? SHARED_MS : 0;
    const wait = Math.max(least, part.fetchedMs + (pauseMs || PAUSE_MS) - performance.now());
    part.timer = setTimeout(() => load(element, part), wait);
  }
}

async function load(element, part) {
  part.timer = 0;
  if (!element.isConnected) {
    parts.delete(element);
    return;
  }
  part.fetching = true;
  part.again = false;
  part.fetchedMs = performance.now();
  try {
    patch(element, await fetchFragment(element.dataset.fragment));
    refreshTimes(element);
    element.dispatchEvent(new CustomEvent('pyflow:patched', { bubbles: true }));
  } catch (error) {
    if (error.status === 401) end();
    else if (error.status === 0) lost(error.message);
    else if (!error.status) throw error;
  } finally {
    part.fetching = false;
    if (part.again) refresh(element);
  }
}

function refreshAll() {
  for (const each of document.querySelectorAll('[data-fragment]')) refresh(each);
}

function refreshDue() {
  for (const each of document.querySelectorAll('[data-fragment][data-every]')) {
    const fetchedMs = parts.get(each)?.fetchedMs ?? startedMs;
    if (performance.now() - fetchedMs >= Number(each.dataset.every) * 1000) refresh(each);
  }
  for (const element of parts.keys()) if (!element.isConnected) parts.delete(element);
}

// ---- The stream

const startedMs = performance.now();

function heard() {
  clearTimeout(silenceTimer);
  silenceTimer = setTimeout(again, SILENCE_MS);
}

function again() {
  stop();
  lost('the server does not answer');
  if (document.hidden || ended) return;
  silenceTimer = setTimeout(open, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
  failures += 1;
}

function stop() {
  clearTimeout(silenceTimer);
  stream?.close();
  stream = null;
}

function open() {
  if (stream || ended) return;
  const query = new URLSearchParams(last ? { after: last } : { since: mark.dataset.now });
  for (const topic of allTopics()) query.append('topic', topic);
  others.postMessage('open');
  stream = new EventSource(`/events?${query}`);
  heard();
  stream.onerror = async () => {
    if (stream?.readyState !== EventSource.CLOSED) return lost();
    // The browser does not say why. A session that is over stays so; all else is tried again.
    stop();
    const status = await fetch('/fragment/live', { redirect: 'error' }).then((response) => response.status, () => 0);
    if (status === 401) end();
    else again();
  };
  stream.addEventListener('beat', (event) => {
    heard();
    failures = 0;
    const beat = JSON.parse(event.data);
    setNow(beat.now_us);
    if (beat.daemon) {
      mark.title = '';
      show('live', 'Live');
      for (const each of document.querySelectorAll('[data-answers]')) each.hidden = false;
      refreshDue();
    } else lost(beat.error);
  });
  stream.addEventListener('change', (event) => {
    heard();
    last = event.lastEventId;
    const events = JSON.parse(event.data);
    document.dispatchEvent(new CustomEvent('pyflow:events', { detail: events }));
    for (const each of document.querySelectorAll('[data-fragment][data-topics]')) {
      const topics = topicsOf(each);
      if (events.some((one) => concerns(topics, one))) refresh(each);
    }
  });
  stream.addEventListener('reload', (event) => {
    heard();
    last = event.lastEventId || last;
    refreshAll();
  });
  stream.addEventListener('end', end);
}

export function startLive() {
  mark = document.getElementById('live');
  if (!mark || mark.dataset.state === undefined) return;
  others.onmessage = () => {
    if (document.hidden) stop();
  };
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = setTimeout(stop, HIDDEN_MS);
    else open();
  });
  addEventListener('pagehide', stop);
  addEventListener('pageshow', (event) => {
    if (event.persisted) open();
  });
  if (!document.hidden) open();
}
