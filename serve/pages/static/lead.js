// The lead's page: how the work goes, and disputes settled side by side with the panel that raters use.
import {ask, bar, h, openDialog, start, t, when} from './dom.js';
import {Grades, passage, title} from './grade.js';

let root, view, grades = null, settle = null, asked = 0;
const percent = share => share === null || share === undefined ? '–' : `${Math.round(100 * share)} %`;
const figure = (value, digits = 2) => value === null || value === undefined ? '–' : value.toFixed(digits);

async function shown(reply) { // unless something else was asked for meanwhile
  const mine = ++asked;
  try { const found = await reply; if (mine === asked) draw(found); } catch (error) { alert_(error.message); }
}
const act = (step, body) => shown(ask(`/api/lead/${step}`, {batch: view.batch, ...body}));
const load = (batch = '') => shown(ask(`/api/lead?batch=${encodeURIComponent(batch)}`));
function alert_(text) {
  root.querySelector('.fault')?.remove();
  root.prepend(h('p', {class: 'fault', role: 'alert'}, text));
}

function draw(found) {
  view = found;
  grades = settle = null;
  const now = view.batches.find(batch => batch.id === view.batch);
  root.replaceChildren(bar(view, t('l_title'), batches(now), [h('a', {href: `/${root.lang}/`}, t('l_rate'))]),
    h('main', {class: 'board'}, now ? [progress(now), now.stale ? h('p', {class: 'warn'}, t('l_stale')) : [people(), agreement(), gate(), raters()]]
      : h('p', {class: 'hint'}, t('l_no_batch')), feedback(), opening(), users()));
}
function batches(now) {
  return view.batches.length > 0 && h('label', {class: 'works'}, h('span', {}, t('l_batch')),
    h('select', {onchange: event => load(event.target.value)}, view.batches.map(batch => h('option', {value: batch.id, selected: batch === now},
      `${batch.task} · ${when(batch.created)}${batch.pairs ? ` · ${t('r_pairs')}` : ''}`))));
}
const card = (name, ...content) => h('section', {class: 'card', 'aria-label': name}, h('h2', {}, name), content);
const table = (heads, rows) => h('div', {class: 'wide'}, h('table', {class: 'scores'},
  h('thead', {}, h('tr', {}, heads.map(head => h(head ? 'th' : 'td', {scope: head && 'col', class: head === null && 'roomy'}, head)))), h('tbody', {}, rows)));

function progress(batch) {
  const done = batch.planned - batch.left, share = batch.planned ? done / batch.planned : 0;
  return card(t('l_progress'),
    h('div', {class: 'meter', role: 'img', 'aria-label': percent(share)}, h('span', {style: `width:${100 * share}%`})),
    h('p', {}, h('strong', {}, t('l_done', {done, planned: batch.planned})), ' ',
      h('span', {class: 'quiet'}, t('l_more', {today: batch.today, leased: batch.leased, outputs: batch.outputs}))),
    h('p', {class: 'links'}, view.disputes?.length ? h('button', {class: 'primary', id: 'settle', onclick: () => open_(view.disputes[0])},
      t('l_settle', {n: view.disputes.length})) : h('span', {class: 'quiet'}, t('l_no_disputes')),
      h('a', {href: `/export/ratings.jsonl?batch=${batch.id}`, download: true}, t('l_export_ratings')),
      h('a', {href: `/export/pairs.jsonl?batch=${batch.id}`, download: true, title: t('l_export_pairs_why')}, t('l_export_pairs'))));
}
function stacked(shares) {
  return h('span', {class: 'bar', role: 'img', 'aria-label': `${t('poor')} ${percent(shares.poor)}`},
    ['poor', 'average', 'good'].map(band => h('span', {class: `part ${band}`, style: `width:${100 * (shares[band] || 0)}%`})));
}
function people() {
  const {scores} = view;
  if (!scores.n && !Object.keys(scores.dimensions).length) return card(t('l_people'), h('p', {class: 'quiet'}, t('l_none_yet')));
  const row = (name, shares) => h('tr', {}, h('th', {scope: 'row'}, name), h('td', {class: 'roomy'}, stacked(shares)), h('td', {}, percent(shares.good)),
    h('td', {}, percent(shares.average)), h('td', {}, percent(shares.poor)), h('td', {}, shares.n));
  return card(t('l_people'), table(['', null, ...['l_good', 'l_average', 'l_poor', 'l_n'].map(key => t(key))],
    [row(t('l_composite'), scores), ...Object.entries(scores.dimensions).map(([name, shares]) => row(title(name), shares))]));
}
function span(value, low, high, from, to) { // a value with its interval on a line
  const at = x => 100 * (Math.min(to, Math.max(from, x)) - from) / (to - from);
  return h('span', {class: 'interval', role: 'img', 'aria-label': `${figure(low)} – ${figure(high)}`},
    h('span', {class: 'span', style: `left:${at(low)}%;width:${at(high) - at(low)}%`}), h('span', {class: 'dot', style: `left:${at(value)}%`}));
}
function agreement() {
  const rows = Object.entries(view.agreement);
  return card(t('l_agreement'), h('p', {class: 'quiet'}, t('l_agreement_why')), rows.length ? table(['', t('l_alpha'), t('l_interval'), null, t('l_twice')],
    rows.map(([name, a]) => h('tr', {}, h('th', {scope: 'row'}, name === 'composite' ? t('l_composite') : title(name)), h('td', {}, figure(a.value)),
      h('td', {}, a.low === null ? '–' : `${figure(a.low)} – ${figure(a.high)}`), h('td', {class: 'roomy'}, a.low === null ? '' : span(a.value, a.low, a.high, -0.2, 1)),
      h('td', {}, a.n)))) : h('p', {}, t('l_none_yet')));
}
function gate() {
  return card(t('l_gate'), view.gate.length ? view.gate.map(run => h('article', {},
    h('h3', {title: run.version}, view.names[run.version].split(' ')[0], ' ', h('span', {class: `chip ${run.decision.toLowerCase()}`}, run.decision), ' ',
      run.needed ? t('l_needed', {n: run.needed}) : '', ' ', h('small', {}, when(run.at))),
    h('p', {}, run.sentence || run.why), run.sentence && h('p', {class: 'quiet'}, run.why)))
    : h('p', {class: 'quiet'}, t('l_no_gate')));
}
function raters() {
  const drift = rater => rater.drift === null ? '–' : [`${rater.drift > 0 ? '+' : ''}${figure(rater.drift)} `,
    h('small', {}, `${figure(rater.drift_interval[0])} – ${figure(rater.drift_interval[1])}`)];
  const moved = rater => rater.drift !== null && (rater.drift_interval[0] > 0 || rater.drift_interval[1] < 0);
  return card(t('l_raters'), view.raters.length ? table(['l_rater', 'l_rated', 'l_abstained', 'l_gold', 'l_same', 'l_drift', 'l_seconds'].map(key => t(key)),
    view.raters.map(rater => h('tr', {}, h('th', {scope: 'row'}, rater.rater), h('td', {}, rater.done), h('td', {}, rater.abstained),
      h('td', {}, percent(rater.gold), rater.gold_n ? h('small', {}, ` / ${rater.gold_n}`) : ''), h('td', {}, percent(rater.consistency)),
      h('td', {class: moved(rater) ? 'short' : ''}, drift(rater)), h('td', {}, rater.seconds ?? '–')))) : h('p', {class: 'quiet'}, t('l_none_yet')),
    h('p', {class: 'quiet'}, t('l_raters_why')));
}
function opening() {
  const tasks = Object.entries(view.can_open);
  const made = h('form', {onsubmit: event => {
    event.preventDefault();
    const given = new FormData(event.target);
    act('open', {task: given.get('task'), versions: given.getAll('version'), pairs: given.get('pairs') === 'on'});
  }}, tasks.map(([task, versions]) => h('fieldset', {}, h('legend', {}, h('label', {}, h('input', {type: 'radio', name: 'task', value: task, required: true}), ' ', task)),
    Object.entries(versions).map(([version, n]) => h('label', {}, h('input', {type: 'checkbox', name: 'version', value: version, onchange: event => {
      event.target.closest('fieldset').querySelector('input[type=radio]').checked = true; }}), ` ${view.names[version]} `, h('small', {}, t('l_answers', {n})))))),
  h('label', {}, h('input', {type: 'checkbox', name: 'pairs'}), ' ', t('l_as_pairs')), h('button', {class: 'primary'}, t('l_open')));
  return h('details', {class: 'card', open: view.batches.length === 0}, h('summary', {}, t('l_open_title')), h('p', {class: 'quiet'}, t('l_open_why')),
    tasks.length ? made : h('p', {}, t('l_nothing_to_open')));
}
function feedback() { // what users of the demo would have written: nothing learns from it before a lead says so
  const text = words => h('div', {class: 'text', dir: 'auto'}, words);
  const say = (one, accept, key, kind) => h('button', {class: kind, onclick: () => act('feedback', {id: one.id, accept})}, t(key));
  const open = root.querySelector('#feedback')?.open; // whoever is at it goes on to the next one
  return view.feedback.length > 0 && h('details', {class: 'card', id: 'feedback', open}, h('summary', {}, t('l_feedback', {n: view.feedback.length})),
    h('p', {class: 'quiet'}, t('l_feedback_why')), view.feedback.map(one => h('article', {class: 'wrap'},
      h('h3', {}, `${one.task}${one.by ? ` · ${one.by}` : ''}`), text(one.source), h('h4', {}, t('l_answered')), text(one.answer),
      h('h4', {}, t('l_wrote')), text(one.wrote), one.eval && h('p', {class: 'warn'}, t('l_eval_row')),
      h('p', {class: 'links'}, say(one, true, 'l_accept', 'primary'), say(one, false, 'l_discard', 'plain')))));
}
function users() {
  return h('details', {class: 'card'}, h('summary', {}, t('l_users')), view.by_proxy && h('p', {class: 'quiet'}, t('l_by_proxy')),
    table([t('l_user'), t('l_role')], view.users.map(user => h('tr', {}, h('th', {scope: 'row'}, user.name), h('td', {},
      h('select', {'aria-label': user.name, disabled: user.name === view.user, onchange: event => act('role', {user: user.name, role: event.target.value})},
        view.roles.map(role => h('option', {value: role, selected: role === user.role}, t(`l_role_${role}`)))))))),
    h('p', {class: 'quiet'}, t('l_users_why')));
}

// ---- a dispute ----
async function open_(output) {
  const mine = ++asked, found = await ask(`/api/lead/dispute?batch=${view.batch}&output=${output}`);
  if (mine !== asked) return;
  const draft = {}, {rubric} = found;
  const levels = name => found.said.map(said => said.grades[name]?.level);
  for (const {name} of rubric.dimensions) { // what nobody disputes is filled in
    if (new Set(levels(name)).size === 1) draft[name] = {...found.said[0].grades[name]};
  }
  const texts = [h('div', {class: 'text', dir: 'auto'}), h('div', {class: 'text', dir: 'auto'})];
  const mark = () => {
    const quotes = [...found.said.flatMap(said => Object.values(said.grades).flatMap(grade => grade.evidence || [])), ...grades.quotes()];
    texts[0].replaceChildren(...passage(found.source, quotes));
    texts[1].replaceChildren(...passage(found.text, quotes));
  };
  grades = new Grades(rubric.dimensions, draft, mark);
  mark();
  const reason = h('textarea', {dir: 'auto', rows: 2, maxlength: 2000, id: 'why', 'aria-label': t('l_reason'), placeholder: t('l_reason')});
  settle = () => {
    if (!grades.complete()) { grades.active = grades.first(); grades.draw(true); return; }
    if (!reason.value.trim()) return reason.focus();
    act('adjudicate', {output, draft, reason: reason.value}).then(() => view.disputes?.length && open_(view.disputes[0]));
  };
  const said = table(['', ...found.said.map(one => t('l_said_by', {who: one.who}))], rubric.dimensions.map(({name}) =>
    h('tr', {class: new Set(levels(name)).size > 1 ? 'short' : ''}, h('th', {scope: 'row'}, title(name)), found.said.map(one => h('td', {class: 'wrap'},
      one.grades[name]?.level ?? '–', one.grades[name]?.reason && h('small', {}, ' ', h('bdi', {}, one.grades[name].reason)))))));
  root.replaceChildren(bar(view, t('l_dispute', {n: view.disputes.length}), [], [h('button', {class: 'plain', onclick: () => load(view.batch)}, t('l_back'))]),
    h('main', {class: 'desk'},
      h('section', {class: 'card source', 'aria-label': rubric.source}, h('h2', {}, rubric.source), texts[0]),
      h('div', {class: 'side'}, h('section', {class: 'card output', 'aria-label': rubric.output}, h('h2', {}, rubric.output), texts[1]),
        card(t('l_said'), said), h('section', {class: 'card'}, h('h2', {}, t('l_decide')), grades.root, reason),
        h('footer', {class: 'steps'}, h('button', {id: 'submit', class: 'primary', onclick: () => settle()}, t('l_decide_do'), ' ', h('kbd', {}, 'Enter'))))));
  grades.draw(true);
}
document.addEventListener('keydown', event => {
  if (!grades || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || openDialog()) return;
  const writing = event.target.closest('textarea'), button = event.target.closest('button:not([role=radio]), a, select');
  if (writing && !(event.key === 'Enter' && !event.shiftKey)) return;
  if (writing && writing.id !== 'why') {
    grades.confirm();
    if (grades.complete()) root.querySelector('#why').focus();
  } else if (event.key === 'Enter' && (!button || button.id === 'submit')) {
    grades.complete() && !writing ? (root.querySelector('#why').value ? settle() : root.querySelector('#why').focus()) : settle();
  } else if (/^[1-9]$/.test(event.key)) {
    grades.set(Number(event.key));
    if (grades.complete()) root.querySelector('#why').focus();
  } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') grades.step(event.key === 'ArrowDown' ? 1 : -1);
  else if (event.key.toLowerCase() === 'u') grades.undo();
  else return;
  event.preventDefault();
});

root = await start('lead');
load();
