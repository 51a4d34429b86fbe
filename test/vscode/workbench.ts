// A real VS Code (code-server and a headless Chromium) that the end-to-end tests drive as a user would: keys, clicks, and what is on the screen.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type Frame, type Locator, type Page } from 'playwright-core';
import { CodeServer, until } from './codeServer.js';
import { oneLine, ProblemsPanel, readRows } from './problems.js';

const SCREENSHOTS = fileURLToPath(new URL('../../test-output/screenshots/', import.meta.url));

/** Of each theme: the setting's value, the label in the picker, the class that the workbench gets, and what the webviews are told. */
const THEMES = {
  light: ['Default Light Modern', 'Light Modern', 'vscode-theme-defaults-themes-light_modern-json', 'vscode-light'],
  dark: ['Default Dark Modern', 'Dark Modern', 'vscode-theme-defaults-themes-dark_modern-json', 'vscode-dark'],
  'hc-dark': ['Default High Contrast', 'Dark High Contrast', 'hc-black', 'vscode-high-contrast'],
  'hc-light': ['Default High Contrast Light', 'Light High Contrast', 'hc-light', 'vscode-high-contrast-light'],
} as const;
export type Theme = keyof typeof THEMES;

const QUIET_SETTINGS = {
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'workbench.enableExperiments': false,
  'telemetry.telemetryLevel': 'off',
  'security.workspace.trust.enabled': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  // Rows that stick to the top of a list cover, and repeat, those that the tests look for.
  'workbench.tree.enableStickyScroll': false,
  // A hover that pops up under the resting mouse covers rows and takes clicks.
  'workbench.hover.delay': 600_000,
};

const CHROME_FLAGS =
  '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync'.split(
    ' ',
  );

export interface LaunchOptions {
  /** The packaged extension, as users install it. */
  vsix: string;
  /** The folder to open; tests that change files pass a copy. */
  workspace: string;
  settings?: Record<string, unknown>;
  theme?: Theme;
  /** Part of the temporary folder's name, to tell runs apart. */
  name: string;
}

export interface ConsoleMessage {
  kind: 'error' | 'csp' | 'exception';
  text: string;
  /** The script or document that reported it; empty when unknown. */
  url: string;
}

export class Workbench {
  /** Errors, exceptions and CSP violations of the workbench and all webviews so far; failed network loads count only within webviews. */
  readonly consoleMessages: ConsoleMessage[] = [];
  /** How long the parts of the launch took, in ms. */
  readonly launchTimes: Record<string, number> = {};
  private readonly problems: ProblemsPanel;

  private constructor(
    /** The browser's page, for what has no method here. */
    readonly page: Page,
    private readonly browser: Browser,
    private readonly server: CodeServer,
  ) {
    this.problems = new ProblemsPanel(page, (title) => this.runCommand(title));
    page.on('pageerror', (error) => this.consoleMessages.push({ kind: 'exception', text: error.message, url: '' }));
    page.on('console', (message) => {
      const [text, { url }] = [message.text(), message.location()];
      const csp = text.includes('Content Security Policy');
      // Source maps, the extension gallery and the like are absent by design in this offline workbench.
      if (text.startsWith('Failed to load resource') && !url.includes('vscode-resource')) return;
      if (csp || message.type() === 'error') this.consoleMessages.push({ kind: csp ? 'csp' : 'error', text, url });
    });
  }

  static async launch({ vsix, workspace, settings = {}, theme = 'light', name }: LaunchOptions): Promise<Workbench> {
    let mark = Date.now();
    const times: Record<string, number> = {};
    const lap = (part: string) => {
      times[part] = Date.now() - mark;
      mark = Date.now();
    };
    const script = (await import(new URL('../../scripts/prepare-vscode.mjs', import.meta.url).href)) as {
      prepareWorkbench(): Promise<{ entry: string; chrome: string }>;
    };
    const { entry, chrome } = await script.prepareWorkbench();
    lap('prepare');

    const server = await CodeServer.create(entry, name);
    let browser: Browser | undefined;
    try {
      await server.writeSettings({ ...QUIET_SETTINGS, ...settings, 'workbench.colorTheme': THEMES[theme][0] });
      await server.install(vsix);
      lap('install');
      const address = await server.start();
      browser = await chromium.launch({ executablePath: chrome, args: CHROME_FLAGS });
      const page = await browser.newPage({ viewport: { width: 1400, height: 900 }, locale: 'en-US' });
      const bench = new Workbench(page, browser, server);
      lap('start');
      await page.goto(`${address}?folder=${encodeURIComponent(path.resolve(workspace))}`);
      await page.locator('.monaco-workbench').waitFor({ timeout: 60_000 });
      lap('workbench');
      await until(
        'ready extension host',
        60_000,
        async () => (await server.hostLog()).includes('Eager extensions activated') || undefined,
      );
      await bench.themeApplied(theme);
      lap('extensions');
      Object.assign(bench.launchTimes, times);
      return bench;
    } catch (error) {
      await browser?.close();
      await server.close();
      throw error;
    }
  }

  /** The extension host's log, with the activations in order. */
  hostLog(): Promise<string> {
    return this.server.hostLog();
  }

  private get input(): Locator {
    return this.page.locator('.quick-input-widget .quick-input-box input:visible');
  }

  /** Opens Quick Open with this text. A page whose focus got lost swallows keys, hence the click into empty space and the second try. */
  private async quickAccess(text: string): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      await this.page.keyboard.press('F1');
      try {
        await this.input.waitFor({ timeout: attempt < 3 ? 2000 : 10_000 });
        return await this.input.fill(text, { timeout: 2000 });
      } catch (error) {
        if (attempt === 3) throw error;
        await this.page.locator('.part.statusbar').click({ position: { x: 600, y: 10 } });
      }
    }
  }

  /** Waits until the quick input took what was accepted: it closed or asks something else. A validation error that stays is a refusal. */
  private async quickInputTaken(text: string, entry?: Locator): Promise<void> {
    const widget = this.page.locator('.quick-input-widget');
    let refusedSince = Infinity;
    const taken = await until(`reaction to "${text}" in the quick input`, 5000, async () => {
      if ((await this.input.count()) === 0 || (entry && (await entry.count()) === 0)) return true;
      if ((await this.input.inputValue({ timeout: 100 })) !== text) return true;
      refusedSince = (await widget.locator('.monaco-inputbox.error').count()) > 0 ? Math.min(refusedSince, Date.now()) : Infinity;
      return Date.now() - refusedSince > 500 ? false : undefined;
    });
    if (!taken) throw new Error(`"${text}" was refused: ${oneLine(await widget.locator('.quick-input-message').innerText())}`);
  }

  /** Clicks the entry with exactly this label in the open quick pick, wherever the fuzzy ordering put it. */
  async quickPick(label: string, description?: string): Promise<void> {
    const row = this.page
      .locator('.quick-input-list .monaco-list-row')
      .filter({ has: this.page.locator('.label-name').getByText(label, { exact: true }) });
    const exact =
      description === undefined ? row : row.filter({ has: this.page.locator('.label-description').getByText(description) });
    const typed = await this.input.inputValue();
    try {
      await exact.first().click({ timeout: 5000 });
    } catch {
      const seen = await this.page.locator('.quick-input-list .monaco-list-row .label-name').allTextContents();
      throw new Error(`No entry "${label}" among: ${seen.join(' | ')}`);
    }
    await this.quickInputTaken(typed, exact);
  }

  /** Runs a command by its full title in the palette, such as "View: Close All Editors". */
  async runCommand(title: string): Promise<void> {
    await this.quickAccess(`>${title}`);
    await this.quickPick(title);
  }

  /** Opens a file of the workspace with Quick Open and waits for its tab. */
  async openFile(relativePath: string): Promise<void> {
    const [folder, name] = [path.dirname(relativePath), path.basename(relativePath)];
    await this.quickAccess(relativePath);
    await this.quickPick(name, folder === '.' ? undefined : folder);
    await this.page
      .locator(`.tab.active[data-resource-name=${JSON.stringify(name)}]`)
      .first()
      .waitFor({ timeout: 10_000 });
  }

  /** Types into the open input box (or quick pick, or simple file dialog) and accepts; throws the validation message of a refused text. */
  async quickInput(text: string): Promise<void> {
    await this.input.waitFor({ timeout: 10_000 });
    await this.input.fill(text);
    await this.page.keyboard.press('Enter');
    await this.quickInputTaken(text);
  }

  /** Shows the Problems panel and gives its rows in order: "name folder count" for a file, "Severity: message source code [Ln, Col]" below it. */
  openProblems(): Promise<string[]> {
    return this.problems.open();
  }

  /** Clicks the Problems row that contains the text, as a user does to go to it (this opens its file), and gives the row. */
  clickProblem(rowText: string): Promise<Locator> {
    return this.problems.click(rowText);
  }

  /** The titles of the fixes that a Problems row offers once clicked; empty when its light bulb stays off for as long as `patience` in ms. */
  quickFix(rowText: string, patience = 3000): Promise<string[]> {
    return this.problems.quickFix(rowText, patience);
  }

  applyQuickFix(rowText: string, title: string): Promise<void> {
    return this.problems.applyQuickFix(rowText, title);
  }

  /**
   * The inner frame of the visible webview in which the selector matches (or the predicate holds). Where a tab has just been switched, the
   * selector should not fit the old one.
   */
  webview(wanted: string | ((frame: Frame) => Promise<boolean>), timeout = 15_000): Promise<Frame> {
    const holds = typeof wanted === 'string' ? async (frame: Frame) => (await frame.locator(wanted).count()) > 0 : wanted;
    const isShown = async (frame: Frame) => (await frame.frameElement()).isVisible();
    return until(`webview with ${String(wanted)}`, timeout, async () => {
      for (const frame of this.page.frames()) {
        // Webviews are two frames deep: the outer one is hidden with its tab, the inner one while it loads.
        const outer = frame.parentFrame();
        if (!outer?.parentFrame()) continue;
        const found = async () => (await isShown(outer)) && (await isShown(frame)) && (await holds(frame));
        if (await found().catch(() => false)) return frame;
      }
      return undefined;
    });
  }

  /** The texts of the notifications on the screen; with `all` also of those that went to the notification centre, which stays open. */
  async notifications(all = false): Promise<string[]> {
    if (all) await this.runCommand('Notifications: Show Notifications');
    return (await this.page.locator('.notification-list-item-message:visible').allInnerTexts()).map(oneLine);
  }

  /** Clicks a button of a notification; one that went to the notification centre meanwhile is found there. */
  async clickNotificationButton(label: string): Promise<void> {
    const button = this.page.locator('.notification-list-item .monaco-button:visible').getByText(label, { exact: true }).first();
    try {
      await button.click({ timeout: 5000 });
    } catch {
      const texts = await this.notifications(true);
      await button.click({ timeout: 2000 }).catch(() => {
        throw new Error(`No button "${label}" on the notifications: ${texts.join(' | ')}`);
      });
    }
  }

  /** Picks a theme as a user does: this server tells the workbench nothing of a settings.json that changes on disk. */
  async setTheme(theme: Theme): Promise<void> {
    const [, label] = THEMES[theme];
    await this.runCommand('Preferences: Color Theme');
    await this.input.fill(label);
    await this.quickPick(label);
    await this.themeApplied(theme);
  }

  private async themeApplied(theme: Theme): Promise<void> {
    const [, , workbench, webview] = THEMES[theme];
    await this.page.locator(`.monaco-workbench.${workbench}`).waitFor({ timeout: 15_000 });
    const stale = `body[data-vscode-theme-kind]:not([data-vscode-theme-kind="${webview}"])`;
    await until(`${theme} theme in all webviews`, 5000, async () => {
      const counts = await Promise.all(this.page.frames().map((frame) => frame.locator(stale).count()));
      return counts.every((count) => count === 0) || undefined;
    });
  }

  /** Saves what is on the screen and gives the file. */
  async screenshot(name: string): Promise<string> {
    await mkdir(SCREENSHOTS, { recursive: true });
    const file = path.join(SCREENSHOTS, `${name}.png`);
    await this.page.screenshot({ path: file, animations: 'disabled', caret: 'hide' });
    return file;
  }

  /** How long the activation of an extension ("publisher.name") took, in ms, as VS Code itself measured it. */
  async activationTime(extensionId: string): Promise<number> {
    await this.runCommand('Developer: Show Running Extensions');
    const list = this.page.locator('.runtime-extensions-editor .monaco-list');
    // The list fills in steps, and its rows know the extension by its name alone.
    const time = await until(`activation of ${extensionId}`, 10_000, async () => {
      const row = (await readRows(list)).find(({ label }) => label === extensionId.split('.')[1]);
      const ms = /Activation: (\d+) ?ms/.exec(row?.text ?? '')?.[1];
      return ms === undefined ? undefined : Number(ms);
    });
    await this.runCommand('View: Close Editor');
    return time;
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.server.close();
  }
}
