// Brings a part of the page up to date from HTML of our own server, touching only what differs: focus, selection, scroll
// positions, opened details and what is typed stay. The one place that turns text into elements, with the one policy of
// trusted types; text is only taken from /fragment/ of this very origin.

const policy = globalThis.trustedTypes?.createPolicy('pyflow', { createHTML: (text) => text });
const HELD = 'data-hold';

/** Why a fragment could not be had: `status` of HTTP, 0 where nobody answered. */
export class FragmentError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The HTML of a fragment. `options` are those of fetch. Raises FragmentError. */
export async function fetchFragment(path, options = {}) {
  const url = new URL(path, location.origin);
  if (url.origin !== location.origin || !url.pathname.startsWith('/fragment/')) throw new TypeError(`no fragment: ${path}`);
  let response;
  try {
    response = await fetch(url, { credentials: 'same-origin', redirect: 'error', ...options });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new FragmentError(0, 'the server does not answer');
  }
  const text = await response.text();
  if (!response.ok) throw new FragmentError(response.status, text.trim());
  if (!response.headers.get('content-type')?.startsWith('text/html')) throw new FragmentError(0, 'the server sent no fragment');
  return text;
}

/** Elements of a fragment, in a document of their own where no script runs and nothing loads. */
export function parsed(html) {
  return new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, 'text/html').body;
}

/** Make the children of `target` those of a fragment: its text, or an element that was parsed here. */
export function patch(target, fragment) {
  const found = typeof fragment === 'string' ? parsed(fragment) : fragment;
  // A fragment may be the whole part, with its outer element, or what is inside it.
  const only = found.children.length === 1 ? found.firstElementChild : null;
  if (only && only.dataset.fragment !== undefined && only.localName === target.localName) morph(target, only);
  else children(target, found);
}

function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  attributes(old, fresh);
  if (old.hasAttribute('data-keep')) return; // a module's own affair
  if (old.hasAttribute(HELD) && hold(old, fresh)) return;
  children(old, fresh);
}

function attributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (kept(old, name) || old.getAttribute(name) === value) continue;
    if (name === 'class') faded(old, value);
    old.setAttribute(name, value);
  }
}

/** What the reader has done himself is not undone. */
function kept(element, name) {
  if (name === 'open') return element.localName === 'details' || element.localName === 'dialog';
  return (name === 'value' || name === 'checked') && element.matches('input, option');
}

/** A state that changed shows it once, by a tint that goes away. */
function faded(element, classes) {
  const state = (text) => /\bs-[a-z]+/.exec(text ?? '')?.[0];
  const [before, now] = [state(element.getAttribute('class')), state(classes)];
  if (before && now && before !== now && element.animate && !matchMedia('(prefers-reduced-motion: reduce)').matches) {
    element.animate([{ backgroundColor: 'var(--mark)' }, {}], { duration: 600 });
  }
}

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset?.key || '' : '');

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}

function children(old, fresh) {
  const byKey = new Map([...old.children].filter(keyOf).map((each) => [keyOf(each), each]));
  const wanted = new Set([...fresh.children].map(keyOf));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const key = keyOf(next);
    while (at && !key && keyOf(at) && !wanted.has(keyOf(at))) at = removed(at);
    const found = key ? byKey.get(key) : at && alike(at, next) ? at : null;
    if (!found || !alike(found, next)) {
      old.insertBefore(document.importNode(next, true), at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else old.insertBefore(found, at);
    if (found.nodeType === Node.ELEMENT_NODE) morph(found, next);
    else if (found.data !== next.data) found.data = next.data;
  }
  while (at) at = removed(at);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

/**
 * A list with `data-hold`: its rows (with `data-key` or an id) change where they stand; those that came stay behind a
 * button until the reader asks for them. True: it is done, false: nothing came, all may be patched.
 */
function hold(old, fresh) {
  const present = new Map([...old.children].filter(keyOf).map((each) => [keyOf(each), each]));
  const came = [...fresh.children].filter((each) => keyOf(each) && !present.has(keyOf(each)));
  offer(old, came.length, () => {
    children(old, fresh);
    offer(old, 0);
  });
  if (!came.length || !present.size) return false;
  for (const each of fresh.children) if (present.has(keyOf(each))) morph(present.get(keyOf(each)), each);
  return true;
}

const offers = new WeakMap();

function offer(list, count, show) {
  const place = list.closest('table') ?? list;
  offers.get(list)?.remove();
  offers.delete(list);
  if (!count || !list.children.length) return;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'new-rows';
  button.textContent = `${count} new`;
  button.addEventListener('click', show, { once: true });
  place.before(button);
  offers.set(list, button);
}
