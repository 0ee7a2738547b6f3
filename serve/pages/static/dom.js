// What both scripts stand on: elements that hold texts (never markup), the texts themselves, and steps to the server.
// Everything that a person or a model wrote enters the page as a text node, so none of it can become markup.

export const language = () => document.querySelector('.page')?.lang || 'en';
let words = {};

export function t(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

export function h(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, '');
    else made.setAttribute(key, value);
  }
  made.append(...children.flat(9).filter(child => child !== null && child !== undefined && child !== false));
  return made;
}

export async function start(id) {
  while (!document.getElementById(id)) await new Promise(done => setTimeout(done, 30));
  words = await (await fetch(`/texts/${language()}`)).json();
  const root = document.getElementById(id);
  root.closest('.prose')?.classList.remove('prose'); // Gradio's style for long texts is not ours
  return root;
}

const dayBegan = () => new Date(new Date().setHours(0, 0, 0, 0)) / 1000;

// One question to the server. `lost` is set where it did not arrive, so that the caller can try again.
export async function ask(path, body, method = body ? 'POST' : 'GET') {
  let reply;
  try {
    reply = await fetch(`${path}${path.includes('?') ? '&' : '?'}day=${dayBegan()}`, {
      method, headers: body ? {'content-type': 'application/json'} : {}, body: body && JSON.stringify(body),
    });
  } catch (error) {
    throw Object.assign(new Error(t('r_offline')), {lost: true});
  }
  if (reply.status === 401) { location.href = '/login'; return new Promise(() => {}); }
  if (reply.status >= 502) throw Object.assign(new Error(t('r_offline')), {lost: true});
  const answer = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(answer.error || answer.detail || t('r_trouble'));
  return answer;
}

export function when(seconds) {
  const date = new Date(seconds * 1000), today = date.toDateString() === new Date().toDateString();
  const form = today ? {timeStyle: 'short'} : {dateStyle: 'medium', timeStyle: 'short'};
  return new Intl.DateTimeFormat(language() === 'zh' ? 'zh-CN' : undefined, form).format(date);
}

// The bar on top of every page: title, where else to go, language, who is signed in.
export function bar(place, title, middle, links) {
  const other = language() === 'en' ? 'zh' : 'en', here = location.pathname.replace(/^\/(en|zh)/, `/${other}`);
  return h('header', {class: 'top'}, h('h1', {}, title), h('div', {class: 'middle'}, middle),
    h('nav', {'aria-label': t('r_nav')}, links,
      h('a', {href: here, lang: other}, other === 'zh' ? '中文' : 'English'),
      h('form', {method: 'post', action: '/logout'},
        h('button', {class: 'plain', title: place.user}, t('r_logout', {name: place.user})))));
}

export function dialog(title, ...content) {
  const box = h('dialog', {'aria-label': title, class: 'card'}, h('h2', {}, title), content,
    h('form', {method: 'dialog'}, h('button', {class: 'primary', autofocus: true}, t('r_close'))));
  box.addEventListener('close', () => box.remove());
  document.querySelector('.page').append(box);
  box.showModal();
}

export const openDialog = () => document.querySelector('dialog[open]') !== null;
