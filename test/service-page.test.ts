import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addToken } from '../packages/service/dist/index.js';
import { film } from '../scripts/service/film.mjs';
import { mjpegServer } from '../scripts/service/mjpeg.mjs';
import { freePort } from './support/broker.js';
import { drop, program, TestBrowser, violations } from './support/browser.js';
import { photo, RunningService } from './support/service.js';
import { until } from './support/wait.js';

/** Pictures of every view, to be looked at. */
const SCREENSHOTS = process.env.FAISS_VISION_SCREENSHOTS;
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };
/** Both colour schemes and both widths; all four where there are pictures to be looked at. */
const LOOKS = [
  { name: 'desktop, light', colorScheme: 'light', viewport: DESKTOP },
  { name: 'phone, dark', colorScheme: 'dark', viewport: PHONE },
  ...(SCREENSHOTS === undefined
    ? []
    : ([
        { name: 'desktop, dark', colorScheme: 'dark', viewport: DESKTOP },
        { name: 'phone, light', colorScheme: 'light', viewport: PHONE },
      ] as const)),
] as const;
const VIEWS = ['live', 'events', 'people', 'enrol', 'rules', 'health'];
/** The wall of the made film. */
const WALL = [0x8a, 0x90, 0x99];

if (program === undefined) console.log('skipped: the tests of the page need chromium, which is not installed (apt-get install chromium)');

const plain = (background: string) => sharp({ create: { width: 304, height: 228, channels: 3, background } }).jpeg().toBuffer();

describe.skipIf(program === undefined)('the page (with chromium)', () => {
  let service: RunningService;
  let browser: TestBrowser;
  let page: Page;
  const closing: { close(): unknown }[] = [];
  const tokens: Record<'owner' | 'guard', string> = { owner: '', guard: '' };
  const bearer = () => ({ authorization: `Bearer ${tokens.owner}` });

  beforeAll(async () => {
    // Slow enough for many frames on the way in and out.
    const door = await mjpegServer(await film([{ photo: photo('obama2.jpg'), name: 'obama2.jpg' }], { nobody: 12, moving: 30, staying: 30 }));
    // What seeded weights take for far, and for near.
    const [far, near] = [await plain('white'), await plain('black')];
    const drive = await mjpegServer([...Array<Buffer>(20).fill(far), ...Array<Buffer>(20).fill(near)], { fps: 5 });
    closing.push(door, drive);
    const nothing = await freePort();
    service = new RunningService({
      http: { port: await freePort() },
      cameras: [
        { id: 'door', name: 'Front door', source: door.url },
        { id: 'drive', name: 'Drive', source: drive.url, faces: false, depth: true },
        { id: 'shed', name: 'Shed', source: `http://user:secret@127.0.0.1:${nothing}/` },
      ],
      models: { depth: { weights: 'seeded', every: 0.3 } },
      decision: { frames: 2, leftAfter: 0.5 },
      events: { snapshots: true },
      webhooks: [{ name: 'away', url: `http://127.0.0.1:${nothing}/`, secret: 'a secret of sixteen' }],
      rules: [{ name: 'keep-faces', people: 'everyone', cameras: ['door'], hours: '00:00-23:59', do: [{ photo: true }] }],
    });
    tokens.owner = await addToken(service.file, 'owner', ['read', 'people']);
    tokens.guard = await addToken(service.file, 'guard', ['read']);
    await service.start();
    browser = await TestBrowser.start();
    closing.push(service, browser);
    page = await browser.open(service.url);
  });
  afterAll(async () => {
    for (const each of closing.toReversed()) await each.close();
  });

  const show = async (view: string, on = page) => {
    await on.evaluate((hash) => (location.hash = hash), `#/${view}`);
    await on.locator('h1').waitFor();
  };
  const signIn = async (on: Page, token: string) => {
    await on.getByLabel('Token').fill(token);
    await on.getByRole('button', { name: 'Sign in' }).click();
  };
  const card = (name: string, on = page) => on.getByRole('article', { name });

  it('asks for a token, and says what is wrong with one', async () => {
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(await violations(page)).toEqual([]);
    await signIn(page, 'fv_000000000000_wrong');
    await page.getByRole('alert').getByText('there is no such token').waitFor();
    await signIn(page, tokens.owner);
    await page.getByRole('heading', { name: 'Live', exact: true }).waitFor();
    expect(await page.evaluate(() => [...Object.values(sessionStorage), ...Object.values(localStorage)])).toEqual([tokens.owner]);
    expect(await page.context().cookies()).toEqual([]);
  });

  it('refuses a photo without a face and a blurred one, with the reason and the numbers, and enrols a good one', async () => {
    await show('enrol');
    const zone = page.locator('.drop');
    const wall = await plain('#8a9099');
    await drop(zone, 'nameless.jpg', wall);
    await page.getByRole('alert').getByText('Whose face is it?').waitFor();
    await page.getByLabel('Name', { exact: true }).fill('Barack Obama');
    await drop(zone, 'wall.jpg', wall);
    const verdict = (title: string) => page.getByRole('listitem').filter({ hasText: title });
    await verdict('wall.jpg').getByText(/Not enrolled: .*face/).waitFor();
    // Small, so that the detector finds the face and little of it is left.
    const blurred = await sharp(photo('obama2.jpg')).resize(300).blur(3).jpeg().toBuffer();
    await drop(zone, 'blurred.jpg', blurred);
    await verdict('blurred.jpg').getByText(/Not enrolled: .*sharpness/).waitFor();
    expect(Number(await verdict('blurred.jpg').locator('.measured-bad dd').innerText().then(parseFloat))).toBeGreaterThan(0);
    expect(await verdict('blurred.jpg').locator('dt').count()).toBe(6);
    await drop(zone, 'obama.jpg', readFileSync(photo('obama.jpg')));
    await verdict('obama.jpg').getByText('Enrolled for Barack Obama, who is new').waitFor();
    expect(await violations(page)).toEqual([]);
    await picture('verdicts');
  });

  it('shows who is at the door, each box on its own frame', async () => {
    await show('live');
    await card('Front door').locator('.face-recognised').getByText('Barack Obama').waitFor();
    await card('Front door').locator('.face-recognised').getByText(/distance 0\.\d\d · face [01]\.\d{3}/).waitFor();
    await card('Front door').getByRole('img', { name: 'Front door: Barack Obama' }).waitFor();
    // As over a slow line: while a picture is on its way, newer ones are looked at.
    await page.route('**/door/frame.jpg', async (route) => {
      const response = await route.fetch();
      await sleep(400);
      await route.fulfill({ response }).catch(() => {});
    });
    // The card of the film moves over a plain wall: from its left edge to the box it is always as far.
    const places: { edge: number; box: number }[] = [];
    await until('boxes were seen on the way and at rest', async () => {
      const place = await page.evaluate((wall) => {
        const canvas = document.querySelector<HTMLCanvasElement>('[aria-labelledby=camera-door] canvas')!;
        const box = document.querySelector<HTMLElement>('[aria-labelledby=camera-door] .face');
        if (!box) return undefined;
        const { data, width } = canvas.getContext('2d')!.getImageData(0, 400, canvas.width, 1);
        const differs = (x: number) => Math.max(...wall.map((value, i) => Math.abs(value - data[4 * x + i]!))) > 24;
        const edge = Array.from({ length: width }, (_, x) => x).findIndex(differs);
        return { edge, box: (parseFloat(box.style.left) / 100) * width };
      }, WALL);
      if (place && place.edge > 20) places.push(place);
      const edges = places.map(({ edge }) => edge);
      return Math.max(...edges) > 185 && edges.filter((edge) => edge < 140).length > 0;
    });
    const ways = places.map(({ edge, box }) => box - edge);
    expect(Math.max(...ways) - Math.min(...ways)).toBeLessThan(25);
    await page.unroute('**/door/frame.jpg');
  });

  it('lights up when something is near, and tells of it', async () => {
    // Read at one moment: it is over soon.
    const seen = () =>
      card('Drive').evaluate((element) => {
        const light = element.querySelector('.near-light')!;
        return { text: light.textContent, near: light.getAttribute('data-near'), covered: element.querySelector('meter')!.value > 0.3 };
      });
    await expect.poll(seen, { timeout: 120_000, interval: 20 }).toEqual({ text: expect.stringContaining('Something is near'), near: 'true', covered: true });
    await picture('near');
    await card('Drive').getByText('Nothing is near').waitFor();
    await page.locator('.newest').getByText(/Something is near: \d+ % of the picture/).first().waitFor();
    await page.getByRole('status').getByText(/Front door: |Drive: /).waitFor({ state: 'attached' });
    const map = await card('Drive').getByRole('img', { name: 'Depth map' }).evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
      return [canvas.width, canvas.height, new Set(new Uint32Array(data.buffer)).size > 50];
    });
    expect(map).toEqual([160, 128, true]);
  });

  it('shows a dead camera as such, with the reason and without its password', async () => {
    await card('Shed').getByText('Lost', { exact: true }).first().waitFor();
    expect(await card('Shed').locator('.frame-reason').innerText()).not.toBe('');
    await show('health');
    const row = page.getByRole('row').filter({ hasText: 'Shed' });
    await row.getByText('Lost').waitFor();
    expect(await page.content()).not.toContain('secret');
    await page.getByText(/away:/).waitFor(); // the webhook that is not there
  });

  it('says why the service is not ready', async () => {
    await show('health');
    await page.getByText('Ready', { exact: true }).waitFor();
    const other = new Database(join(service.folder, 'data', 'service.db'));
    try {
      other.exec('BEGIN IMMEDIATE');
      await page.getByRole('alert').filter({ hasText: 'Not ready: database' }).getByText('database is locked').waitFor();
    } finally {
      other.close();
    }
    await page.getByText('Ready', { exact: true }).waitFor();
  });

  it('lists events with their pictures, and what the rules did', async () => {
    await show('events');
    await page.getByLabel('What').selectOption('recognised');
    const first = page.locator('.event').first();
    await first.getByText('Barack Obama recognised').waitFor();
    await page.locator('.event .snapshot').first().waitFor();
    await until('no other event is listed', async () => (await page.locator('.event').filter({ hasNotText: 'recognised' }).count()) === 0);
    await show('rules');
    const sentence = 'When anybody who is enrolled is recognised at Front door between 00:00 and 23:59, it keeps the photo of the face.';
    await card('keep-faces').getByText(sentence).waitFor();
    await card('keep-faces').getByText('Last acted').waitFor();
    await page.getByRole('cell', { name: 'done' }).first().waitFor();
  });

  it('finds, renames and forgets people, after asking', async () => {
    await service.call('POST', '/v1/people?name=Joe%20Biden', readFileSync(photo('biden.jpg')), bearer());
    await show('people');
    await page.getByRole('link', { name: 'Joe Biden' }).waitFor();
    await page.getByRole('searchbox').fill('BÍD');
    await page.getByRole('link', { name: 'Barack Obama' }).waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'Joe Biden' }).click();
    await page.getByLabel('Name', { exact: true }).fill('J. Biden');
    await page.getByRole('button', { name: 'Rename' }).click();
    await page.getByRole('heading', { name: 'J. Biden', level: 1 }).waitFor();
    await page.getByLabel('Name', { exact: true }).fill('Barack Obama');
    await page.getByRole('button', { name: 'Rename' }).click();
    await page.getByRole('alert').waitFor();
    await page.getByRole('button', { name: 'Forget J. Biden' }).click();
    expect(await violations(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.waitForFunction(() => document.activeElement?.textContent === 'Forget J. Biden', undefined);
    await page.getByRole('button', { name: 'Forget J. Biden' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Forget' }).click();
    await page.getByRole('heading', { name: 'People', exact: true }).waitFor();
    const { people } = (await service.call('GET', '/v1/people', undefined, bearer())).body;
    expect(people.map(({ name }: { name: string }) => name)).toEqual(['Barack Obama']);
  });

  it('enrols from what a camera shows', async () => {
    await show('enrol?camera=door');
    await page.getByLabel('Name', { exact: true }).fill('Barack Obama');
    await until('the face at the door is enrolled', async () => {
      await page.locator('.frame .face').waitFor();
      await page.getByRole('button', { name: 'Enrol the face in this picture' }).click();
      await page.locator('.verdict-waiting').waitFor({ state: 'detached' });
      return (await page.locator('.verdict').first().getByText('Enrolled for Barack Obama').count()) === 1;
    });
    expect((await service.call('GET', '/v1/people', undefined, bearer())).body.people[0].faces).toBe(2);
  });

  it('goes by keyboard alone', async () => {
    await show('live');
    await page.reload();
    await page.getByRole('heading', { name: 'Live', exact: true }).waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim());
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('Skip to the content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('main');
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('Pause');
    expect(await page.evaluate(() => getComputedStyle(document.activeElement!).outlineStyle)).toBe('solid');
    await page.keyboard.press('Space');
    expect(await focused()).toBe('Go on');
    await page.keyboard.press('Space');
    for (let i = 0; i < 10 && (await focused()) !== 'Rules'; i++) await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'People', exact: true }).waitFor();
    expect(await focused()).toBe('People');
    await page.getByRole('link', { name: 'Barack Obama' }).waitFor();
    const seen = new Set<string | undefined>();
    for (let i = 0; i < 12; i++) {
      await page.keyboard.press('Tab');
      seen.add(await focused());
    }
    expect([...seen]).toEqual(expect.arrayContaining(['Enrol somebody', 'Barack Obama', 'Sign out']));
  });

  it.each(LOOKS)('every view is accessible and fits: $name', async ({ name, colorScheme, viewport }) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(ground).toBe(colorScheme === 'dark' ? 'rgb(15, 20, 26)' : 'rgb(244, 246, 248)');
    const { people } = (await service.call('GET', '/v1/people', undefined, bearer())).body;
    for (const view of [...VIEWS, `people/${people[0].id}`]) {
      await show(view);
      await page.waitForTimeout(300);
      expect([view, await violations(page)]).toEqual([view, []]);
      expect([view, await page.evaluate(() => document.documentElement.scrollWidth)]).toEqual([view, viewport.width]);
      await picture(`${view.replace(/\/.*/, '-one')} ${name}`);
    }
  });

  it('stands still for whoever wants no motion', async () => {
    const moving = () => page.evaluate(() => getComputedStyle(document.querySelector('button')!).transitionDuration);
    expect(await moving()).toBe('0s');
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    expect(await moving()).not.toBe('0s');
    await page.emulateMedia({ reducedMotion: 'reduce', colorScheme: 'light' });
    await page.setViewportSize(DESKTOP);
  });

  it('goes on after the service was away, and misses no event', async () => {
    await show('events');
    await page.locator('.event').first().waitFor();
    await service.stop('SIGKILL');
    await page.getByRole('status').getByText('Reconnecting').waitFor();
    await service.start();
    await page.getByRole('status').getByText('Connected', { exact: true }).waitFor();
    const newest = async () => (await service.call('GET', '/v1/events?limit=1', undefined, bearer())).body.events[0].sequence;
    const known = await newest();
    await until('another event has happened', async () => (await newest()) > known);
    const { events } = (await service.call('GET', '/v1/events?limit=30', undefined, bearer())).body;
    const wanted = events.map(({ time }: { time: string }) => time);
    await until('the page has them all, once each', async () => {
      const times = await page.locator('.event time').evaluateAll((all) => all.map((time) => (time as HTMLTimeElement).dateTime));
      return wanted.every((time: string, i: number) => times.slice(times.indexOf(wanted[0]))[i] === time);
    });
    await show('live');
    const number = () => card('Front door').locator('.frame').getAttribute('data-frame').then(Number);
    const before = await number();
    await until('frames go on', async () => (await number()) !== before);
  });

  it('offers nothing that the token may not do', async () => {
    const other = await browser.open(service.url);
    await signIn(other, tokens.guard);
    await card('Front door', other).locator('canvas').waitFor();
    expect(await other.getByRole('link', { name: /People|Enrol/ }).count()).toBe(0);
    await show('people', other);
    await other.getByText('It lacks the scope people.').waitFor();
    await other.getByRole('button', { name: 'Sign out' }).click();
    await other.getByLabel('Token').waitFor();
    expect(await other.evaluate(() => sessionStorage.length)).toBe(0);
  });

  it('asked nobody but the service, told no address the token, and nothing was amiss', async () => {
    expect([...new Set(browser.requests.map((url) => new URL(url).origin))]).toEqual([new URL(service.url).origin]);
    expect(browser.requests.filter((url) => url.includes('fv_'))).toEqual([]);
    expect(service.said).not.toContain(tokens.owner);
    expect(browser.complaints).toEqual([]);
    const policy = (await fetch(service.url)).headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
  });

  async function picture(name: string): Promise<void> {
    if (SCREENSHOTS !== undefined) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
  }
});
