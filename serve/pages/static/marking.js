// Mark a passage: with the mouse or a finger (select, then the button or M), or by keyboard alone (M, then the arrows).
import {h, t} from './dom.js';

export class Marking {
  constructor(panes, add) {
    Object.assign(this, {panes, add, keyboard: false});
    this.button = h('button', {type: 'button', class: 'mark-here', hidden: true, onclick: () => this.take()}, t('r_mark'));
    // Pressing the button must not clear the selection it is about.
    this.button.addEventListener('pointerdown', event => event.preventDefault());
    document.onselectionchange = () => this.offer();
  }
  chosen() {
    const selection = document.getSelection();
    if (!selection || selection.isCollapsed) return '';
    const pane = this.panes().find(p => p.contains(selection.anchorNode) && p.contains(selection.focusNode));
    return pane ? selection.toString().trim() : '';
  }
  offer() {
    const text = this.chosen();
    this.button.hidden = !text || this.keyboard;
    if (this.button.hidden) return;
    const spot = document.getSelection().getRangeAt(0).getBoundingClientRect();
    this.button.style.left = `${Math.max(8, Math.min(innerWidth - 130, spot.left + spot.width / 2 - 50))}px`;
    this.button.style.top = `${Math.min(innerHeight - 44, spot.bottom + 6)}px`;
  }
  take() {
    const text = this.chosen();
    document.getSelection().removeAllRanges();
    this.stop();
    if (text) this.add(text);
  }
  // M without a selection: the first word of the first text is chosen, and the keys move it.
  begin(pane = 0) {
    const text = this.panes()[pane];
    Object.assign(this, {keyboard: true, pane, from: 0, to: 0, words: words(text.textContent)});
    document.body.classList.add('marking');
    text.focus({preventScroll: true});
    text.scrollIntoView({block: 'nearest'});
    this.show();
  }
  stop() {
    this.keyboard = false;
    this.button.hidden = true;
    document.body.classList.remove('marking');
  }
  show() {
    if (!this.words.length) return;
    const [low, high] = [Math.min(this.from, this.to), Math.max(this.from, this.to)], text = this.panes()[this.pane];
    document.getSelection().setBaseAndExtent(...spot(text, this.words[low][0]), ...spot(text, this.words[high][1]));
  }
  // True where the key was meant for marking.
  key(event) {
    if (!this.keyboard) {
      if (event.key.toLowerCase() !== 'm') return false;
      this.chosen() ? this.take() : this.begin();
      return true;
    }
    const by = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10}[event.key];
    if (by) {
      this.to = Math.min(this.words.length - 1, Math.max(0, this.to + by));
      if (!event.shiftKey) this.from = this.to;
      this.show();
    } else if (event.key === 'Tab') this.begin((this.pane + 1) % this.panes().length);
    else if (event.key === 'Enter' || event.key.toLowerCase() === 'm') this.take();
    else if (event.key === 'Escape') {
      document.getSelection().removeAllRanges();
      this.stop();
    }
    return true;
  }
}

// [from, to] of every word, in languages with and without spaces.
function words(text) {
  const found = [...new Intl.Segmenter(undefined, {granularity: 'word'}).segment(text)];
  return found.filter(part => part.isWordLike).map(part => [part.index, part.index + part.segment.length]);
}

// The text node and the place in it for a place in the whole text.
function spot(root, at) {
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  let node;
  while ((node = walk.nextNode())) {
    if (at <= node.length) return [node, at];
    at -= node.length;
  }
  return [root, root.childNodes.length];
}
