// Redraws that take nothing away: a child that did not change stays the element that it was, with
// focus, selection and scroll position. Children are known by their data-key.

const STOPS = "a, button, summary";
const stops = (element) => [element, ...element.querySelectorAll(STOPS)];

function kept(old, made) {
  if (!old) return made;
  const opened = [...old.querySelectorAll("details")].map((detail) => detail.open);
  made.querySelectorAll("details").forEach((detail, index) => { detail.open = opened[index] ?? false; });
  return old.isEqualNode(made) ? old : made;
}

function place(container, children) {
  const staying = new Set(children);
  for (const child of [...container.children]) if (!staying.has(child)) child.remove();
  let next = container.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else container.insertBefore(child, next);
  }
}

export function draw(container, wanted) {
  const present = new Map([...container.children].map((child) => [child.dataset.key, child]));
  const focused = document.activeElement;
  const holder = [...present.values()].find((child) => child.contains(focused));
  const stop = holder && stops(holder).indexOf(focused);
  const children = wanted.flat().filter(Boolean).map((made) => kept(present.get(made.dataset.key), made));
  place(container, children);
  if (!holder || document.activeElement === focused) return;
  const twin = children.find((child) => child.dataset.key === holder.dataset.key);
  if (twin) stops(twin)[stop]?.focus({ preventScroll: true });
}
