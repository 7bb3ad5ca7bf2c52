// Keys (web-design, 11). None of them changes anything: they move, open and look. A page owner marks what they act on:
// rows for j and k are those of tables and lists that have a link, and `[data-row]`; older and newer run `a[rel=prev]`, `a[rel=next]`;
// any other key of a page is `data-hotkey="f"` on its button or link. Switched off by `pyflow-keys` in local storage.
const PLACES = { o: '/', w: '/workflows', r: '/runs', s: '/slots' };
const OFF = 'pyflow-keys';
const PREFIX_MS = 1500;
let prefixUntil = 0;

export function keysAreOff() {
  return stored() === 'off';
}

function stored() {
  try {
    return localStorage.getItem(OFF);
  } catch {
    return null; // storage may be forbidden: then they are on
  }
}

export function setKeys(on) {
  try {
    if (on) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, 'off');
  } catch {
    // it holds for this page only
  }
}

function visible(element) {
  return element.getClientRects().length > 0;
}

function rows() {
  const found = document.querySelectorAll('[data-row], .rows tbody tr, .need > li');
  return [...found].filter((row) => visible(row) && linkOf(row));
}

/** The link of a row: itself, or the first one in it. */
function linkOf(row) {
  return row.matches('a') ? row : row.querySelector('a[href]');
}

function step(by) {
  const found = rows();
  if (!found.length) return false;
  const at = found.findIndex((row) => row.contains(document.activeElement) || row.hasAttribute('data-current'));
  const next = found[at < 0 ? (by > 0 ? 0 : found.length - 1) : Math.min(found.length - 1, Math.max(0, at + by))];
  for (const row of found) row.toggleAttribute('data-current', row === next);
  linkOf(next)?.focus();
  next.scrollIntoView({ block: 'nearest' });
  return true;
}

function press(selector) {
  const found = [...document.querySelectorAll(selector)].find(visible);
  found?.click();
  return Boolean(found);
}

function find() {
  const field = [...document.querySelectorAll('[data-find], #find')].find(visible);
  if (!field) return press('.nav a[href="/workflows"]'); // on a phone it stands there
  field.focus();
  field.select();
  return true;
}

function leave(event) {
  const field = event.target.closest('input, select, textarea');
  if (field) field.blur();
  for (const row of document.querySelectorAll('[data-current]')) row.removeAttribute('data-current');
}

function act(key) {
  const known = Date.now() < prefixUntil;
  prefixUntil = 0;
  if (known && PLACES[key]) {
    location.assign(PLACES[key]);
    return true;
  }
  switch (key) {
    case 'g':
      prefixUntil = Date.now() + PREFIX_MS;
      return true;
    case '/':
      return find();
    case '?':
      document.getElementById('keys')?.showModal();
      return true;
    case 'j':
      return step(1);
    case 'k':
      return step(-1);
    case '[':
      return press('a[rel=prev]');
    case ']':
      return press('a[rel=next]');
    default:
      return /^[a-z1-9]$/.test(key) && press(`[data-hotkey="${key}"]`);
  }
}

export function startKeys() {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === 'Escape') return leave(event);
    if (event.target.closest('input, select, textarea, dialog, [contenteditable]')) return;
    if (keysAreOff() && event.key !== '?') return;
    if (act(event.key)) event.preventDefault();
  });
  const box = document.getElementById('keys-on');
  if (!box) return;
  box.checked = !keysAreOff();
  box.addEventListener('change', () => setKeys(box.checked));
}
