// One row of levels per dimension, with reasons and marked passages. Used to rate, to train, and to settle disputes.
import {h, t} from './dom.js';

const bands = (dimension, i) => i === 0 ? 'poor' : i === dimension.levels.length - 1 ? 'good' : 'average';
const worst = dimension => dimension.levels[0].name;
const upper = text => text.charAt(0).toUpperCase() + text.slice(1);
export const title = name => upper(name.replaceAll('_', ' '));

// A text with the marked quotes in it. Quotes are found as plain text; where they overlap the first one counts.
export function passage(text, quotes) {
  const spots = [];
  for (const quote of quotes) {
    const at = quote ? text.indexOf(quote) : -1;
    if (at >= 0 && !spots.some(([from, to]) => at < to && at + quote.length > from)) spots.push([at, at + quote.length]);
  }
  spots.sort((a, b) => a[0] - b[0]);
  const parts = [];
  let end = 0;
  for (const [from, to] of spots) {
    parts.push(text.slice(end, from), h('mark', {}, text.slice(from, to)));
    end = to;
  }
  return [...parts, text.slice(end)];
}

export class Grades {
  // `draft` is changed in place: {dimension: {level, reason, evidence: []}}. `changed` is called at every change.
  constructor(dimensions, draft, changed, answer = null) {
    Object.assign(this, {dimensions, draft, changed, answer});
    this.root = h('div', {class: 'dims'});
    this.active = this.first();
    this.draw();
  }

  done(dimension) {
    const grade = this.draft[dimension.name];
    return Boolean(grade?.level) && (grade.level !== worst(dimension) || Boolean(grade.reason?.trim()));
  }
  first(from = 0) {
    const n = this.dimensions.length;
    for (let i = 0; i < n; i++) if (!this.done(this.dimensions[(from + i) % n])) return (from + i) % n;
    return n;
  }
  complete() { return this.first() === this.dimensions.length; }
  quotes() { return Object.values(this.draft).flatMap(grade => grade.evidence || []); }

  set(number) {
    const dimension = this.dimensions[this.active], level = dimension?.levels[number - 1];
    if (!level || this.answer) return;
    const before = this.draft[dimension.name] || {};
    delete this.draft[dimension.name]; // the order of the keys is the order in which they were set
    this.draft[dimension.name] = {...before, level: level.name};
    if (this.done(dimension)) this.active = this.first(this.active + 1);
    this.changed();
    this.draw(true);
  }
  step(by) {
    this.active = Math.min(this.dimensions.length - 1, Math.max(0, this.active + by));
    this.draw(true);
  }
  confirm() { // Enter in a reason
    this.active = this.first(this.active + 1);
    this.draw(true);
  }
  undo() { // the last level that was set; false if there is none
    const last = Object.keys(this.draft).filter(name => this.draft[name].level).pop();
    if (!last) return false;
    delete this.draft[last];
    this.active = this.dimensions.findIndex(dimension => dimension.name === last);
    this.changed();
    this.draw(true);
    return true;
  }
  mark(quote) {
    const dimension = this.dimensions[Math.min(this.active, this.dimensions.length - 1)];
    const grade = this.draft[dimension.name] ||= {};
    grade.evidence = [...new Set([...(grade.evidence || []), quote])];
    this.changed();
    this.draw(true);
  }
  unmark(name, quote) {
    this.draft[name].evidence = this.draft[name].evidence.filter(q => q !== quote);
    this.changed();
    this.draw();
  }

  draw(focus = false) {
    this.root.replaceChildren(...this.dimensions.map((dimension, i) => this.row(dimension, i)));
    if (!focus) return;
    const row = this.root.children[this.active];
    const target = row?.querySelector('textarea') || row || document.querySelector('#submit');
    target?.focus({preventScroll: true});
    (row || target)?.scrollIntoView({block: 'nearest'});
    if (target?.setSelectionRange) target.setSelectionRange(target.value.length, target.value.length);
  }
  row(dimension, i) {
    const grade = this.draft[dimension.name] || {}, active = i === this.active && !this.answer;
    const needs = grade.level === worst(dimension), right = this.answer?.[dimension.name];
    const id = `dim-${i}`;
    const reason = (needs || grade.reason) && !this.answer && h('textarea', {
      dir: 'auto',
      'aria-label': t('r_reason', {dimension: title(dimension.name)}), rows: 2, maxlength: 2000,
      placeholder: needs ? t('r_reason_needed') : t('r_reason_may'),
      oninput: event => { this.draft[dimension.name].reason = event.target.value; this.changed(); },
      onfocus: () => { this.active = i; },
    });
    if (reason) reason.value = grade.reason || '';
    const state = right && (right.level === grade.level ? 'right' : 'wrong');
    return h('section', {class: `dim ${active ? 'active' : ''} ${state || ''}`, tabindex: -1, 'aria-labelledby': id,
      'data-dimension': dimension.name, onclick: event => {
        if (i !== this.active && !this.answer && !event.target.closest('button, textarea')) { this.active = i; this.draw(true); }
      }},
      h('h3', {id}, title(dimension.name), this.done(dimension) && h('span', {class: 'tick', 'aria-label': t('r_set')}, '✓')),
      h('p', {class: 'question'}, dimension.question),
      h('div', {class: 'levels', role: 'radiogroup', 'aria-label': title(dimension.name)}, dimension.levels.map((level, n) =>
        h('button', {
          type: 'button', role: 'radio', class: `level ${bands(dimension, n)}`, 'data-tip': level.anchor,
          'aria-checked': String(grade.level === level.name), 'aria-label': `${level.name}: ${level.anchor}`,
          'data-level': level.name, 'aria-disabled': this.answer ? 'true' : null,
          onclick: () => { if (!this.answer) { this.active = i; this.set(n + 1); } },
        }, h('span', {class: 'name'}, h('kbd', {}, String(n + 1)), upper(level.name)), h('span', {class: 'anchor'}, level.anchor)))),
      reason || (this.answer && grade.reason ? h('p', {class: 'quiet', dir: 'auto'}, grade.reason) : null),
      (grade.evidence || []).length > 0 && h('ul', {class: 'quotes', 'aria-label': t('r_marked')}, grade.evidence.map(quote =>
        h('li', {}, h('q', {dir: 'auto'}, quote), !this.answer && h('button', {type: 'button', class: 'plain', 'aria-label': t('r_unmark'),
          onclick: () => this.unmark(dimension.name, quote)}, '×')))),
      right && h('p', {class: 'told', role: 'note'},
        h('strong', {}, state === 'right' ? t('r_right') : t('r_wrong', {level: right.level})), ' ', right.reason));
  }
}
