import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../packages/service/dist/config/load.js';
import { RunningService } from './support/service.js';
import { findProgram } from './support/wait.js';

const projectFolder = join(__dirname, '..');
const deploy = join(projectFolder, 'packages/service/deploy');
const manifest = JSON.parse(readFileSync(join(projectFolder, 'package.json'), 'utf8')) as { version: string; bin: Record<string, string> };
const unit = readFileSync(join(deploy, 'faiss-vision.service'), 'utf8');

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'faiss-vision-deploy-'))));
afterAll(() => rmSync(folder, { recursive: true }));

describe('the systemd unit', () => {
  it.skipIf(findProgram('systemd-analyze') === undefined)('has no mistakes', () => {
    // On this machine the packages are somewhere else.
    const file = join(folder, 'faiss-vision.service');
    writeFileSync(file, unit.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    const { stdout, stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
    // It looks at other units of the machine as well.
    expect(`${stdout}${stderr}`.split('\n').filter((line) => line.includes('faiss-vision.service'))).toEqual([]);
  });

  it('does not start again what a configuration keeps from starting', () => {
    const config = join(folder, 'mistake.yaml');
    writeFileSync(config, 'camera: []\n');
    const main = join(projectFolder, manifest.bin['faiss-vision']!);
    const [, codes] = /^RestartPreventExitStatus=(.*)$/m.exec(unit)!;
    for (const file of [config, join(folder, 'none.yaml')]) {
      const { status, stderr } = spawnSync(process.execPath, [main, 'serve', '--config', file], { encoding: 'utf8' });
      expect(stderr).toMatch(/^faiss-vision: ERR_CONFIG_(INVALID|NOT_FOUND): /);
      expect(codes!.split(' ')).toContain(String(status));
    }
  });

  it.skipIf(findProgram('systemd-notify') === undefined)('is told that the service runs, once it does', async () => {
    const socket = join(folder, 'notify');
    const listen = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
print(s.recv(999).decode())`;
    const listener = spawn('python3', ['-c', listen, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    let heard = '';
    const ended = new Promise((resolve) => listener.once('close', resolve));
    await new Promise((resolve) => listener.stdout.on('data', (text) => resolve((heard += text))));
    const service = new RunningService({});
    try {
      process.env.NOTIFY_SOCKET = socket;
      await service.start();
      await ended;
      expect(heard).toMatch(/^READY=1$/m);
      expect((await service.call('GET', '/v1/ready')).status).toBe(200);
    } finally {
      delete process.env.NOTIFY_SOCKET;
      listener.kill();
      await service.close();
    }
  });
});

it('the image starts what the unit starts, and looks after the port that it has by default', async () => {
  const dockerfile = readFileSync(join(deploy, 'Dockerfile'), 'utf8');
  const [, start] = /^ExecStart=(.*)$/m.exec(unit)!;
  const [, entrypoint] = /^ENTRYPOINT (.*)$/m.exec(dockerfile)!;
  expect(JSON.parse(entrypoint!)).toEqual(['tini', '--', ...start!.split(' ')]);
  writeFileSync(join(folder, 'empty.yaml'), '');
  const { port } = (await loadConfig(join(folder, 'empty.yaml'))).config.http;
  expect(dockerfile).toMatch(new RegExp(`^EXPOSE ${port}$`, 'm'));
  expect(dockerfile).toMatch(new RegExp(`^HEALTHCHECK .*'://127[.]0[.]0[.]1:${port}/`, 'm'));
});

it('the package has both, and asks for the faiss-vision of its own version', async () => {
  const { pack } = (await import('../scripts/release/pack.mjs' as string)) as { pack(name: string, options: object): Promise<{ folder: string }> };
  const packed = await pack('service', { into: folder, tarball: false });
  for (const file of ['deploy/faiss-vision.service', 'deploy/Dockerfile', 'dist/index.js', 'dist/page/index.html', 'README.md', 'LICENSE']) {
    expect([file, existsSync(join(packed.folder, file))]).toEqual([file, true]);
  }
  const { version, peerDependencies } = JSON.parse(readFileSync(join(packed.folder, 'package.json'), 'utf8'));
  expect([version, peerDependencies]).toEqual([manifest.version, { 'faiss-vision': manifest.version }]);
});
