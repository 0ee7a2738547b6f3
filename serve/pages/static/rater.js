// The rater's page: draws the place that the server says one is at, and sends each step. Nothing is kept here but what
// was not saved yet; a reload or another device shows the same.
import {ask, bar, dialog, h, openDialog, start, t, when} from './dom.js';
import {Grades, passage, title} from './grade.js';
import {Marking} from './marking.js';

let root, place, draft, grades, marking, shownAt, notice = '', saving = null, unsaved = null, busy = false;

// ---- saving: the newest draft is sent at every change, one request at a time, again and again until it has arrived ----
function save() {
  unsaved = {do: 'draft', work: place.work, id: place.item.id, draft};
  saving ||= sendDrafts().finally(() => { saving = null; });
}
async function sendDrafts() {
  for (let pause = 500; unsaved;) {
    const sent = unsaved;
    unsaved = null;
    saved(t('r_saving'));
    try {
      const answer = await ask('/api/act', sent);
      if (!answer.saved) return arrive(answer);
      saved(t('r_saved'));
      pause = 500;
    } catch (error) {
      if (!error.lost) return saved(error.message, true);
      unsaved ||= sent;
      saved(t('r_not_saved'), true);
      await new Promise(done => setTimeout(done, pause));
      pause = Math.min(8000, pause * 2);
    }
  }
}
function saved(text, warn = false) {
  const line = root.querySelector('#saved');
  if (line) { line.textContent = text; line.classList.toggle('warn', warn); }
}
window.addEventListener('beforeunload', event => { if (unsaved || saving) event.preventDefault(); });

async function act(step, {keep = false} = {}) {
  if (busy) return;
  busy = true;
  try {
    while (saving) await saving; // the draft first, or it would overtake the step
    for (;;) {
      try {
        return arrive(await ask('/api/act', {work: place.work, id: place.item?.id, ...step}));
      } catch (error) {
        if (!error.lost) { saved(error.message, true); return; }
        saved(t('r_not_saved'), true);
        await new Promise(done => setTimeout(done, 1500));
      }
    }
  } finally { busy = false; }
}
const submit = () => {
  if (!grades.complete() && !grades.answer) { grades.active = grades.first(); grades.draw(true); return saved(t('r_not_complete'), true); }
  act({do: 'submit', draft, seconds: (performance.now() - shownAt) / 1000});
};
function undo() {
  if (place.stage !== 'pair' && grades && !grades.answer && Object.values(draft).some(g => g.level)) {
    if (grades.undo()) return;
  }
  if (['rate', 'pair', 'nothing'].includes(place.stage)) act({do: 'undo'});
}

// ---- drawing ----
function arrive(found) {
  place = found;
  unsaved = null;
  notice = found.notice ? t(`r_notice_${found.notice}`) : '';
  draft = place.item?.draft || {};
  grades = null;
  marking?.stop();
  shownAt = performance.now();
  const stages = {guidelines, training: item, test: item, rate: item, failed, nothing, pair};
  const content = stages[place.stage]();
  const works = place.works.length > 1 && h('label', {class: 'works'}, h('span', {}, t('r_work')),
    h('select', {onchange: event => act({do: 'choose', work: event.target.value})}, place.works.map(work =>
      h('option', {value: work.id, selected: work.now}, work.title + (work.pairs ? ` · ${t('r_pairs')}` : '')))));
  const links = [place.leads && h('a', {href: `/${root.lang}/lead/`}, t('r_lead')),
    place.rubric && h('button', {class: 'plain', onclick: help}, t('r_help'))];
  root.replaceChildren(bar(place, place.rubric?.title || t('r_title'), [works, day()], links),
    h('p', {class: 'notice', role: 'status', hidden: !notice}, notice), content);
  if (grades) grades.draw(true);
  else root.querySelector('#go')?.focus({preventScroll: true});
  scrollTo(0, 0);
}
function day() {
  if (!place.day.total) return null;
  const steady = place.day.consistency;
  return h('span', {class: 'day'}, t('r_today', {n: place.day.today, total: place.day.total}),
    steady !== null && h('span', {title: t('r_steady_why')}, ` · ${t('r_steady', {share: Math.round(100 * steady)})}`));
}
const go = (text, step) => h('button', {id: 'go', class: 'primary', onclick: step}, text, ' ', h('kbd', {}, 'Enter'));

function guidelines() {
  return h('main', {class: 'read card'}, h('h2', {}, t('r_guidelines')), rules(), h('p', {class: 'quiet'}, t('r_begin_why')),
    go(t('r_begin'), () => act({do: 'begin'})));
}
function rules() {
  const {rubric} = place;
  return [h('p', {class: 'guide'}, rubric.guidelines.trim()), rubric.dimensions.map(dimension => h('section', {class: 'rule'},
    h('h3', {}, title(dimension.name)), h('p', {}, dimension.question),
    h('dl', {}, dimension.levels.map((level, i) => [
      h('dt', {class: i === 0 ? 'poor' : i === dimension.levels.length - 1 ? 'good' : 'average'}, title(level.name)),
      h('dd', {}, level.anchor, h('details', {}, h('summary', {}, t('r_example')), h('blockquote', {}, level.example.output),
        h('p', {class: 'quiet'}, level.example.reason)))]))))];
}
function item() {
  const {rubric, item: shown, stage} = place;
  grades = new Grades(rubric.dimensions, draft, () => { save(); mark(); }, place.answer || null);
  const texts = [h('div', {class: 'text', dir: 'auto', tabindex: -1}), h('div', {class: 'text', dir: 'auto', tabindex: -1})];
  const answer = place.answer, verdict = answer && Object.values(answer).flatMap(grade => grade.evidence || []);
  function mark() {
    const quotes = verdict || grades.quotes();
    texts[0].replaceChildren(...passage(shown.source, quotes));
    texts[1].replaceChildren(...passage(shown.output, quotes));
  }
  mark();
  marking = new Marking(() => texts, quote => { if (!answer) grades.mark(quote); });
  const practice = stage !== 'rate' && h('p', {class: 'practice'}, h('strong', {}, t(`r_${stage}`, {n: place.number, of: place.of})), ' ',
    t(answer ? 'r_training_told' : `r_${stage}_why`));
  const right = answer && rubric.dimensions.filter(d => answer[d.name].level === draft[d.name]?.level).length;
  return h('main', {class: 'desk'},
    practice,
    h('section', {class: 'card source', 'aria-label': rubric.source}, h('h2', {}, rubric.source), texts[0]),
    h('div', {class: 'side'},
      h('section', {class: 'card output', 'aria-label': rubric.output}, h('h2', {}, rubric.output), texts[1]),
      answer && h('p', {class: 'told', role: 'status'}, t('r_right_of', {n: right, of: rubric.dimensions.length})),
      h('section', {class: 'card', 'aria-label': t('r_grades')}, grades.root), footer(stage, answer)), marking.button);
}
function footer(stage, answer) {
  const rating = stage === 'rate' || stage === 'pair';
  return h('footer', {class: 'steps'},
    h('span', {id: 'saved', class: 'quiet', role: 'status'}),
    !answer && h('button', {class: 'plain', onclick: undo}, t('r_undo'), ' ', h('kbd', {}, 'U')),
    rating && h('button', {class: 'plain', onclick: () => act({do: 'abstain', seconds: (performance.now() - shownAt) / 1000})},
      t('r_skip'), ' ', h('kbd', {}, 'S')),
    h('button', {id: 'submit', class: 'primary', onclick: stage === 'pair' ? prefer : submit},
      t(answer ? 'r_next' : stage === 'training' ? 'r_check' : 'r_submit'), ' ', h('kbd', {}, 'Enter')));
}
function pair() {
  const {rubric, item: shown} = place;
  draft.pair ||= {};
  const choices = [['first', t('r_a_better')], ['second', t('r_b_better')], ['tie', t('r_tie')]];
  const panes = [shown.source, shown.output, shown.other].map(text => h('div', {class: 'text', dir: 'auto', tabindex: -1}, text));
  const reason = h('textarea', {dir: 'auto', rows: 2, maxlength: 2000, 'aria-label': t('r_pair_reason'), placeholder: t('r_pair_reason'),
    oninput: event => { draft.pair.reason = event.target.value; save(); }});
  reason.value = draft.pair.reason || '';
  const buttons = choices.map(([winner, text], i) => h('button', {class: 'level pick', type: 'button', role: 'radio',
    'aria-checked': String(draft.pair.winner === winner), 'data-winner': winner, onclick: () => pick(i)},
    h('span', {class: 'name'}, h('kbd', {}, String(i + 1)), text)));
  function pick(i) {
    if (!choices[i]) return;
    draft.pair.winner = choices[i][0];
    buttons.forEach((button, n) => button.setAttribute('aria-checked', String(n === i)));
    save();
  }
  place.pick = pick;
  const side = (name, pane) => h('section', {class: 'card output', 'aria-label': name}, h('h2', {}, name), pane);
  return h('main', {class: 'desk two'},
    h('section', {class: 'card source', 'aria-label': rubric.source}, h('h2', {}, rubric.source), panes[0]),
    h('div', {class: 'ab'}, side('A', panes[1]), side('B', panes[2])),
    h('section', {class: 'card'}, h('p', {class: 'question'}, t('r_pair_question')),
      h('div', {class: 'levels', role: 'radiogroup', 'aria-label': t('r_pair_question')}, buttons), reason), footer('pair'));
}
const prefer = () => draft.pair.winner ? act({do: 'prefer', ...draft.pair}) : saved(t('r_pair_first'), true);

function failed() {
  const rows = Object.entries(place.result).map(([name, part]) => h('tr', {class: part.right >= part.needed ? 'ok' : 'short'},
    h('th', {scope: 'row'}, title(name)), h('td', {}, t('r_part', part)),
    h('td', {}, part.right >= part.needed ? t('r_enough') : t('r_short', {needed: part.needed, of: part.of}))));
  return h('main', {class: 'read card'}, h('h2', {}, t('r_failed')), h('p', {}, t('r_failed_why')),
    h('table', {class: 'scores'}, h('tbody', {}, rows)),
    place.until ? h('p', {class: 'warn'}, t('r_failed_until', {when: when(place.until)}))
      : [h('p', {}, t('r_failed_again')), go(t('r_again'), () => act({do: 'begin'}))]);
}
function nothing() {
  const until = place.until && h('p', {}, t('r_come_back', {when: when(place.until)}));
  return h('main', {class: 'read card'}, h('h2', {}, t('r_nothing')), h('p', {}, t(`r_why_${place.why}`)), until,
    place.day.total > 0 && h('p', {class: 'quiet'}, t('r_thanks', {n: place.day.today})),
    h('p', {}, h('button', {id: 'go', class: 'plain', onclick: load}, t('r_look_again')),
      place.work && place.day.total > 0 && h('button', {class: 'plain', onclick: undo}, t('r_undo'), ' ', h('kbd', {}, 'U'))));
}
function help() {
  const keys = ['digits', 'arrows', 'enter', 'u', 's', 'm', 'help'];
  dialog(t('r_help'), h('dl', {class: 'keys'}, keys.map(key => [h('dt', {}, t(`r_key_${key}`).split('|')[0].split(' ').map(k => h('kbd', {}, k))),
    h('dd', {}, t(`r_key_${key}`).split('|')[1])])), place.rubric && h('details', {}, h('summary', {}, t('r_guidelines')), rules()));
}

// ---- keys ----
document.addEventListener('keydown', event => {
  if (!place || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || openDialog()) return;
  const writing = event.target.closest('textarea, input, select'), button = event.target.closest('button:not([role=radio]), a, summary');
  const on = (...keys) => keys.includes(event.key.toLowerCase());
  if (writing) {
    if (!writing.matches('textarea') || event.shiftKey || !on('enter', 'escape')) return;
    event.preventDefault();
    if (on('escape')) return writing.blur();
    return place.stage === 'pair' ? prefer() : grades?.confirm();
  }
  if (marking && grades && !grades.answer && marking.key(event)) return event.preventDefault();
  if (on('?')) help();
  else if (on('enter') && !(button && button.id !== 'submit' && button.id !== 'go')) {
    if (place.stage === 'pair') prefer();
    else if (grades) submit();
    else root.querySelector('#go')?.click();
  } else if (on('u')) undo();
  else if (on('s') && ['rate', 'pair'].includes(place.stage)) act({do: 'abstain', seconds: (performance.now() - shownAt) / 1000});
  else if (/^[1-9]$/.test(event.key) && place.stage === 'pair') place.pick(Number(event.key) - 1);
  else if (/^[1-9]$/.test(event.key) && grades) grades.set(Number(event.key));
  else if (on('arrowdown', 'arrowup') && grades) grades.step(on('arrowdown') ? 1 : -1);
  else return;
  event.preventDefault();
});

async function load() {
  try { arrive(await ask('/api/place')); } catch (error) {
    root.replaceChildren(h('p', {class: 'fault', role: 'alert'}, error.message, ' ', h('button', {onclick: load}, t('r_look_again'))));
  }
}
root = await start('rater');
load();
