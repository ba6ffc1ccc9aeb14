import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContextOptions, type Locator, type Page } from 'playwright-core';
import { findProgram } from './wait.js';

/** Debian's browser. */
export const program = findProgram('chromium');

const FLAGS = ['no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run', 'disable-background-networking', 'disable-component-update', 'disable-sync'];
const AXE = readFileSync(join(__dirname, '../../node_modules/axe-core/axe.min.js'), 'utf8');

export interface Violation {
  rule: string;
  where: string[];
}

/** One browser with a profile of its own, and everything that its pages did that they should not. */
export class TestBrowser {
  /** What scripts threw, what the console complained of, and what the Content-Security-Policy stopped. */
  readonly complaints: string[] = [];
  readonly requests: string[] = [];
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<TestBrowser> {
    return new TestBrowser(await chromium.launch({ executablePath: program!, headless: true, args: FLAGS.map((flag) => `--${flag}`) }));
  }

  async open(url: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', ...options });
    const page = await context.newPage();
    page.on('pageerror', (error) => this.complaints.push(error.message));
    page.on('console', (message) => {
      // An answer that is no success is the service's to give; the page says it itself.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) this.complaints.push(message.text());
    });
    page.on('request', (request) => this.requests.push(request.url()));
    await page.goto(url);
    context.setDefaultTimeout(120_000);
    return page;
  }

  close(): Promise<void> {
    return this.#browser.close();
  }
}

/** What axe finds wrong with what the page shows now. */
export async function violations(page: Page): Promise<Violation[]> {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } };
    return (await axe.run()).violations.map(({ id, nodes }) => ({ rule: id, where: nodes.map(({ html }) => html.slice(0, 200)) }));
  });
}

/** Drops a file there, as a hand would. */
export async function drop(target: Locator, name: string, bytes: Buffer): Promise<void> {
  const data = await target.page().evaluateHandle(
    ({ name, base64 }) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name));
      return transfer;
    },
    { name, base64: bytes.toString('base64') },
  );
  for (const type of ['dragenter', 'dragover', 'drop']) await target.dispatchEvent(type, { dataTransfer: data });
}
