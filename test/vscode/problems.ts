// The Problems panel as the end-to-end tests use it, and the reading of any list of the workbench.
import { type Locator, type Page } from 'playwright-core';
import { until } from './codeServer.js';

/** What the tests need of a list's row, read in the page at once. */
interface Row {
  index: number;
  text: string;
  label: string;
  level: number;
  last: boolean;
}

/** The tests compile without the browser's types. */
interface RowElement {
  innerText: string;
  getAttribute(name: string): string | null;
}

export const oneLine = (text: string) => text.replace(/\s+/g, ' ').trim();

/** The rows of a list from the top, until one fits `wanted`; scrolls, since a list only holds the rows that it shows. */
export async function readRows(list: Locator, wanted?: (row: Row) => boolean): Promise<Row[]> {
  const { mouse } = list.page();
  const shown = () =>
    list.locator('.monaco-list-rows > .monaco-list-row').evaluateAll((elements: RowElement[]) =>
      elements.map((it) => ({
        index: Number(it.getAttribute('data-index')),
        text: it.innerText.replace(/\s+/g, ' ').trim(), // runs in the page, which does not know oneLine
        label: it.getAttribute('aria-label') ?? '',
        level: Number(it.getAttribute('aria-level')),
        last: it.getAttribute('data-last-element') === 'true',
      })),
    );
  const all: Row[] = [];
  const box = await list.boundingBox();
  if (!box || (await shown()).length === 0) return all;
  await mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  for (;;) {
    const next = await until(`row ${all.length} of the list`, 5000, async () => {
      const row = (await shown()).sort((a, b) => a.index - b.index);
      const fresh = row.filter(({ index }) => index >= all.length);
      if (fresh[0]?.index === all.length) return fresh;
      // A single turn of the wheel may get lost while the list renders.
      await mouse.wheel(0, all.length === 0 ? -1e5 : box.height * 0.7);
      return undefined;
    });
    all.push(...next);
    if (all.at(-1)?.last || (wanted && next.some(wanted))) return all;
  }
}

export class ProblemsPanel {
  constructor(
    private readonly page: Page,
    private readonly runCommand: (title: string) => Promise<void>,
  ) {}

  private get list(): Locator {
    return this.page.locator('.markers-panel .monaco-list');
  }

  /** Shows the Problems panel and gives its rows in order: "name folder count" for a file, "Severity: message source code [Ln, Col]" below it. */
  async open(): Promise<string[]> {
    await this.runCommand('Problems: Focus on Problems View');
    await this.page.locator('.markers-panel').waitFor({ timeout: 10_000 });
    const rows = await readRows(this.list);
    return rows.map(({ text, label, level }) => (level === 2 ? `${label.split(':', 1)[0]}: ${text}` : text));
  }

  /** Clicks the Problems row that contains the text, as a user does to go to it (this opens its file), and gives the row. */
  async click(rowText: string): Promise<Locator> {
    if (!(await this.list.isVisible())) await this.runCommand('Problems: Focus on Problems View');
    const rows = this.list.locator('.monaco-list-rows > [aria-level="2"]').filter({ hasText: rowText });
    if ((await rows.count()) === 0) {
      const wanted = (row: Row) => row.level === 2 && row.text.includes(rowText);
      if (!(await readRows(this.list, wanted)).some(wanted)) throw new Error(`No row "${rowText}" in the Problems panel`);
    }
    // The start of the message: the icon gives way to the light bulb, and the code may be a link.
    await rows
      .first()
      .locator('.marker-message')
      .first()
      .click({ position: { x: 4, y: 8 }, timeout: 5000 });
    return rows.first();
  }

  /** Opens the fixes of a Problems row; undefined when the workbench offers none, which it does not say before some time passed. */
  private async fixMenu(rowText: string, patience: number): Promise<Locator | undefined> {
    const row = await this.click(rowText);
    const bulb = row.locator('.markers-panel-action-quickfix:not(.disabled)');
    try {
      await bulb.waitFor({ timeout: patience });
    } catch {
      return undefined;
    }
    await bulb.click();
    const items = this.page.locator('.monaco-menu .action-item .action-label:visible');
    await items.first().waitFor({ timeout: 5000 });
    return items;
  }

  /** The titles of the fixes that a Problems row offers; empty when its light bulb stays off. */
  async quickFix(rowText: string, patience: number): Promise<string[]> {
    const titles = await (await this.fixMenu(rowText, patience))?.allInnerTexts();
    if (titles) await this.page.keyboard.press('Escape');
    return (titles ?? []).map(oneLine);
  }

  async applyQuickFix(rowText: string, title: string): Promise<void> {
    const menu = await this.fixMenu(rowText, 10_000);
    if (!menu) throw new Error(`No fixes are offered on "${rowText}"`);
    // A menu ignores the mouse for a moment after it opened.
    await until(`reaction to "${title}" in the menu: ${(await menu.allInnerTexts()).join(' | ')}`, 5000, async () => {
      await menu.getByText(title, { exact: true }).click({ timeout: 1000 });
      return menu
        .first()
        .waitFor({ state: 'hidden', timeout: 300 })
        .then(() => true);
    });
  }
}
