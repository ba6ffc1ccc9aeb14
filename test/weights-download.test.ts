import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { convertWeights } from '../lib/models/convert-weights';
import { download } from '../lib/models/download';
import { RELEASED_WEIGHTS, releasedPath } from '../lib/models/released';
import { decodeSafetensors } from '../lib/models/safetensors';
import { type WeightsProgress, fetchWeights } from '../lib/models/weights';
import { npy, writeParts } from './support/weights-files';

// The pauses between tries are for networks; here they would only add up.
vi.mock(import('node:timers/promises'), async (importOriginal) => {
  const original = await importOriginal();
  return { ...original, setTimeout: ((ms: number) => original.setTimeout(Math.min(ms, 20))) as typeof original.setTimeout };
});

const goldenFacenet = join(__dirname, 'golden', 'facenet', 'facenet.json');
const CONTENT = createHash('shake256', { outputLength: 300_000 }).update('weights').digest();
const [vggface2] = RELEASED_WEIGHTS;

let shared: string;
let pt: Buffer;
let folder: string;
let server: Server;
let url: string;
/** The Range header of every request so far, '' where there was none. */
let ranges: string[];
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeAll(() => {
  shared = mkdtempSync(join(tmpdir(), 'facenet-file-'));
  execFileSync('python3', [join(__dirname, 'fixtures', 'models', 'facenet_file.py'), goldenFacenet, shared]);
  pt = readFileSync(join(shared, 'whole.pt'));
});
afterAll(() => rmSync(shared, { recursive: true }));

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weights-download-'));
  ranges = [];
  answer = serve(CONTENT);
  server = createServer((request, response) => {
    ranges.push(request.headers.range ?? '');
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  vi.stubEnv('FAISS_VISION_MODELS', join(folder, 'models'));
  vi.stubEnv('FAISS_VISION_WEIGHTS_URL', `${url}/mirror/`);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await stopServer();
  rmSync(folder, { recursive: true });
});

async function stopServer(): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

interface ServeOptions {
  etag?: string | undefined;
  /** Bytes after which each answer's connection is cut, one for each request; then none. */
  cuts?: number[];
  ranged?: boolean;
}

/** A server of one file, with Range and If-Range as RFC 9110 has them. */
function serve(content: Buffer, { etag = '"a"', cuts = [], ranged = true }: ServeOptions = {}) {
  return (request: IncomingMessage, response: ServerResponse) => {
    const asked = ranged ? /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] : undefined;
    const same = request.headers['if-range'] === undefined || request.headers['if-range'] === etag;
    const from = asked !== undefined && same ? Number(asked) : 0;
    if (from >= content.length) return void response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
    const body = content.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      ...(etag && { etag }),
      'content-length': body.length,
      ...(from > 0 && { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` }),
    });
    const cut = cuts.shift();
    if (cut === undefined) response.end(body);
    else cutOnceKept(response, body.subarray(0, cut), from + cut);
  };
}

/** Sends these bytes, and cuts the connection as soon as the part on the disk has as many. */
function cutOnceKept(response: ServerResponse, bytes: Buffer, size: number): void {
  response.write(bytes);
  const parts = () => readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.part'));
  const kept = () => parts().some((name) => (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0) >= size);
  const timer = setInterval(() => kept() && response.destroy(), 5);
  response.on('close', () => clearInterval(timer));
}

async function failure(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  return work.then(
    () => {
      throw new Error('expected an error');
    },
    (error) => error,
  );
}

describe('download', () => {
  const file = () => join(folder, 'w.pt');
  const left = () => readdirSync(folder).sort();

  test('brings the whole file, tells how far it is, and leaves nothing else', async () => {
    const told: [number, number | undefined][] = [];
    await download(`${url}/w.pt`, file(), { onBytes: (done, total) => told.push([done, total]) });
    expect(readFileSync(file()).equals(CONTENT)).toBe(true);
    expect(left()).toEqual(['w.pt']);
    expect(ranges).toEqual(['']);
    expect(told[0]).toEqual([0, CONTENT.length]);
    expect(told.at(-1)).toEqual([CONTENT.length, CONTENT.length]);
    expect(told.map(([done]) => done)).toEqual(told.map(([done]) => done).sort((a, b) => a - b));
  });

  test.each([['with an ETag', '"a"'], ['without one', undefined]])('goes on where the connection was cut, %s', async (_, etag) => {
    answer = serve(CONTENT, { etag, cuts: [100_000, 50_000] });
    const retries: string[] = [];
    await download(`${url}/w.pt`, file(), { onRetry: (failed, tries, reason) => retries.push(`${failed}/${tries} ${reason}`) });
    expect(readFileSync(file()).equals(CONTENT)).toBe(true);
    expect(ranges).toEqual(['', 'bytes=100000-', 'bytes=150000-']);
    expect(retries).toEqual([expect.stringMatching(/^1\/3 cut after 100000 of 300000 bytes/), expect.stringMatching(/^2\/3 cut after 150000 of 300000/)]);
  });

  test('gives up after three cuts, and a later call goes on', async () => {
    answer = serve(CONTENT, { cuts: [1000, 1000, 1000] });
    expect(await failure(download(`${url}/w.pt`, file()))).toMatchObject({ code: 'ERR_MODEL_DOWNLOAD' });
    expect(left()).toEqual(['w.pt.part', 'w.pt.part.json']);
    answer = serve(CONTENT);
    await download(`${url}/w.pt`, file());
    expect(ranges.at(-1)).toBe('bytes=3000-');
    expect(readFileSync(file()).equals(CONTENT)).toBe(true);
    expect(left()).toEqual(['w.pt']);
  });

  test('begins anew where the server has another file by now', async () => {
    const other = createHash('shake256', { outputLength: 310_000 }).update('other').digest();
    for (const etag of ['"b"', undefined]) {
      answer = serve(CONTENT, { etag: etag && '"a"', cuts: [1000, 1000, 1000] });
      await failure(download(`${url}/w.pt`, file()));
      answer = serve(other, { etag });
      await download(`${url}/w.pt`, file());
      expect(readFileSync(file()).equals(other)).toBe(true);
      rmSync(file());
    }
  });

  test('does not go on with the part of another address', async () => {
    answer = serve(CONTENT, { cuts: [1000, 1000, 1000] });
    await failure(download(`${url}/old.pt`, file()));
    answer = serve(CONTENT);
    await download(`${url}/w.pt`, file());
    expect(ranges.at(-1)).toBe('');
    expect(readFileSync(file()).equals(CONTENT)).toBe(true);
  });

  test('begins anew where the server knows no Range', async () => {
    answer = serve(CONTENT, { ranged: false, cuts: [100_000] });
    await download(`${url}/w.pt`, file());
    expect(ranges).toEqual(['', 'bytes=100000-']);
    expect(readFileSync(file()).equals(CONTENT)).toBe(true);
  });

  test('refuses a file that is shorter than the server said', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-length': 5000 });
      cutOnceKept(response, CONTENT.subarray(0, 4000), 4000);
    };
    const error = await failure(download(`${url}/w.pt`, file()));
    expect(error).toMatchObject({ code: 'ERR_MODEL_DOWNLOAD' });
    expect(error.message).toContain('of 5000 bytes');
    expect(existsSync(file())).toBe(false);
  });

  test('refuses a rest that is not the one it asked for', async () => {
    const whole = serve(CONTENT, { cuts: [1000] });
    answer = (request, response) => {
      if (request.headers.range === undefined) return whole(request, response);
      response.writeHead(206, { 'content-range': `bytes 5-${CONTENT.length - 1}/${CONTENT.length}` }).end(CONTENT.subarray(5));
    };
    await download(`${url}/w.pt`, file()); // the third try, from the beginning
    expect(ranges).toEqual(['', 'bytes=1000-', '']);
    expect(readFileSync(file()).equals(CONTENT)).toBe(true);
  });

  test('follows a redirect, as release pages do', async () => {
    answer = (request, response) => {
      if (request.url === '/w.pt') response.writeHead(302, { location: '/elsewhere' }).end();
      else serve(CONTENT)(request, response);
    };
    await download(`${url}/w.pt`, file());
    expect(readFileSync(file()).equals(CONTENT)).toBe(true);
  });

  test('asks once for what is not there, and three times where the server is ill', async () => {
    answer = (_, response) => void response.writeHead(404).end('no');
    const missing = await failure(download(`${url}/w.pt`, file()));
    expect(missing).toMatchObject({ code: 'ERR_MODEL_DOWNLOAD', message: `${url}/w.pt: the server answered 404 Not Found` });
    expect(ranges).toHaveLength(1);
    answer = (_, response) => void response.writeHead(503).end();
    expect((await failure(download(`${url}/w.pt`, file()))).message).toContain('503 Service Unavailable (3 tries)');
    expect(ranges).toHaveLength(4);
  });
});

describe('convertWeights', () => {
  test('keeps every variable and drops the classifier', async () => {
    const output = join(folder, 'facenet.safetensors');
    await convertWeights(join(shared, 'whole.pt'), output);
    const { tensors, metadata } = decodeSafetensors(readFileSync(output));
    expect(metadata).toMatchObject({ model: 'facenet', source: 'whole.pt' });
    const expected = JSON.parse(readFileSync(goldenFacenet, 'utf8')).variables as [string, number[]][];
    const shapes = new Map([...tensors].map(([name, { dtype, shape }]) => [name, [dtype, ...shape]]));
    expect(shapes).toEqual(new Map(expected.map(([name, shape]) => [name, ['F32', ...shape]])));
    const bias = tensors.get('repeat_1.0.conv2d.bias')!.data;
    expect(new Float32Array(new Uint8Array(bias.subarray(0, 12)).buffer)).toEqual(Float32Array.of(0, 1 / 64, 2 / 64));
  });

  test.each([
    ['infinite.pt', 'ERR_WEIGHTS_CORRUPT', /infinite\.pt: last_bn\.bias holds -Infinity, expected finite numbers/],
    ['missing.pt', 'ERR_WEIGHTS_MISMATCH', /repeat_2\.3\.branch1\.1\.bn\.running_var \[128\].* is missing/],
    ['reshaped.pt', 'ERR_WEIGHTS_MISMATCH', /last_linear\.weight .*\[512, 1791\], expected .*\[512, 1792\]/],
  ])('refuses %s by name', async (name, code, message) => {
    const error = await failure(convertWeights(join(shared, name), join(folder, 'facenet.safetensors')));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('says which file is not there', async () => {
    const error = await failure(convertWeights(join(folder, 'none.pt'), join(folder, 'out.safetensors')));
    expect(error).toMatchObject({ code: 'ERR_WEIGHTS_NOT_FOUND', message: expect.stringContaining('none.pt') });
  });
});

describe('fetchWeights', () => {
  const published = () => join(folder, 'models', vggface2!.file);
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

  test('downloads, converts and writes down what came; the second time it asks nobody', async () => {
    let path = '';
    answer = (request, response) => {
      path = request.url!;
      serve(pt, { cuts: ranges.length === 1 ? [1_000_000] : [] })(request, response);
    };
    const steps: WeightsProgress[] = [];
    const output = await fetchWeights(vggface2!, { onProgress: (progress) => steps.push(progress) });
    expect(path).toBe(`/mirror/${vggface2!.file}`);
    expect(ranges).toEqual(['', 'bytes=1000000-']);
    expect(output).toBe(releasedPath(vggface2!));
    expect(decodeSafetensors(readFileSync(output)).metadata.model).toBe('facenet');
    expect([...new Set(steps.map(({ step }) => step))]).toEqual(['download', 'retry', 'convert']);
    expect(steps.findLast(({ step }) => step === 'download')).toMatchObject({ done: pt.length, total: pt.length });
    const record = JSON.parse(readFileSync(`${published()}.json`, 'utf8'));
    expect(record).toMatchObject({ url: `${url}/mirror/${vggface2!.file}`, size: pt.length, sha256: sha256(pt) });
    expect(record.note).toMatch(/No checksum of this file is published/);

    rmSync(output);
    await stopServer();
    await fetchWeights(vggface2!);
    expect(existsSync(output)).toBe(true);
  });

  test('refuses another file than the first', async () => {
    answer = serve(pt);
    const output = await fetchWeights(vggface2!);
    const made = statSync(output).mtimeMs;
    const other = readFileSync(join(shared, 'missing.pt'));
    rmSync(published());
    answer = serve(other);
    const error = await failure(fetchWeights(vggface2!));
    expect(error).toMatchObject({ code: 'ERR_MODEL_CHECKSUM', message: expect.stringContaining(`${published()}.json`) });
    expect(existsSync(published())).toBe(false);
    expect(statSync(output).mtimeMs).toBe(made);
  });

  test('removes a download that is no such model, and fetches again', async () => {
    answer = serve(CONTENT);
    const error = await failure(fetchWeights(vggface2!));
    expect(error.code).toMatch(/^ERR_WEIGHTS_/);
    expect(readdirSync(join(folder, 'models')).filter((name) => !name.startsWith('.'))).toEqual([]);
    answer = serve(pt);
    await fetchWeights(vggface2!);
  });

  test('takes a file that was put there by hand, and one from anywhere', async () => {
    await stopServer();
    const elsewhere = await fetchWeights(vggface2!, { from: join(shared, 'whole.pt') });
    expect(existsSync(elsewhere)).toBe(true);
    expect(existsSync(join(shared, 'whole.pt'))).toBe(true);
    expect(existsSync(published())).toBe(false);
    rmSync(elsewhere);
    mkdirSync(join(folder, 'models'), { recursive: true });
    writeFileSync(published(), pt);
    expect(existsSync(await fetchWeights(vggface2!))).toBe(true);
    expect(JSON.parse(readFileSync(`${published()}.json`, 'utf8'))).toMatchObject({ sha256: sha256(pt) });
  });

  test("refuses FCRN's weights, which it could convert", async () => {
    const from = join(folder, 'fcrn.npy');
    writeParts(from, npy([{ name: 'conv1/biases', shape: [1], data: new Uint8Array(4) }]));
    const error = await failure(fetchWeights(vggface2!, { from }));
    expect(error).toMatchObject({ code: 'ERR_WEIGHTS_MISMATCH', message: `${from}: weights of fcrn, expected facenet's` });
    expect(existsSync(releasedPath(vggface2!))).toBe(false);
  });

  test('without a server says what is wanted, from where, and what to do', async () => {
    await stopServer();
    const { code, message } = await failure(fetchWeights(vggface2!));
    expect(code).toBe('ERR_MODEL_DOWNLOAD');
    expect(message).toContain(`needs ${vggface2!.file}, which could not be fetched from ${url}/mirror/${vggface2!.file}`);
    expect(message).toContain('ECONNREFUSED');
    expect(message).toContain(`put it at ${published()}`);
    expect(message).toContain('faiss-vision models fetch facenet-vggface2 --from FILE');
  });
});
