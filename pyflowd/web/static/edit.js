// The editor: colours and line numbers under the text, a check a moment after each change, help for the key at the caret.
// Without it the same form checks and saves by its buttons. What is said of a text comes from the server, always.
import { fetchFragment, parsed, patch } from './patch.js';

const WAIT_MS = 300;
const HELP_MS = 200;
const COLOURED_MAX = 2000; // lines
const form = document.getElementById('ed');
const text = document.getElementById('text');
const box = document.querySelector('[data-typed]');
const under = box.querySelector('pre');
const verdict = document.getElementById('verdict');
const caretAt = document.querySelector('[data-caret]');
const first = text.value;
let timer = 0;
let helpTimer = 0;
let asked = null;
let leaving = false;
let helped = null;

// ---- Colours: by the look of a line, as pages/yaml_colour.py has them

const KEY = /^(\s*(?:- +)*)("[^"]*"|'[^']*'|[^\s#"'[\]{},:&*!|>%@`][^#:]*?)(\s*:)(?=\s|$)/;

function piece(line, css, content) {
  if (!content) return;
  const made = css ? document.createElement('span') : document.createTextNode(content);
  if (css) {
    made.className = css;
    made.textContent = content;
  }
  line.append(made);
}

function values(line, content) {
  let at = 0;
  for (const found of content.matchAll(/\$\{\{.*?\}\}/g)) {
    piece(line, 'v', content.slice(at, found.index));
    piece(line, 'x', found[0]);
    at = found.index + found[0].length;
  }
  piece(line, 'v', content.slice(at));
}

function commentStart(content) {
  const hidden = content.replace(/"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'/g, (found) => 'x'.repeat(found.length));
  const found = /(?:^|\s)#/.exec(hidden);
  return found ? found.index + found[0].length - 1 : content.length;
}

function colour(line, content, block) {
  if (block) return values(line, content);
  const end = commentStart(content);
  const body = content.slice(0, end);
  const key = KEY.exec(body);
  if (key) {
    piece(line, '', key[1]);
    piece(line, 'k', key[2]);
    piece(line, '', key[3]);
  }
  values(line, body.slice(key ? key[0].length : 0));
  piece(line, 'cm', content.slice(end));
}

const indentOf = (line) => line.length - line.trimStart().length;

/** One element a line, behind the text; only lines that changed are made anew. */
function draw() {
  const lines = text.value.split('\n');
  const coloured = lines.length <= COLOURED_MAX;
  let block = -1; // indentation of the key of a block of text, in which there are no keys
  lines.forEach((content, n) => {
    if (block >= 0 && content.trim() && indentOf(content) <= block) block = -1;
    const inBlock = block >= 0;
    const look = (inBlock ? 'b' : 'n') + content;
    let line = under.children[n];
    if (!line) under.append((line = document.createElement('div')));
    if (line.dataset.look !== look) {
      line.dataset.look = look;
      line.replaceChildren();
      if (coloured) colour(line, content, inBlock);
      else piece(line, '', content);
      if (!content) line.append('\u200b');
    }
    if (!inBlock && /:\s+[|>][0-9+-]*\s*(?:#.*)?$/.test(content)) block = indentOf(content);
  });
  while (under.children.length > lines.length) under.lastElementChild.remove();
}

/** The word at a column of a line, as a range of its text; null where there is none. */
function wordAt(line, column) {
  const found = /^["']?[\w.$/{}-]+["']?/.exec(line.textContent.slice(column - 1)) ?? [' '];
  const range = document.createRange();
  const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
  let at = 0;
  let started = false;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const end = at + node.length;
    if (!started && column - 1 < end) {
      range.setStart(node, column - 1 - at);
      started = true;
    }
    if (started && column - 1 + found[0].length <= end) {
      range.setEnd(node, column - 1 + found[0].length - at);
      return range;
    }
    at = end;
  }
  return null;
}

function markProblems() {
  for (const line of under.querySelectorAll('.err, .warn')) line.classList.remove('err', 'warn');
  const wavy = globalThis.Highlight ? new Highlight() : null;
  for (const each of verdict.querySelectorAll('.prob > li')) {
    const line = under.children[Number(each.dataset.line) - 1];
    if (!line || !Number(each.dataset.line)) continue;
    line.classList.add(each.dataset.severity === 'error' ? 'err' : 'warn');
    const range = wavy && each.dataset.severity === 'error' ? wordAt(line, Number(each.dataset.column)) : null;
    if (range) wavy.add(range);
  }
  if (wavy) CSS.highlights.set('problem', wavy);
}

// ---- The caret, and help for the key at it

function caret() {
  const before = text.value.slice(0, text.selectionStart);
  const line = before.split('\n').length;
  return { line, column: before.length - before.lastIndexOf('\n') };
}

/** Keys from the top of the text to the caret's line, by their indentation. */
function path() {
  const lines = text.value.slice(0, text.selectionStart).split('\n');
  const whole = text.value.split('\n');
  const found = [];
  let indent = Infinity;
  for (let n = lines.length - 1; n >= 0 && indent > 0; n--) {
    const key = /^(\s*(?:- +)*)["']?([A-Za-z_][\w.-]*)["']?\s*:/.exec(whole[n]);
    if (!key || key[1].length >= indent) continue;
    indent = key[1].length;
    found.unshift(key[2]);
    if (n === lines.length - 1) {
      // within braces on the caret's own line
      const inner = [...lines[n].slice(key[0].length).matchAll(/([A-Za-z_]\w*)\s*:/g)].pop();
      if (inner && lines[n].includes('{')) found.push(inner[1]);
    }
  }
  return found.slice(0, 12).join('/');
}

function showCaret() {
  const at = caret();
  const said = `Line ${at.line}, column ${at.column} · `;
  if (caretAt.textContent !== said) caretAt.textContent = said;
  for (const line of under.querySelectorAll('.cur')) line.classList.remove('cur');
  under.children[at.line - 1]?.classList.add('cur');
  clearTimeout(helpTimer);
  helpTimer = setTimeout(showHelp, HELP_MS);
}

async function showHelp() {
  const wanted = path();
  if (wanted === helped) return;
  helped = wanted;
  try {
    const html = await fetchFragment(`/fragment/edit/help?path=${encodeURIComponent(wanted)}`);
    const panel = verdict.querySelector('[data-help]');
    if (wanted === helped && panel) patch(panel, html);
  } catch {
    helped = null; // it is asked again with the next move
  }
}

function jump(line, column) {
  const lines = text.value.split('\n');
  const at = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0) + Math.max(0, column - 1);
  text.focus();
  text.setSelectionRange(at, at);
  const row = under.children[line - 1];
  row?.scrollIntoView({ block: 'nearest' });
  showCaret();
}

// ---- The check

function fields(act) {
  const found = new URLSearchParams(new FormData(form));
  found.set('act', act);
  return found;
}

async function check() {
  asked?.abort();
  const own = (asked = new AbortController());
  try {
    const html = await fetchFragment('/fragment/edit/check', { method: 'POST', body: fields('check'), signal: own.signal });
    const found = parsed(html);
    const state = form.querySelector('[data-state]');
    patch(verdict, found.querySelector('#verdict'));
    patch(state, found.querySelector('[data-state]'));
    state.className = found.querySelector('[data-state]').className;
    document.querySelector('[data-checked]').textContent = ' · checked';
  } catch (error) {
    if (error.name === 'AbortError') return;
    document.querySelector('[data-checked]').textContent = ` · not checked: ${error.message}`;
  }
  markProblems();
  const save = document.querySelector('[data-save]');
  if (save) save.disabled = Boolean(verdict.querySelector('[data-severity=error]'));
}

function changed() {
  draw();
  markProblems();
  showCaret();
  const tag = document.querySelector('[data-changed]');
  tag.hidden = text.value === first;
  tag.textContent = 'changed, not saved';
  document.querySelector('[data-checked]').textContent = ' · checking';
  clearTimeout(timer);
  timer = setTimeout(check, WAIT_MS);
}

/** Put a text in place of what is typed: only where it differs, so that undo takes back just that. */
function write(value) {
  const old = text.value;
  let start = 0;
  while (start < old.length && old[start] === value[start]) start += 1;
  let end = 0;
  const most = Math.min(old.length, value.length) - start;
  while (end < most && old[old.length - 1 - end] === value[value.length - 1 - end]) end += 1;
  text.focus();
  text.setSelectionRange(start, old.length - end);
  const piece = value.slice(start, value.length - end);
  const done = document.execCommand(piece ? 'insertText' : 'delete', false, piece);
  if (!done || text.value !== value) text.value = value;
  changed();
}

async function edit(button) {
  const wrong = verdict.querySelector('[data-wrong]');
  const found = new URLSearchParams(new FormData(form, button));
  let answer;
  try {
    const response = await fetch('/fragment/edit/text', { method: 'POST', body: found, redirect: 'error' });
    answer = response.ok ? await response.json() : { error: await response.text() };
  } catch {
    answer = { error: 'the server does not answer' };
  }
  wrong.hidden = !answer.error;
  wrong.textContent = answer.error;
  if (!answer.error) write(answer.text);
}

// ---- Start

under.hidden = false;
box.classList.add('on');
draw();
markProblems();
text.addEventListener('input', changed);
document.addEventListener('selectionchange', () => {
  if (document.activeElement === text) showCaret();
});
text.addEventListener('keydown', (event) => {
  if (event.key === 'Tab' && !event.shiftKey && !event.ctrlKey && !event.altKey && text.dataset.leave !== 'yes') {
    event.preventDefault();
    document.execCommand('insertText', false, '  ');
  }
  text.dataset.leave = event.key === 'Escape' ? 'yes' : 'no'; // Escape, then Tab leaves the field
});
verdict.addEventListener('click', (event) => {
  const at = event.target.closest('[data-jump]')?.closest('li');
  if (at) return jump(Number(at.dataset.line), Number(at.dataset.column));
  const task = event.target.closest('a[data-task]');
  const line = task && [...verdict.querySelectorAll('[data-line-of]')].find((each) => each.dataset.lineOf === task.dataset.task);
  if (line) {
    event.preventDefault();
    jump(Number(line.textContent), 1);
  }
  const button = event.target.closest('[data-edit]');
  if (button) {
    event.preventDefault();
    edit(button);
  }
});
form.addEventListener('submit', () => {
  leaving = true;
});
addEventListener('beforeunload', (event) => {
  if (!leaving && text.value !== first) event.preventDefault();
});
const copy = document.querySelector('[data-copy]');
if (copy) {
  copy.hidden = false;
  copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(text.value);
    copy.textContent = 'Copied';
  });
}
const save = document.querySelector('[data-save]');
if (save) save.disabled = Boolean(verdict.querySelector('[data-severity=error]'));
