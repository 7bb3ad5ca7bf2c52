// Keeps words about time true: the host's clock in the page's head, `data-at` (an instant, relative to now) and
// `data-since` (a length of time that still grows), both in microseconds of the host's clock. One timer for all of them.
// The words are those of the server: `span` of pyflowd.render.layout, `length` of pyflowd.web.times.

const SLOW_TICKS = 10;
let offsetMs = 0; // the host's clock minus this machine's
let ticks = 0;

/** The host's clock in microseconds. */
export function nowUs() {
  return (Date.now() + offsetMs) * 1000;
}

/** The server has just said what time it is. */
export function setNow(us) {
  offsetMs = us / 1000 - Date.now();
}

/** `45 s`, `12 min`, `3 h 12 min`, `4 d 3 h`. */
export function span(seconds) {
  const whole = Math.floor(Math.abs(seconds) + 0.5);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor((whole + 30) / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 1440) return pair(minutes, 60, 'h', 1, 'min');
  return pair(Math.floor((whole + 1800) / 3600), 24, 'd', 1, 'h');
}

/** `0.8 s`, `42 s`, `9 min 12 s`, `3 h 12 min`. */
export function length(us) {
  const seconds = Math.max(0, us) / 1e6;
  if (seconds < 9.95) return seconds >= 0.05 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds * 1000)} ms`;
  const whole = Math.round(seconds);
  if (whole >= 86400) return pair(whole, 86400, 'd', 3600, 'h');
  if (whole >= 3600) return pair(whole, 3600, 'h', 60, 'min');
  return whole >= 60 ? pair(whole, 60, 'min', 1, 's') : `${whole} s`;
}

function pair(whole, size, big, part, small) {
  const rest = Math.floor((whole % size) / part);
  return `${Math.floor(whole / size)} ${big}` + (rest ? ` ${rest} ${small}` : '');
}

/** `14 min ago`, `in 23 h 17 min`, `now`. */
export function relative(atUs, now = nowUs()) {
  const seconds = (atUs - now) / 1e6;
  if (Math.abs(seconds) < 0.5) return 'now';
  return seconds > 0 ? `in ${span(seconds)}` : `${span(seconds)} ago`;
}

/** Sets text only where it is another: nothing is touched that stays. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** All words below `root`, as of now. */
export function refreshTimes(root = document) {
  const now = nowUs();
  for (const each of root.querySelectorAll('[data-at]')) say(each, relative(Number(each.dataset.at), now));
  for (const each of root.querySelectorAll('[data-since]')) say(each, length(now - Number(each.dataset.since)));
}

function tickClock() {
  const clock = document.querySelector('#live time');
  if (!clock || clock.dataset.stopped) return;
  // The zone is the host's: its offset from UTC stands in the time that the server wrote.
  const [, sign, hours, minutes] = /([+-])(\d\d):(\d\d)$/.exec(clock.dateTime) ?? ['', '+', '00', '00'];
  const zoneMs = (sign === '-' ? -1 : 1) * (hours * 60 + Number(minutes)) * 60000;
  const name = clock.textContent.replace(/^\S+/, '');
  say(clock, new Date(nowUs() / 1000 + zoneMs).toISOString().slice(11, 19) + name);
}

export function startTimes() {
  const live = document.getElementById('live');
  if (live) setNow(Number(live.dataset.now));
  setInterval(() => {
    if (document.hidden) return;
    tickClock();
    ticks += 1;
    if (ticks % SLOW_TICKS === 0) refreshTimes();
  }, 1000);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) refreshTimes();
  });
}
