type Attributes = Record<string, string | number | boolean | undefined>;
type Child = Node | string | undefined | false;

/** Builds an element. Text goes in as text nodes only, so a name from a checkpoint can never become markup. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, '');
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child): child is Node | string => child !== undefined && child !== false));
  return element;
}

export function button(
  text: string,
  onClick: () => void,
  options: { secondary?: boolean } = {},
): HTMLElementTagNameMap['vscode-button'] {
  const element = h('vscode-button', { secondary: options.secondary }, text);
  element.addEventListener('click', onClick);
  return element;
}

/** A disclosure whose open state survives in the page's state. */
export function disclosure(
  summary: string | Node,
  open: boolean,
  onToggle: (open: boolean) => void,
  ...content: Node[]
): HTMLElement {
  const element = h('details', { open }, h('summary', {}, summary), ...content);
  element.addEventListener('toggle', () => onToggle(element.open));
  return element;
}
