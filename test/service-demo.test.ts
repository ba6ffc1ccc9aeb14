import { spawnSync } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const demo = (...args: string[]) => spawnSync(process.execPath, [join(__dirname, '../scripts/demo-serve.mjs'), ...args], { encoding: 'utf8' });

it('npm run demo:serve: names appear, the door opens, and it ends', () => {
  const { status, stdout, stderr } = demo('--port', '0', '--until-recognised');
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^ +http:\/\/127\.0\.0\.1:[1-9]\d* +the page; /m);
  expect(stdout).toMatch(/^ +faiss-vision\/cameras\/door\/events: recognised Barack Obama, distance 0\.\d\d \(/m);
  expect(stdout).toMatch(/^ +demo\/door\/open: the door opens$/m);
});

it('at a port that is taken it says so at once', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  const { status, stdout, stderr } = demo('--port', String(port));
  await new Promise((resolve) => other.close(resolve));
  expect([status, stdout, stderr]).toEqual([1, '', `demo:serve: listen EADDRINUSE: address already in use 127.0.0.1:${port}; choose another port: npm run demo:serve -- --port N\n`]);
});
